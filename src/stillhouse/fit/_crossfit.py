"""Cheap students of some rows that judge the others.

Letters: N rows, M rows that were set aside, F features, L labels.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from stillhouse.classifiers import Features, LinearHead, fit_linear
from stillhouse.fit._noise import NoiseEstimate, estimate_noise, soundness
from stillhouse.fit._rows import Flags, Floats, Integers

_STRONGEST_L2 = 30.0
_WEAKENING = 10**-0.5
_MOST_TRIALS = 10
_TOLERANCE = 1e-2  # of the gradient: what comes of it is averaged over many rows

TargetsOf = Callable[[int], Floats]
"""(N, L) what the head learns that does not see a part."""


@dataclass(frozen=True)
class Judged:
    """Rows to cross-fit on.

    Attributes:
        features: (N, F) float32, dense or CSR.
        targets_NL: What was answered, as probabilities.
        answers_N: Numbers of the labels that were answered.
        folds_N: Which part each row is in.
    """

    features: Features
    targets_NL: Floats
    answers_N: Integers
    folds_N: Integers

    @property
    def num_folds(self) -> int:
        """Parts."""
        return int(self.folds_N.max()) + 1

    def fit(
        self, chosen_N: Flags, targets_NL: Floats, *, l2: float, start: LinearHead | None
    ) -> LinearHead:
        """A head on some of the rows."""
        return fit_linear(
            self.features[chosen_N],
            targets_NL[chosen_N],
            np.ones(int(chosen_N.sum())),
            is_multiple=False,
            l2=l2,
            start=start,
            tolerance=_TOLERANCE,
        )


@dataclass(frozen=True)
class CrossFit:
    """Linear heads, each fitted on all parts of the rows but one.

    Attributes:
        heads: By part, that which did not see it.
        l2: Their penalty.
        logits_NL: (N, L) of the head that did not see the row.
        noise: How noisy the answers are by these, or by those that they learnt from.
    """

    heads: tuple[LinearHead, ...]
    l2: float
    logits_NL: Floats
    noise: NoiseEstimate

    def probabilities(self, logits_NL: Floats) -> Floats:
        """(N, L) of the labels that are right, before the answer is known."""
        scaled_NL = logits_NL / self.noise.temperature
        raised_NL = np.exp(scaled_NL - scaled_NL.max(axis=1, keepdims=True))
        return np.asarray(raised_NL / raised_NL.sum(axis=1, keepdims=True))

    def posterior(self, logits_NL: Floats, answers_N: Integers) -> Floats:
        """(N, L) of the labels that are right, once it is."""
        return soundness(self.probabilities(logits_NL), answers_N, self.noise.rate.value)

    def mean_probabilities(self, features: Features) -> Floats:
        """(M, L) of rows that no head saw: the mean over the heads."""
        total_ML = sum(self.probabilities(head.logits(features)) for head in self.heads)
        return np.asarray(total_ML / len(self.heads))


def best_cross_fit(
    judged: Judged, *, targets_of: TargetsOf | None = None, start: CrossFit | None = None
) -> CrossFit:
    """The cross-fit under whose noise model the answers are likeliest.

    Penalties are tried from the strongest on, each a third of the last one, until one is no better.

    Args:
        judged: The rows.
        targets_of: What the head of each part learns; None takes what was answered.
        start: An earlier cross-fit of the same rows, whose penalty is the first.
    """
    targets_of = targets_of or (lambda fold: judged.targets_NL)
    l2 = _STRONGEST_L2 if start is None else start.l2
    best = _cross_fit(judged, targets_of, l2, start)
    for _ in range(_MOST_TRIALS):
        l2 *= _WEAKENING
        weaker = _cross_fit(judged, targets_of, l2, best)
        if weaker.noise.nats >= best.noise.nats:
            break
        best = weaker
    return best


def corrected_cross_fit(judged: Judged, first: CrossFit) -> CrossFit:
    """Heads that learn corrected answers, and judge rows that took no part in the corrections.

    What the head of a part learns was corrected by heads that saw neither the row nor that part.
    With the same heads for all, an answer would colour the corrections of its neighbours, which
    then confirm it.

    Args:
        judged: The rows.
        first: A cross-fit of the answers as they were given.
    """
    pairs: dict[tuple[int, int], LinearHead] = {}
    for one, other in combinations(range(judged.num_folds), 2):
        chosen_N = (judged.folds_N != one) & (judged.folds_N != other)
        # From the beginning: an earlier head has seen one of the two parts.
        pairs[one, other] = judged.fit(chosen_N, judged.targets_NL, l2=first.l2, start=None)

    def targets_of(fold: int) -> Floats:
        targets_NL = judged.targets_NL.copy()
        for other in range(judged.num_folds):
            if other == fold:
                continue  # the head does not learn from these
            here_N = judged.folds_N == other
            head = pairs[min(fold, other), max(fold, other)]
            posterior = first.posterior(
                head.logits(judged.features[here_N]), judged.answers_N[here_N]
            )
            targets_NL[here_N] = softened(targets_NL[here_N], posterior, judged.answers_N[here_N])
        return targets_NL

    return best_cross_fit(judged, targets_of=targets_of, start=first)


def taught_cross_fit(judged: Judged, corrected: CrossFit, targets_NL: Floats) -> CrossFit:
    """Heads that learn once more, from what was made of all other rows.

    What is known of the noise stays what it was before, or it would be found to vanish.

    Args:
        judged: The rows.
        corrected: What `corrected_cross_fit` made of them.
        targets_NL: What to learn in place of the answers.
    """
    found = _cross_fit(judged, lambda fold: targets_NL, corrected.l2 * _WEAKENING, corrected)
    return replace(found, noise=corrected.noise)


def softened(targets_NL: Floats, posterior_NL: Floats, answers_N: Integers) -> Floats:
    """(N, L) what to learn: what was given, as far as it is sound, and else what is right.

    Where the answer is right, all that its teacher said is: its probabilities of other labels are
    no noise.

    Args:
        targets_NL: (N, L) what the teacher said.
        posterior_NL: (N, L) probability of each label to be right.
        answers_N: (N,) numbers of the teacher's answers.
    """
    rows_N = np.arange(len(answers_N))
    sound_N1 = posterior_NL[rows_N, answers_N][:, None]
    mixed_NL = posterior_NL.copy()
    mixed_NL[rows_N, answers_N] = 0.0
    return np.asarray(mixed_NL + sound_N1 * targets_NL)


def _cross_fit(
    judged: Judged, targets_of: TargetsOf, l2: float, start: CrossFit | None
) -> CrossFit:
    logits_NL = np.empty_like(judged.targets_NL)
    heads: list[LinearHead] = []
    for fold in range(judged.num_folds):
        here_N = judged.folds_N == fold
        begin = start.heads[fold] if start is not None else None
        head = judged.fit(~here_N, targets_of(fold), l2=l2, start=begin)
        heads.append(head)
        logits_NL[here_N] = head.logits(judged.features[here_N])
    noise = estimate_noise(logits_NL, judged.answers_N)
    return CrossFit(tuple(heads), l2, logits_NL, noise)
