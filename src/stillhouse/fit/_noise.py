"""How many answers are wrong at random, and which: by students that did not see them.

Letters: N rows, L labels, S temperatures.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from scipy.special import chdtri, logsumexp

from stillhouse.errors import ConfigError, DataError, ShapeError
from stillhouse.fit._rows import Floats, Integers
from stillhouse.statistics import Interval

_TEMPERATURES = np.geomspace(0.05, 5.0, 24)
_NUM_FINE = 25  # temperatures between the two coarse neighbours of the best
_TOLERANCE = 1e-5  # of a rate
_TINY = 1e-300


@dataclass(frozen=True)
class NoiseEstimate:
    """How noisy answers are, beyond what a student of other rows explains.

    Attributes:
        rate: Fraction of the answers that were replaced by one of the other labels at random, with
            its profile likelihood interval.
        temperature: What divides the student's logits for the probabilities of the labels that are
            right. Students of noisy answers are unsure, so it is below 1 where there is noise.
        nats: Mean negative log-likelihood of the answers.
    """

    rate: Interval
    temperature: float
    nats: float


def estimate_noise(
    logits_NL: Floats, answers_N: Integers, *, confidence: float = 0.95
) -> NoiseEstimate:
    """The most likely noise behind answers to rows that a student did not learn from.

    The model: the right label has the probabilities `softmax(logits / temperature)`; the answer
    is right with probability 1 - rate, and otherwise one of the other labels, all alike. What a
    student of noisy answers has learnt of the noise is undone by the temperature.

    Source: the noise model of Angluin & Laird 1988, "Learning From Noisy Examples", for L labels.

    Args:
        logits_NL: (N, L) of students that were not fitted on the row.
        answers_N: (N,) numbers of the answers' labels.
        confidence: Of the interval.

    Raises:
        ShapeError: the two do not fit together.
        DataError: there is no row or one label alone, an answer is none of the labels, or a logit
            is not finite.
        ConfigError: `confidence` is out of range.
    """
    _check(logits_NL, answers_N, confidence)
    # A table over temperatures, coarse and then fine, makes each likelihood one pass over it.
    own_SN = _own_probabilities(logits_NL, answers_N, _TEMPERATURES)
    num_others = logits_NL.shape[1] - 1
    best = _most_likely(own_SN, num_others).place
    low = _TEMPERATURES[max(best - 1, 0)]
    high = _TEMPERATURES[min(best + 1, len(_TEMPERATURES) - 1)]
    fine = np.geomspace(low, high, _NUM_FINE)
    own_SN = _own_probabilities(logits_NL, answers_N, fine)
    found = _most_likely(own_SN, num_others)
    enough = found.nats + float(chdtri(1, 1 - confidence)) / 2

    def excess(rate: float) -> float:
        return _profile(own_SN, num_others, rate)[0] - enough

    most = num_others / (num_others + 1)
    least = 0.0 if excess(0.0) <= 0 else float(brentq(excess, 0.0, found.rate, xtol=_TOLERANCE))
    greatest = (
        most if excess(most) <= 0 else float(brentq(excess, found.rate, most, xtol=_TOLERANCE))
    )
    n = len(answers_N)
    rate = Interval(found.rate, least, greatest, n, n)
    return NoiseEstimate(rate, float(fine[found.place]), found.nats / n)


def soundness(probabilities_NL: Floats, answers_N: Integers, rate: float) -> Floats:
    """(N, L) the probability of each label to be right, once the answer is known.

    Args:
        probabilities_NL: (N, L) before that, of students that were not fitted on the row.
        answers_N: (N,) numbers of the answers' labels.
        rate: Fraction of the answers that were replaced by another label at random.
    """
    num_others = probabilities_NL.shape[1] - 1
    rows_N = np.arange(len(answers_N))
    joint_NL = probabilities_NL * (rate / num_others)
    joint_NL[rows_N, answers_N] = probabilities_NL[rows_N, answers_N] * (1.0 - rate)
    total_N1 = joint_NL.sum(axis=1, keepdims=True)
    # Without noise, what no student thought possible is right all the same.
    joint_NL[rows_N, answers_N] += total_N1[:, 0] <= 0
    return np.asarray(joint_NL / joint_NL.sum(axis=1, keepdims=True))


def _check(logits_NL: Floats, answers_N: Integers, confidence: float) -> None:
    if not 0.5 <= confidence < 1:
        raise ConfigError(
            f"confidence={confidence} is not in [0.5, 1). Give a fraction such as 0.95."
        )
    if logits_NL.ndim != 2 or answers_N.shape != logits_NL.shape[:1]:
        raise ShapeError(
            f"logits have shape {logits_NL.shape}, answers {answers_N.shape}. Give one row of "
            "logits and one answer for each row."
        )
    num_rows, num_labels = logits_NL.shape
    if not num_rows or num_labels < 2:
        raise DataError(
            f"There are {num_rows} rows and {num_labels} labels, which show no noise. Give rows "
            "of two labels or more."
        )
    if not np.isfinite(logits_NL).all():
        raise DataError("Some logits are not finite. Fit the students again.")
    if answers_N.min() < 0 or answers_N.max() >= num_labels:
        raise DataError(f"Answers are not all whole numbers from 0 to {num_labels - 1}.")


@dataclass(frozen=True)
class _Found:
    rate: float
    nats: float
    place: int


def _most_likely(own_SN: Floats, num_others: int) -> _Found:
    most = num_others / (num_others + 1)
    searched = minimize_scalar(
        lambda rate: _profile(own_SN, num_others, rate)[0],
        bounds=(0.0, most),
        method="bounded",
        options={"xatol": _TOLERANCE},
    )
    rate = min((0.0, float(searched.x), most), key=lambda one: _profile(own_SN, num_others, one)[0])
    nats, place = _profile(own_SN, num_others, rate)
    return _Found(rate, nats, place)


def _profile(own_SN: Floats, num_others: int, rate: float) -> tuple[float, int]:
    """The least negative log-likelihood of a rate over the temperatures, and which has it."""
    given_SN = (1.0 - rate) * own_SN + rate * (1.0 - own_SN) / num_others
    nats_S = -np.log(np.maximum(given_SN, _TINY)).sum(axis=1)
    place = int(nats_S.argmin())
    return float(nats_S[place]), place


def _own_probabilities(logits_NL: Floats, answers_N: Integers, temperatures_S: Floats) -> Floats:
    """(S, N) probability of each row's answer at each temperature."""
    own_N = logits_NL[np.arange(len(answers_N)), answers_N]
    return np.stack(
        [
            np.exp(own_N / temperature - logsumexp(logits_NL / temperature, axis=1))
            for temperature in temperatures_S
        ]
    )
