"""Shares and means over comparisons, with intervals that take a group of prompts as one.

Letters: N comparisons or answers.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stillhouse.evaluate._results import Estimate
from stillhouse.statistics import (
    Interval,
    clustered_bootstrap,
    compare_paired,
    fraction_interval,
)

_ANY_MARGIN = 0.0  # the verdict that comes with it is not used


def share_estimate(scores_N: npt.ArrayLike, groups: Sequence[str], *, seed: int) -> Estimate:
    """The mean of scores in [0, 1], such as wins with a tie as half.

    It is half of 1 plus the difference from its own opposite, which `compare_paired` bounds also
    where all scores are alike.
    """
    scores = np.asarray(scores_N, dtype=np.float64)
    difference = compare_paired(
        scores,
        1.0 - scores,
        margin=_ANY_MARGIN,
        clusters=np.array(groups),
        seed=seed,
        bounds=(0.0, 1.0),
    ).difference
    value, low, high = (
        min(max((1.0 + end) / 2, 0.0), 1.0)
        for end in (difference.value, difference.low, difference.high)
    )
    return Estimate(
        value=value, low=low, high=high, n=difference.n, num_clusters=difference.num_clusters
    )


def fraction_estimate(flags: Sequence[bool], groups: Sequence[str], *, seed: int) -> Estimate:
    """The fraction of true flags; exact (Clopper-Pearson) where each is of a group of its own."""
    if len(set(groups)) == len(flags):
        return estimate_of(fraction_interval(sum(flags), len(flags)))
    return share_estimate(np.array(flags, dtype=np.float64), groups, seed=seed)


def mean_estimate(
    values_N: npt.ArrayLike, groups: Sequence[str], *, num_resamples: int, seed: int
) -> Estimate:
    """The mean of numbers without known limits, such as lengths."""
    values = np.asarray(values_N, dtype=np.float64)
    return estimate_of(
        clustered_bootstrap(
            values,
            np.ones_like(values),
            clusters=np.array(groups),
            num_resamples=num_resamples,
            seed=seed,
        )
    )


def estimate_of(interval: Interval, *, scale: float = 1.0, shift: float = 0.0) -> Estimate:
    """An interval as results keep it, stretched by `scale` and then moved by `shift`."""
    return Estimate(
        value=scale * interval.value + shift,
        low=scale * interval.low + shift,
        high=scale * interval.high + shift,
        n=interval.n,
        num_clusters=interval.num_clusters,
    )
