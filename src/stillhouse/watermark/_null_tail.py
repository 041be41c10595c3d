"""How rare a sum of scores is in text without the mark.

Letters: M sums.
"""

import numpy as np
import numpy.typing as npt

from stillhouse.statistics import (
    log_binomial_tail,
    log_exponential_sum_tail,
    log_gamma_tail,
)
from stillhouse.watermark._scores import NullLaw

_LN10 = float(np.log(10))
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def log10_tail(null: NullLaw, sums_M: npt.ArrayLike, counts_M: npt.ArrayLike) -> Floats:
    """Log10 of the p-value: how likely `counts` unmarked scores are to sum up to `sums` or more.

    Exact but for sums of two keys, which are within 0.03 of it. No score at all gives 0.

    Args:
        null: The law of one score.
        sums_M: Of the scores.
        counts_M: How many were summed.

    Returns:
        (M,), at most 0; as low as it is, far below what a float could hold as a p-value.
    """
    sums, counts = np.broadcast_arrays(
        np.atleast_1d(np.asarray(sums_M, dtype=np.float64)), np.asarray(counts_M)
    )
    if null.name == "exponential":
        return log_gamma_tail(sums, counts) / _LN10
    if null.name == "bernoulli":
        return log_binomial_tail(np.rint(sums), counts, null.parameters[0]) / _LN10
    if null.name == "binomial":
        trials = counts * null.parameters[0]
        return log_binomial_tail(np.rint(sums), trials, null.parameters[1]) / _LN10
    found = np.zeros(len(sums))
    some = counts > 0
    if some.any():
        num_each = np.repeat(counts[some, None], len(null.parameters), axis=1)
        found[some] = log_exponential_sum_tail(sums[some], null.parameters, num_each) / _LN10
    return found


def critical_sums(null: NullLaw, counts_M: npt.ArrayLike, log10_level: npt.ArrayLike) -> Floats:
    """The smallest sums, up to rounding, whose p-values are at or below the level."""
    counts = np.asarray(counts_M, dtype=np.float64)
    level = np.broadcast_to(np.asarray(log10_level, dtype=np.float64), counts.shape)
    spread = np.sqrt(counts * null.variance)
    low, high = counts * null.mean, counts * null.mean + (4 - 4 * level) * (spread + 1)
    most = _largest_sums(null, counts)
    high = np.minimum(high, most)
    for _ in range(60):
        middle = (low + high) / 2
        is_rare = log10_tail(null, _whole(null, middle), counts) <= level
        low, high = np.where(is_rare, low, middle), np.where(is_rare, middle, high)
    # Where even the largest sum is too likely, none is critical.
    never = log10_tail(null, np.where(np.isfinite(most), most, high), counts) > level
    return np.where(never & np.isfinite(most), np.inf, _whole(null, high))


def _whole(null: NullLaw, sums: Floats) -> Floats:
    return np.ceil(sums - 1e-9) if null.name in ("bernoulli", "binomial") else sums


def _largest_sums(null: NullLaw, counts: Floats) -> Floats:
    if null.name == "bernoulli":
        return counts
    if null.name == "binomial":
        return counts * null.parameters[0]
    return np.full(len(counts), np.inf)
