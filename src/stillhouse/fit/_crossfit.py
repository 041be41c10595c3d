"""Cheap students of some rows that judge the others.

Letters: N rows, F features, L labels.
"""

from dataclasses import dataclass

import numpy as np

from stillhouse.classifiers._linear import Features, LinearHead, fit_linear
from stillhouse.fit._noise import NoiseEstimate, estimate_noise
from stillhouse.fit._rows import Floats, Integers

_STRONGEST_L2 = 10.0
_WEAKENING = 10**-0.5
_MOST_TRIALS = 8
_TOLERANCE = 1e-2  # of the gradient: what comes of it is averaged over thousands of rows


@dataclass(frozen=True)
class CrossFit:
    """Linear heads, each fitted on all parts of the rows but one.

    Attributes:
        heads: By part, that which did not see it.
        l2: Their penalty.
        logits_NL: (N, L) of the head that did not see the row.
        noise: How noisy these make the answers.
    """

    heads: tuple[LinearHead, ...]
    l2: float
    logits_NL: Floats
    noise: NoiseEstimate


@dataclass(frozen=True)
class Judged:
    """Rows to cross-fit on.

    Attributes:
        features: (N, F) float32, dense or CSR.
        answers_N: Numbers of the labels that were answered.
        folds_N: Which part each row is in.
    """

    features: Features
    answers_N: Integers
    folds_N: Integers


def best_cross_fit(
    judged: Judged, targets_NL: Floats, *, start: CrossFit | None = None
) -> CrossFit:
    """The cross-fit under whose noise model the answers are likeliest.

    Penalties are tried from the strongest on, each a third of the last one, until one is no better.

    Args:
        judged: The rows.
        targets_NL: (N, L) what the heads learn, which may be corrected answers.
        start: An earlier cross-fit of the same rows, whose penalty is the first.
    """
    l2 = _STRONGEST_L2 if start is None else start.l2
    best = cross_fit(judged, targets_NL, l2=l2, start=start)
    for _ in range(_MOST_TRIALS):
        l2 *= _WEAKENING
        weaker = cross_fit(judged, targets_NL, l2=l2, start=best)
        if weaker.noise.nats >= best.noise.nats:
            break
        best = weaker
    return best


def cross_fit(
    judged: Judged, targets_NL: Floats, *, l2: float, start: CrossFit | None = None
) -> CrossFit:
    """Heads on all parts but one, and what they make of that one."""
    logits_NL = np.empty_like(targets_NL)
    heads: list[LinearHead] = []
    for fold in range(int(judged.folds_N.max()) + 1):
        here_N = judged.folds_N == fold
        head = fit_linear(
            judged.features[~here_N],
            targets_NL[~here_N],
            np.ones(int((~here_N).sum())),
            is_multiple=False,
            l2=l2,
            start=start.heads[fold] if start is not None else None,
            tolerance=_TOLERANCE,
        )
        heads.append(head)
        logits_NL[here_N] = head.logits(judged.features[here_N])
    noise = estimate_noise(logits_NL, judged.answers_N)
    return CrossFit(tuple(heads), l2, logits_NL, noise)


def mean_probabilities(found: CrossFit, features: Features) -> Floats:
    """(M, L) of rows that no head saw: the mean over the heads."""
    total_ML = sum(
        scaled_softmax(head.logits(features), found.noise.temperature) for head in found.heads
    )
    return np.asarray(total_ML / len(found.heads))


def scaled_softmax(logits_NL: Floats, temperature: float) -> Floats:
    """(N, L) probabilities of logits that are divided by a temperature."""
    scaled_NL = logits_NL / temperature
    raised_NL = np.exp(scaled_NL - scaled_NL.max(axis=1, keepdims=True))
    return np.asarray(raised_NL / raised_NL.sum(axis=1, keepdims=True))
