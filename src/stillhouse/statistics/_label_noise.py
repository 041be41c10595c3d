"""Labels that are probably wrong, found by a model that has not seen them.

Letters: N rows, L labels, K labels that rows have, I rows found.

Source: Northcutt, Jiang & Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset
Labels", arXiv:1911.00068 (NJC below).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv

from stillhouse.errors import ConfigError, DataError, ShapeError
from stillhouse.statistics._interval import Floats, Integers, Interval, check_confidence

Ranking = Literal["normalized_margin", "self_confidence"]

_SUM_TOLERANCE = 1e-3  # float32 probabilities of thousands of labels sum to 1 within it


@dataclass(frozen=True)
class LabelIssues:
    """Rows whose label a model confidently contradicts, worst first.

    Attributes:
        rows_I: Their numbers.
        suggested_I: The label that each more probably has.
        quality_I: By what they are ranked; lower is worse.
        noise_fraction: Estimated fraction of all rows with a wrong label. The interval is that of
            sampling; where the model is wrong with confidence, the estimate is too.
    """

    rows_I: Integers
    suggested_I: Integers
    quality_I: Floats
    noise_fraction: Interval


def confident_joint(labels_N: npt.ArrayLike, probabilities_NL: npt.ArrayLike) -> Integers:
    """(L, L) counts of rows by the label they have and the one they confidently seem to have.

    A row seems to have the most probable among those labels whose probability reaches the mean that
    this label has over rows labelled so. Rows that reach none are not counted.

    Source: NJC, section 3.1.

    Args:
        labels_N: Numbers of labels, below L.
        probabilities_NL: From models that were not fitted on the row (out of fold); rows sum to 1.

    Raises:
        ShapeError: the shapes do not match.
        DataError: there is no row, a label or a probability is out of range, or all rows have one
            label.
    """
    labels, probabilities = _checked(labels_N, probabilities_NL)
    return _joint(labels, _seeming(labels, probabilities), probabilities.shape[1])


def label_issues(
    labels_N: npt.ArrayLike,
    probabilities_NL: npt.ArrayLike,
    *,
    rank_by: Ranking = "normalized_margin",
    confidence: float = 0.95,
) -> LabelIssues:
    """Rows off the diagonal of the confident joint, worst first.

    Source: NJC, the rows off the diagonal of the confident joint, ranked either way; the noise from
    their calibrated joint, its interval as Korn & Graubard 1998, "Confidence intervals for
    proportions with small expected number of positive counts estimated from survey data".

    Args:
        labels_N: Numbers of labels, below L.
        probabilities_NL: From models that were not fitted on the row (out of fold); rows sum to 1.
        rank_by: "self_confidence" is the probability of the row's label, "normalized_margin" that
            minus the greatest of the others.

    Raises:
        ShapeError, DataError: as in `confident_joint`.
        ConfigError: `rank_by` or `confidence` is out of range.
    """
    check_confidence(confidence)
    if rank_by not in ("normalized_margin", "self_confidence"):
        raise ConfigError(
            f"rank_by={rank_by!r} is unknown. Give 'normalized_margin' or 'self_confidence'."
        )
    labels, probabilities = _checked(labels_N, probabilities_NL)
    seeming_N = _seeming(labels, probabilities)
    every_N = np.arange(len(labels))
    quality_N = probabilities[every_N, labels]
    if rank_by == "normalized_margin":
        others_NL = probabilities.copy()
        others_NL[every_N, labels] = -np.inf
        quality_N = quality_N - others_NL.max(axis=1)
    found_I = np.flatnonzero((seeming_N >= 0) & (seeming_N != labels))
    found_I = found_I[np.argsort(quality_N[found_I], kind="stable")]
    joint_LL = _joint(labels, seeming_N, probabilities.shape[1])
    rows_L = np.bincount(labels, minlength=probabilities.shape[1])
    return LabelIssues(
        rows_I=found_I,
        suggested_I=seeming_N[found_I],
        quality_I=quality_N[found_I],
        noise_fraction=_noise_fraction(joint_LL, rows_L, confidence),
    )


def _noise_fraction(joint_LL: Integers, rows_L: Integers, confidence: float) -> Interval:
    """Wrong labels over all rows: what each label's counted rows say, weighted by its rows.

    The interval is the exact one of as many independent rows as would leave this variance. Adding
    up intervals of single labels instead covers 88 % where 77 labels are a twentieth wrong each.
    """
    has_rows_L = rows_L > 0
    # Of a label's rows the most probable reaches their mean, so of each label some are counted.
    counted_K = joint_LL.sum(axis=1)[has_rows_L]
    wrong_K = 1 - np.diag(joint_LL)[has_rows_L] / counted_K
    n = int(rows_L.sum())
    weights_K = rows_L[has_rows_L] / n
    value = float(weights_K @ wrong_K)
    variance = float(weights_K**2 @ (wrong_K * (1 - wrong_K) / counted_K))
    rows = 1 / float(weights_K**2 @ (1 / counted_K))  # at most, where labels are alike
    if variance > 0:
        rows = min(rows, value * (1 - value) / variance)
    tail = (1 - confidence) / 2
    wrong, right = value * rows, (1 - value) * rows
    low = float(betaincinv(wrong, right + 1, tail)) if value > 0 else 0.0
    high = float(betaincinv(wrong + 1, right, 1 - tail)) if value < 1 else 1.0
    return Interval(value, low, high, n, n)


def _seeming(labels_N: Integers, probabilities_NL: Floats) -> Integers:
    """(N,) label that each row confidently seems to have, or -1."""
    num_labels = probabilities_NL.shape[1]
    rows_L = np.bincount(labels_N, minlength=num_labels)
    own_N = probabilities_NL[np.arange(len(labels_N)), labels_N]
    sums_L = np.bincount(labels_N, own_N, minlength=num_labels)
    # No row tells how probable a label without rows is where it is right, so none seems so.
    bars_L = np.where(rows_L > 0, sums_L / np.maximum(rows_L, 1), np.inf)
    reached_NL = probabilities_NL >= bars_L - 1e-12  # a mean of equal numbers may round up
    seeming_N = np.argmax(np.where(reached_NL, probabilities_NL, -np.inf), axis=1)
    return np.where(reached_NL.any(axis=1), seeming_N, -1)


def _joint(labels_N: Integers, seeming_N: Integers, num_labels: int) -> Integers:
    counted_N = seeming_N >= 0
    pairs_N = labels_N[counted_N] * num_labels + seeming_N[counted_N]
    return np.bincount(pairs_N, minlength=num_labels**2).reshape(num_labels, num_labels)


def _checked(labels_N: npt.ArrayLike, probabilities_NL: npt.ArrayLike) -> tuple[Integers, Floats]:
    labels, probabilities = np.asarray(labels_N), np.asarray(probabilities_NL, dtype=np.float64)
    if labels.ndim != 1 or probabilities.ndim != 2 or len(labels) != len(probabilities):
        raise ShapeError(
            f"labels have shape {labels.shape}, probabilities {probabilities.shape}. Give one "
            "label and one row of probabilities for each row."
        )
    if not labels.size:
        raise DataError("There is no row, so no label to check. Give at least two labels' rows.")
    num_labels = probabilities.shape[1]
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= num_labels:
        raise DataError(f"Labels are not all whole numbers from 0 to {num_labels - 1}.")
    if (labels == labels[0]).all():
        raise DataError(
            f"All {len(labels)} rows have one label, so none can be mistaken for another. Give "
            "rows of two labels or more."
        )
    sums_N = probabilities.sum(axis=1)
    is_off = probabilities.min() < 0 or np.abs(sums_N - 1).max() > _SUM_TOLERANCE
    if is_off or not np.isfinite(sums_N).all():
        raise DataError(
            "Some rows of probabilities are negative, not finite or do not sum to 1. Give the "
            "probabilities of all labels."
        )
    return labels.astype(np.int64), probabilities
