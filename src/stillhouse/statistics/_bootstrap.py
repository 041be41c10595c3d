"""Intervals for ratios of sums, resampling whole clusters.

Letters: R resamples, C clusters, N entries.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri, stdtrit

from stillhouse.errors import ConfigError, DataError, ShapeError

_MAX_COUNTS = 1 << 22  # entries of one (R, C) block of resampling counts: 32 MB

_ROUNDING = 1e-12  # relative; sums in another order differ by less

Floats = npt.NDArray[np.float64]
Columns = tuple[npt.ArrayLike, npt.ArrayLike]
Statistic = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Interval:
    """A value with its confidence interval.

    Attributes:
        value: The estimate from all data.
        low: Lower end.
        high: Upper end.
        n: Entries that were measured: those with a positive denominator.
        num_clusters: Clusters they fall into, the number of independent pieces of evidence.
    """

    value: float
    low: float
    high: float
    n: int
    num_clusters: int

    def overlaps(self, other: "Interval") -> bool:
        """Whether the two intervals share a point; touching ends count."""
        return self.low <= other.high and other.low <= self.high


def clustered_bootstrap(
    numerators: npt.ArrayLike,
    denominators: npt.ArrayLike,
    *,
    clusters: npt.ArrayLike,
    num_resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The ratio sum(numerators) / sum(denominators) with its interval.

    A mean per token is this ratio of, for each prompt, a sum over tokens and their number; a
    plain mean has denominators of 1. Entries of one cluster are drawn together, so answers to
    one prompt, or prompts about one subject, do not count as independent evidence. Clusters
    without a positive denominator were not measured and are left out.

    The interval is the bias-corrected and accelerated one (BCa: Efron 1987, "Better Bootstrap
    Confidence Intervals"), widened for few clusters as Hesterberg 2015 does ("What Teachers Should
    Know About the Bootstrap", arXiv:1411.5279). Simulated losses per token, lognormal over 150
    prompts with an SD of 0.4 or 0.8 of their mean, are covered in 93.7 and 93.0 % of cases and
    missed about alike on both sides; percentiles miss above three times as often as below, and
    studentised intervals cover a point more there but break on rare events. With 20 clusters
    expect 92 %, not 95.

    Args:
        numerators: (N,) finite numbers.
        denominators: (N,) finite numbers, none negative; the numerator of a zero is zero.
        clusters: (N,) labels, numbers or text.

    Raises:
        ShapeError: the three differ in length, or are not one-dimensional.
        DataError: nothing was measured, a number is not finite, a denominator is negative, or
            there are fewer than 2 clusters.
        ConfigError: `num_resamples` or `confidence` is out of range.
    """
    return _interval(
        [_pair(numerators, denominators)],
        lambda sums: sums[..., 0] / sums[..., 1],
        labels=np.asarray(clusters),
        plan=_Plan(num_resamples, confidence, seed),
    )


