"""Means and fractions of messages with the interval that fits them.

Letters: N messages, C clusters, M times.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr

from stillhouse.errors import DataError
from stillhouse.evaluate._task._records import Method, TaskEstimate
from stillhouse.statistics import (
    Interval,
    bounded_mean,
    clustered_bootstrap,
    fraction_interval,
    paired_means,
    wilson_interval,
)

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.str_]

_MIN_CLUSTERS = 10  # with fewer, resamples are not to be believed


@dataclass(frozen=True)
class Estimator:
    """Makes estimates of means over messages.

    Attributes:
        clusters_N: What each message belongs to.
        num_resamples: Of a bootstrap.
        seed: Of its draws.
    """

    clusters_N: Labels
    num_resamples: int
    seed: int

    def mean(
        self, scores_N: npt.ArrayLike, *, is_binary: bool, of_N: Flags | None = None
    ) -> TaskEstimate | None:
        """The mean score of the messages in `of_N`, or all; None where there are none.

        Args:
            scores_N: (N,) in [0, 1]; what is not in `of_N` is not read.
            is_binary: Whether scores are 0 or 1.
            of_N: Which messages count.
        """
        scores = np.asarray(scores_N, dtype=np.float64)
        of = np.ones(len(scores), dtype=np.bool_) if of_N is None else of_N
        if not of.any():
            return None
        return self._mean(scores[of], self.clusters_N[of], is_binary=is_binary)

    def mean_of_counts(
        self, counts_N: npt.ArrayLike, *, of_N: Flags | None = None
    ) -> TaskEstimate | None:
        """The mean of numbers without bounds; None where too few clusters are behind it."""
        counts = np.asarray(counts_N, dtype=np.float64)
        of = np.ones(len(counts), dtype=np.bool_) if of_N is None else of_N
        if len(set(self.clusters_N[of].tolist())) < _MIN_CLUSTERS:
            return None
        ones = np.ones(int(of.sum()))
        return estimate(self._bootstrap(counts[of], ones, self.clusters_N[of]), "bootstrap")

    def _mean(self, scores_N: Floats, clusters_N: Labels, *, is_binary: bool) -> TaskEstimate:
        num_clusters = len(set(clusters_N.tolist()))
        is_clustered = num_clusters < len(scores_N)
        if is_binary and not is_clustered:
            return estimate(wilson_interval(round(scores_N.sum()), len(scores_N)), "wilson")
        is_constant = float(np.ptp(scores_N)) == 0.0
        if is_binary and (is_constant or num_clusters < _MIN_CLUSTERS):
            return _over_groups(scores_N, num_clusters)
        if is_constant or num_clusters < _MIN_CLUSTERS:
            # What scores in [0, 1] allow where they do not vary, or clusters are few.
            return estimate(bounded_mean(scores_N, clusters=clusters_N), "bounds")
        return estimate(self._bootstrap(scores_N, np.ones(len(scores_N)), clusters_N), "bootstrap")

    def _bootstrap(
        self, numerators_N: Floats, denominators_N: Floats, clusters_N: Labels
    ) -> Interval:
        return clustered_bootstrap(
            numerators_N,
            denominators_N,
            clusters=clusters_N,
            num_resamples=self.num_resamples,
            seed=self.seed,
        )


def estimate(interval: Interval, method: Method) -> TaskEstimate:
    """An interval of the statistics as part of the results."""
    return TaskEstimate(
        value=interval.value,
        low=interval.low,
        high=interval.high,
        n=interval.n,
        num_clusters=interval.num_clusters,
        method=method,
    )


def _over_groups(scores_N: Floats, num_clusters: int) -> TaskEstimate:
    """Exact over groups, as if each were one message: they are the independent items."""
    value = float(scores_N.mean())
    exact = fraction_interval(round(value * num_clusters), num_clusters)
    low, high = min(exact.low, value), max(exact.high, value)
    return estimate(Interval(value, low, high, len(scores_N), num_clusters), "exact")


def mean_of_calls(values_M: npt.ArrayLike) -> TaskEstimate:
    """The mean of what many calls took or cost, with its t interval.

    Args:
        values_M: (M,) finite numbers, at least two.
    """
    values = np.asarray(values_M, dtype=np.float64)
    return estimate(paired_means(values, np.zeros(len(values))).interval(0.95), "formula")


def quantile(times_M: npt.ArrayLike, share: float) -> TaskEstimate | None:
    """A quantile of independent times with its interval from order statistics.

    The interval between two of the ordered times covers the quantile as often as the binomial
    distribution says that so many fall below it; no shape is assumed.

    Args:
        times_M: (M,) finite numbers.
        share: In (0, 1): 0.5 is the median.

    Returns:
        None where the slowest or fastest of all times does not bound the quantile.
    """
    ordered = np.sort(np.asarray(times_M, dtype=np.float64))
    number = len(ordered)
    if not number:
        raise DataError("There are no times. Measure at least one.")
    # below_M[k]: how often at most k of the times lie below the quantile.
    below_M = bdtr(np.arange(number), number, share)
    low = int(np.searchsorted(below_M, 0.025, side="right")) - 1
    high = int(np.searchsorted(below_M, 0.975, side="left"))
    if low < 0 or high >= number:
        return None
    value = float(np.quantile(ordered, share))
    return TaskEstimate(
        value=value,
        low=min(float(ordered[low]), value),
        high=max(float(ordered[high]), value),
        n=number,
        num_clusters=number,
        method="order_statistics",
    )
