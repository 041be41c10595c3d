"""How wrong p-values are in the tail: ours, and Gamma laws with the same mean and variance.

The truth is a sum of positive terms: a sum of exponentials with two weights is a mixture of Gamma
variables with negative binomial weights.
"""

from typing import Any

import numpy as np
from benchmarks._protect.options import Options
from scipy.special import logsumexp
from scipy.stats import nbinom

from stillhouse.statistics import (
    BinomialMeanLaw,
    WeightedSum,
    log_exponential_sum_tail,
    log_gamma_tail,
)

LN10 = np.log(10)
TARGETS = (-2, -4, -6, -8, -10)
LENGTHS = (25, 50, 200, 1000)
CASES = {
    "two keys, alpha 0.1": (0.9, 0.1, 1.0, 1.0),
    "two keys, alpha 0.5 less a bit": (0.501, 0.499, 1.0, 1.0),
    "70 % of the tokens at weight 0.1": (1.0, 0.1, 0.3, 0.7),
}
"""Weights of two kinds of terms, and how many of each a token has."""


def run(options: Options) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, (large, small, per_large, per_small) in CASES.items():
        ours, matched = [], []
        for length in LENGTHS:
            num_large, num_small = round(per_large * length), round(per_small * length)
            for target in TARGETS:
                total = _total_at(target, large, small, num_large, num_small)
                truth = _truth(total, large, small, num_large, num_small) / LN10
                ours.append(_ours(total, large, small, num_large, num_small) / LN10 - truth)
                matched.append(_matched(total, large, small, num_large, num_small) / LN10 - truth)
        found[name] = {"worst": _worst(ours), "worst_moment_matched": _worst(matched)}
    found["SynthID, weighted layers"] = {"worst": _synthid(), "worst_moment_matched": None}
    return found


def _worst(errors: list[float]) -> float:
    return float(np.abs(errors).max())


def _ours(total: float, large: float, small: float, num_large: int, num_small: int) -> float:
    counts = [[num_large, num_small]]
    return float(log_exponential_sum_tail([total], [large, small], counts)[0])


def _total_at(target: float, *law: Any) -> float:
    low, high = 0.0, 20.0 * (law[2] + law[3]) + 100
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _ours(middle, *law) > target * LN10 else (low, middle)
    return low


def _truth(total: float, large: float, small: float, num_large: int, num_small: int) -> float:
    k = np.arange(int(2 * total / small + 500))
    log_weight = nbinom.logpmf(k, num_large, small / large)
    tails = log_gamma_tail(np.full(len(k), total / small), num_large + num_small + k)
    return float(logsumexp(log_weight + tails))


def _matched(total: float, large: float, small: float, num_large: int, num_small: int) -> float:
    """As TextSeal, vLLM and TensorRT-LLM have it: a Gamma law of the same mean and variance."""
    from mpmath import gammainc, log

    mean = num_large * large + num_small * small
    variance = num_large * large**2 + num_small * small**2
    return float(log(gammainc(mean**2 / variance, total * mean / variance, regularized=True)))


def _synthid() -> float:
    """Against a convolution of all layers, whose weights are multiples of 1/29."""
    steps = [290 - 9 * layer for layer in range(30)]
    layers, errors = np.linspace(10, 1, 30), []
    for length in (25, 50):
        weighted = WeightedSum(np.ones(length), BinomialMeanLaw(tuple(layers)))
        mean = length * layers.sum() / 2
        mass = np.zeros(sum(steps) * length + 1)
        mass[0] = 1.0
        for step in steps * length:
            mass[step:] = 0.5 * (mass[step:] + mass[: len(mass) - step])
            mass[:step] *= 0.5
        upper = np.cumsum(mass[::-1])[::-1]
        for target in TARGETS:
            place = int(np.searchsorted(-upper, -(10.0**target)))
            ours = weighted.tail(place / 29 - mean).log10_p
            errors.append(ours - np.log10(upper[place]))
    return _worst(errors)
