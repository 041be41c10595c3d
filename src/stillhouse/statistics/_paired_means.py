"""Two systems' scores on the same rows, perhaps in clusters: tests of the mean difference.

Letters: N rows, C clusters.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from stillhouse.errors import DataError
from stillhouse.statistics._interval import (
    Interval,
    check_margin,
    cluster_places,
    finite_scores,
    same_length,
)


@dataclass(frozen=True)
class PairedMeans:
    """The mean difference of two systems' scores on the same rows.

    Attributes:
        difference: Mean of `a` minus `b` over rows.
        standard_error: Robust to any dependence within clusters.
        n: Rows.
        num_clusters: Clusters; the t distribution has one degree of freedom less.
    """

    difference: float
    standard_error: float
    n: int
    num_clusters: int

    def interval(self, confidence: float) -> Interval:
        """The t interval of the difference."""
        reach = stdtrit(self.num_clusters - 1, 1 - (1 - confidence) / 2) * self.standard_error
        low, high = self.difference - reach, self.difference + reach
        return Interval(self.difference, float(low), float(high), self.n, self.num_clusters)

    def p_above(self, threshold: float) -> float:
        """One-sided p-value of the t-test against "the true difference is `threshold` or less"."""
        if self.standard_error == 0:
            raise DataError(
                f"All {self.num_clusters} clusters differ by the same {self.difference:g}, so "
                "their spread is unknown and no test can be made. Measure more rows."
            )
        t = (self.difference - threshold) / self.standard_error
        return float(stdtr(self.num_clusters - 1, -t))

    def p_below(self, threshold: float) -> float:
        """One-sided p-value of the t-test against "the true difference is `threshold` or more"."""
        opposite = PairedMeans(-self.difference, self.standard_error, self.n, self.num_clusters)
        return opposite.p_above(-threshold)


def paired_means(
    a_N: npt.ArrayLike, b_N: npt.ArrayLike, *, clusters: npt.ArrayLike | None = None
) -> PairedMeans:
    """The mean difference with its cluster-robust standard error.

    Source: Miller 2024, "Adding Error Bars to Evals", arXiv:2411.00640; here with C / (C - 1)
    for few clusters.

    Args:
        clusters: (N,) labels of rows that hang together; without them each row stands alone.

    Raises:
        ShapeError: lengths differ.
        DataError: no row, a score is not finite, or fewer than 2 clusters.
    """
    a, b = finite_scores("scores of a", a_N), finite_scores("scores of b", b_N)
    same_length("scores of a and b", a, b)
    difference_N = a - b
    places_N, num_clusters = cluster_places(clusters, len(a))
    if num_clusters < 2:
        raise DataError(
            f"All {len(a)} rows are of one cluster, whose spread is unknown. "
            "Measure at least 2 clusters."
        )
    value = float(difference_N.mean())
    sums_C = np.bincount(places_N, difference_N - value, minlength=num_clusters)
    # Sums of equal differences are off by rounding; their spread is none.
    rounding = 1e-12 * float(np.abs(np.concatenate([a, b])).max()) * len(a)
    spread = float(sums_C @ sums_C) if np.abs(sums_C).max() > rounding else 0.0
    standard_error = math.sqrt(num_clusters / (num_clusters - 1) * spread) / len(a)
    return PairedMeans(value, standard_error, len(a), num_clusters)


def non_inferiority_test(
    a_N: npt.ArrayLike, b_N: npt.ArrayLike, *, margin: float, clusters: npt.ArrayLike | None = None
) -> float:
    """One-sided p-value against "the mean of `a` is below that of `b` by the margin or more".

    A cluster-robust t-test of the mean difference.

    Args:
        margin: Tolerated loss in the unit of the scores, 0 or more.

    Raises:
        ShapeError, DataError: as in `paired_means`; also a DataError where no two clusters differ.
        ConfigError: the margin is negative or not finite.
    """
    check_margin(margin)
    return paired_means(a_N, b_N, clusters=clusters).p_above(-margin)


def equivalence_test(
    a_N: npt.ArrayLike, b_N: npt.ArrayLike, *, margin: float, clusters: npt.ArrayLike | None = None
) -> float:
    """P-value against "the means differ by the margin or more": two one-sided t-tests.

    Source: Schuirmann 1987, "A comparison of the two one-sided tests procedure and the power
    approach for assessing the equivalence of average bioavailability".

    Raises:
        ShapeError, DataError, ConfigError: as in `non_inferiority_test`.
    """
    check_margin(margin)
    means = paired_means(a_N, b_N, clusters=clusters)
    return max(means.p_above(-margin), means.p_below(margin))