def paired_bootstrap_difference(
    a: Columns,
    b: Columns,
    *,
    clusters: npt.ArrayLike,
    num_resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The ratio of `a` minus the ratio of `b`, both from the same resampled clusters.

    Args:
        a: Numerators and denominators of one system, as in `clustered_bootstrap`.
        b: Those of the other, entry by entry about the same item.
        clusters: (N,) labels that both share.

    Raises:
        ShapeError, DataError, ConfigError: as in `clustered_bootstrap`.
    """
    return _paired(np.subtract, a, b, clusters, _Plan(num_resamples, confidence, seed))


def paired_bootstrap_ratio(
    a: Columns,
    b: Columns,
    *,
    clusters: npt.ArrayLike,
    num_resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The ratio of `a` divided by the ratio of `b`, both from the same resampled clusters.

    Raises:
        ShapeError, DataError, ConfigError: as in `clustered_bootstrap`; also a DataError where
            the ratio of `b` is zero, in all data or in a resample.
    """
    return _paired(np.divide, a, b, clusters, _Plan(num_resamples, confidence, seed))


@dataclass(frozen=True)
class _Plan:
    num_resamples: int
    confidence: float
    seed: int

    def __post_init__(self) -> None:
        if self.num_resamples < 100:
            raise ConfigError(
                f"num_resamples={self.num_resamples} is too few for the ends of an interval. "
                "Give at least 100."
            )
        if not 0.5 <= self.confidence < 1.0:
            raise ConfigError(
                f"confidence={self.confidence} is not in [0.5, 1). Give a fraction such as 0.95."
            )


def _paired(
    compare: Callable[[Floats, Floats], Floats],
    a: Columns,
    b: Columns,
    clusters: npt.ArrayLike,
    plan: _Plan,
) -> Interval:
    """Interval of `compare(ratio of a, ratio of b)`, both from the same resampled clusters."""
    return _interval(
        [_pair(*a), _pair(*b)],
        lambda sums: compare(sums[..., 0] / sums[..., 1], sums[..., 2] / sums[..., 3]),
        labels=np.asarray(clusters),
        plan=plan,
    )


def _interval(
    pairs: list[tuple[Floats, Floats]],
    statistic: Statistic,
    *,
    labels: npt.NDArray[np.generic],
    plan: _Plan,
) -> Interval:
    """BCa interval of `statistic`, which maps (..., 2 x pairs) sums to (...) values."""
    if len({column.shape for pair in pairs for column in pair}) > 1:
        raise ShapeError(
            f"a has {len(pairs[0][0])} entries and b {len(pairs[1][0])}. "
            "Give both about the same items."
        )
    columns_NS = np.stack([column for pair in pairs for column in pair], axis=-1)
    measured_N = np.any(columns_NS[:, 1::2] > 0, axis=1)
    sums_CS = _cluster_sums(columns_NS, measured_N, labels)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = statistic(sums_CS.sum(axis=0))
        resampled_R = np.concatenate([statistic(block) for block in _resamples(sums_CS, plan)])
        left_out_C = statistic(sums_CS.sum(axis=0) - sums_CS)
    for values in (value, resampled_R, left_out_C):
        if not np.isfinite(values).all():
            raise DataError(
                "A ratio of sums has a zero denominator when some clusters are drawn and others "
                f"are not: too few of the {len(sums_CS)} clusters hold what is divided by."
            )
    reach = _reach(plan.confidence, num_clusters=len(sums_CS))
    low, high = _bca_ends(float(value), resampled_R, left_out_C, reach)
    return Interval(float(value), low, high, int(measured_N.sum()), len(sums_CS))


def _reach(confidence: float, *, num_clusters: int) -> float:
    """Student's t instead of the normal, and the plug-in SD's bias undone, as a normal score."""
    t = stdtrit(num_clusters - 1, 1 - (1 - confidence) / 2)
    return float(np.sqrt(num_clusters / (num_clusters - 1)) * t)


def _bca_ends(
    value: float, resampled_R: Floats, left_out_C: Floats, reach: float
) -> tuple[float, float]:
    num_resamples = len(resampled_R)
    off_R = resampled_R - value
    off_R[np.abs(off_R) <= _ROUNDING * np.abs(resampled_R).max()] = 0.0
    # Ties count half, so that a discrete distribution that is symmetric has no bias.
    below = np.mean(off_R < 0) + 0.5 * np.mean(off_R == 0)
    bias = ndtri(np.clip(below, 0.5 / num_resamples, 1 - 0.5 / num_resamples))
    pull_C = left_out_C.mean() - left_out_C
    spread = np.sum(pull_C**2)
    acceleration = np.sum(pull_C**3) / (6 * spread**1.5) if spread > 0 else 0.0
    shifted = bias + np.array([-reach, reach])
    slack = 1 - acceleration * shifted
    # With very few clusters an end may lie beyond what any level reaches: the extreme resample.
    safe = np.where(slack > 0, slack, 1.0)
    levels = np.where(slack > 0, ndtr(bias + shifted / safe), shifted > 0)
    low, high = np.quantile(resampled_R, levels)
    return float(low), float(high)


def _resamples(sums_CS: Floats, plan: _Plan) -> Iterator[Floats]:
    """Sums over resampled clusters, in blocks that together have R rows."""
    generator = np.random.default_rng(plan.seed)
    num_clusters = len(sums_CS)
    equal_C = np.full(num_clusters, 1 / num_clusters)
    rows = max(1, _MAX_COUNTS // num_clusters)
    for start in range(0, plan.num_resamples, rows):
        size = min(rows, plan.num_resamples - start)
        yield generator.multinomial(num_clusters, equal_C, size=size) @ sums_CS


def _cluster_sums(
    columns_NS: Floats, measured_N: npt.NDArray[np.bool_], labels_N: npt.NDArray[np.generic]
) -> Floats:
    if labels_N.shape != measured_N.shape:
        raise ShapeError(
            f"clusters has shape {labels_N.shape}, the numerators {measured_N.shape}. "
            "Give one label for each entry."
        )
    if labels_N.size and labels_N.dtype.kind not in "iuUS":
        raise DataError(
            f"clusters are of type {labels_N.dtype}; give whole numbers or text, none missing."
        )
    if not measured_N.any():
        raise DataError("Nothing was measured: all denominators are zero, or there is no entry.")
    names, places_N = np.unique(labels_N[measured_N], return_inverse=True)
    if len(names) < 2:
        raise DataError(
            f"All {int(measured_N.sum())} entries are of one cluster, which gives no interval. "
            "Measure at least 2 clusters."
        )
    sums_CS = np.zeros((len(names), columns_NS.shape[1]))
    np.add.at(sums_CS, places_N, columns_NS[measured_N])
    return sums_CS


def _pair(numerators: npt.ArrayLike, denominators: npt.ArrayLike) -> tuple[Floats, Floats]:
    numerators_N = np.asarray(numerators, dtype=np.float64)
    denominators_N = np.asarray(denominators, dtype=np.float64)
    if numerators_N.ndim != 1 or numerators_N.shape != denominators_N.shape:
        raise ShapeError(
            f"numerators have shape {numerators_N.shape}, denominators {denominators_N.shape}. "
            "Give two one-dimensional arrays of one length."
        )
    if not (np.isfinite(numerators_N).all() and np.isfinite(denominators_N).all()):
        raise DataError(
            "A numerator or denominator is not finite. Leave out what was not measured."
        )
    if (denominators_N < 0).any():
        raise DataError("A denominator is negative; it counts tokens or items, so give 0 or more.")
    if (numerators_N[denominators_N == 0] != 0).any():
        raise DataError("A numerator of something has the denominator 0. Give the number of items.")
    return numerators_N, denominators_N
