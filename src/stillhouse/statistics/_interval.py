"""The interval that all of statistics gives, and checks of what it is given.

Letters: N entries, C clusters.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stillhouse.errors import ConfigError, DataError, ShapeError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

MIN_CLUSTERS = 10  # fewer bear neither a standard error nor resampling


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


def check_confidence(confidence: float) -> None:
    """Refuse a confidence that is not in [0.5, 1)."""
    if not 0.5 <= confidence < 1.0:
        raise ConfigError(
            f"confidence={confidence} is not in [0.5, 1). Give a fraction such as 0.95."
        )


def check_between(name: str, value: float, low: float, high: float) -> None:
    """Refuse a setting outside the open range (low, high)."""
    if not low < value < high:
        raise ConfigError(f"{name}={value} is not between {low:g} and {high:g}. Give one that is.")


def check_margin(margin: float) -> None:
    """Refuse a margin that is negative or not finite."""
    if not 0 <= margin < math.inf:
        raise ConfigError(f"margin={margin} is no tolerated loss. Give 0 or more.")


def check_fraction_margin(margin: float) -> None:
    """Refuse a margin that is no fraction below 1."""
    if not 0 <= margin < 1:
        raise ConfigError(f"margin={margin} is not in [0, 1). Give a fraction: 2 points are 0.02.")


def finite_scores(name: str, scores: npt.ArrayLike) -> Floats:
    """(N,) finite numbers, N at least 1.

    Raises:
        ShapeError: not one-dimensional.
        DataError: empty, not numbers, or not finite.
    """
    try:
        scores_N = np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError) as err:
        raise DataError(f"{name} are not all numbers. Give one number for each row.") from err
    if scores_N.ndim != 1:
        raise ShapeError(f"{name} has shape {scores_N.shape}. Give one number for each row.")
    if not scores_N.size:
        raise DataError(f"{name} is empty: nothing was measured. Give at least one row.")
    num_missing = int((~np.isfinite(scores_N)).sum())
    if num_missing:
        raise DataError(
            f"{num_missing} of {scores_N.size} {name} are not finite. Leave out what was not "
            "measured."
        )
    return scores_N


def bounded_scores(name: str, scores: npt.ArrayLike) -> Floats:
    """(N,) numbers in [0, 1], N at least 1; raises as `finite_scores`, and for one outside."""
    scores_N = finite_scores(name, scores)
    low, high = float(scores_N.min()), float(scores_N.max())
    if low < 0 or high > 1:
        raise DataError(f"{name} run from {low:g} to {high:g}. Give scores in [0, 1].")
    return scores_N


def binary_scores(name: str, scores: npt.ArrayLike) -> Floats:
    """(N,) zeros and ones, N at least 1; raises as `finite_scores`, and for anything between."""
    scores_N = finite_scores(name, scores)
    other_N = scores_N[(scores_N != 0) & (scores_N != 1)]
    if other_N.size:
        raise DataError(f"{name} hold {other_N[0]:g}. Give 0 or 1 for each row.")
    return scores_N


def same_length(names: str, *columns: npt.NDArray[np.generic]) -> None:
    """Refuse columns of different lengths."""
    lengths = [len(column) for column in columns]
    if len(set(lengths)) > 1:
        raise ShapeError(f"{names} have {lengths} rows. Give them about the same rows.")


def cluster_places(clusters: npt.ArrayLike | None, num_rows: int) -> tuple[Integers, int]:
    """(N,) number of each row's cluster, and C; without `clusters` each row is one of its own.

    Raises:
        ShapeError: not one label for each row.
        DataError: the labels are not whole numbers or text.
    """
    if clusters is None:
        return np.arange(num_rows), num_rows
    labels_N = np.asarray(clusters)
    if labels_N.shape != (num_rows,):
        raise ShapeError(
            f"clusters has shape {labels_N.shape} for {num_rows} rows. Give one label for each."
        )
    if labels_N.dtype.kind not in "iuUS":
        raise DataError(
            f"clusters are of type {labels_N.dtype}; give whole numbers or text, none missing."
        )
    names, places_N = np.unique(labels_N, return_inverse=True)
    return places_N.astype(np.int64), len(names)
