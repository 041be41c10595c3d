"""Agreement of two who label the same rows, beyond what chance gives.

Letters: N rows, L labels, C clusters.
"""

import math

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from stillhouse.errors import DataError, ShapeError
from stillhouse.statistics._interval import (
    MIN_CLUSTERS,
    Floats,
    Integers,
    Interval,
    check_confidence,
    cluster_places,
    same_length,
)


def cohen_kappa(
    a_N: npt.ArrayLike,
    b_N: npt.ArrayLike,
    *,
    clusters: npt.ArrayLike | None = None,
    confidence: float = 0.95,
) -> Interval:
    """Cohen's kappa: 1 where both always agree, 0 where they agree as often as by chance.

    The interval is symmetric on the scale of log(1 - kappa), the log of disagreement relative to
    chance, with the delta method's standard error, robust to clusters. Where the rows never (or
    always) disagree, it is what the exact bound of that fraction leaves; with fewer than 10
    clusters nothing is claimed and it is [-1, 1].

    Source: Cohen 1960, "A Coefficient of Agreement for Nominal Scales"; variance as Fleiss, Cohen &
    Everitt 1969, "Large sample standard errors of kappa and weighted kappa".

    Args:
        a_N: Labels by one, numbers or text.
        b_N: Labels by the other.
        clusters: (N,) labels of rows that hang together; without them each row stands alone.

    Raises:
        ShapeError: lengths differ.
        DataError: there is no row, a label is missing, or both give one and the same label to
            every row, where chance explains everything.
        ConfigError: `confidence` is out of range.
    """
    check_confidence(confidence)
    a, b, num_labels = _places(a_N, b_N)
    places_N, num_clusters = cluster_places(clusters, len(a))
    share_a_L = np.bincount(a, minlength=num_labels) / len(a)
    share_b_L = np.bincount(b, minlength=num_labels) / len(b)
    by_chance = float(share_a_L @ share_b_L)
    if by_chance == 1.0:
        raise DataError(
            f"Both give one label to all {len(a)} rows, so chance explains every agreement. "
            "Measure rows with more than one label."
        )
    apart_N = (a != b).astype(np.float64)
    apart = float(apart_N.mean())
    kappa = 1 - apart / (1 - by_chance)
    tail = (1 - confidence) / 2
    if num_clusters < MIN_CLUSTERS:
        return Interval(kappa, -1.0, 1.0, len(a), num_clusters)
    pulls_N = (2 * by_chance - share_b_L[a] - share_a_L[b]) / (1 - by_chance)
    pulls_N = (apart_N - apart) / apart - pulls_N if apart > 0 else np.zeros(len(a))
    error = _standard_error(pulls_N, places_N, num_clusters)
    if error == 0:
        unseen = -math.expm1(math.log(tail) / num_clusters)
        most, least = apart + (1 - apart) * unseen, apart * (1 - unseen)
    else:
        spread = math.exp(float(stdtrit(num_clusters - 1, 1 - tail)) * error)
        most, least = apart * spread, apart / spread
    low, high = (1 - share / (1 - by_chance) for share in (most, least))
    return Interval(kappa, max(-1.0, low), high, len(a), num_clusters)


def _standard_error(pulls_N: Floats, places_N: Integers, num_clusters: int) -> float:
    """Of a mean whose rows pull so, robust to any dependence within clusters."""
    sums_C = np.bincount(places_N, pulls_N, minlength=num_clusters)
    spread = float(sums_C @ sums_C)
    if spread <= 1e-20 * len(pulls_N):  # rounding of pulls that cancel
        return 0.0
    return math.sqrt(num_clusters / (num_clusters - 1) * spread) / len(pulls_N)


def _places(a_N: npt.ArrayLike, b_N: npt.ArrayLike) -> tuple[Integers, Integers, int]:
    a, b = np.asarray(a_N), np.asarray(b_N)
    for name, labels in (("a", a), ("b", b)):
        if labels.ndim != 1:
            raise ShapeError(f"Labels of {name} have shape {labels.shape}. Give one for each row.")
        if not labels.size:
            raise DataError(f"There are no labels of {name}. Give at least one row.")
        if labels.dtype.kind not in "biuUS":
            raise DataError(
                f"Labels of {name} are of type {labels.dtype}; give whole numbers or text, none "
                "missing."
            )
    same_length("labels of a and b", a, b)
    if (a.dtype.kind in "US") != (b.dtype.kind in "US"):
        raise DataError("Labels of a and b are numbers and text. Give both in one way.")
    names, places = np.unique(np.concatenate([a, b]), return_inverse=True)
    return places[: len(a)].astype(np.int64), places[len(a) :].astype(np.int64), len(names)
