"""Intervals for ratios of sums, resampling whole clusters.

Letters: R resamples, C clusters, N entries.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stillhouse.errors import ConfigError, DataError, ShapeError
from stillhouse.statistics._bca import Resampled
from stillhouse.statistics._interval import Floats, Interval, check_confidence

_MAX_COUNTS = 1 << 22  # entries of one (R, C) block of resampling counts: 32 MB

Columns = tuple[npt.ArrayLike, npt.ArrayLike]
Statistic = Callable[[Floats], Floats]


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
    return _resample(
        [_pair(numerators, denominators)],
        lambda sums: sums[..., 0] / sums[..., 1],
        labels=np.asarray(clusters),
        plan=_Plan(num_resamples, confidence, seed),
    ).interval(confidence)


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
    plan = _Plan(num_resamples, confidence, seed)
    return _paired(np.subtract, a, b, clusters, plan).interval(confidence)


def resampled_difference(
    a: Columns, b: Columns, *, clusters: npt.ArrayLike, num_resamples: int, seed: int
) -> Resampled:
    """What `paired_bootstrap_difference` takes its interval from, for tests that match it."""
    return _paired(np.subtract, a, b, clusters, _Plan(num_resamples, 0.95, seed))


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
    plan = _Plan(num_resamples, confidence, seed)
    return _paired(np.divide, a, b, clusters, plan).interval(confidence)


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
        check_confidence(self.confidence)


def _paired(
    compare: Callable[[Floats, Floats], Floats],
    a: Columns,
    b: Columns,
    clusters: npt.ArrayLike,
    plan: _Plan,
) -> Resampled:
    """Bootstrap of `compare(ratio of a, ratio of b)`, both from the same resampled clusters."""
    return _resample(
        [_pair(*a), _pair(*b)],
        lambda sums: compare(sums[..., 0] / sums[..., 1], sums[..., 2] / sums[..., 3]),
        labels=np.asarray(clusters),
        plan=plan,
    )


def _resample(
    pairs: list[tuple[Floats, Floats]],
    statistic: Statistic,
    *,
    labels: npt.NDArray[np.generic],
    plan: _Plan,
) -> Resampled:
    """Bootstrap of `statistic`, which maps (..., 2 x pairs) sums to (...) values."""
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
    return Resampled(float(value), resampled_R, left_out_C, int(measured_N.sum()))


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
