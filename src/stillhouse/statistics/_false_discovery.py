"""Which of many hypotheses to reject so that few of the rejected are true.

Letters: M hypotheses.
"""

import numpy as np
import numpy.typing as npt

from stillhouse.errors import DataError
from stillhouse.statistics._interval import Floats, finite_scores


def benjamini_hochberg(p_values: npt.ArrayLike) -> Floats:
    """P-values adjusted for the false discovery rate.

    Reject where the adjusted value is at or below the rate. It holds where p-values are independent
    or positively dependent (PRDS), as conformal ones of one calibration set are.

    Source: Benjamini & Hochberg 1995; for conformal p-values Bates et al. 2023, arXiv:2104.08279.

    Args:
        p_values: (M,) in any order.

    Returns:
        (M,) in the same order, at most 1.

    Raises:
        ShapeError, DataError: not one-dimensional, none, not finite or not in [0, 1].
    """
    return _adjusted(p_values, 1.0)


def benjamini_yekutieli(p_values: npt.ArrayLike) -> Floats:
    """The same, valid however p-values depend on one another; larger by about ln M.

    Source: Benjamini & Yekutieli 2001.

    Raises:
        ShapeError, DataError: as in `benjamini_hochberg`.
    """
    num = len(finite_scores("p-values", p_values))
    return _adjusted(p_values, float((1.0 / np.arange(1, num + 1)).sum()))


def e_benjamini_hochberg(e_values: npt.ArrayLike) -> Floats:
    """The smallest false discovery rates at which e-values are rejected.

    Valid however e-values depend on one another, and whenever one looks.

    Source: Wang & Ramdas 2022, "False discovery rate control with e-values", arXiv:2009.02824.

    Args:
        e_values: (M,) of which each has a mean of at most 1 where its hypothesis is true.

    Returns:
        (M,) in the same order, at most 1.

    Raises:
        ShapeError, DataError: not one-dimensional, none, not finite or negative.
    """
    e_M = finite_scores("e-values", e_values)
    if e_M.min() < 0:
        raise DataError(f"an e-value is {e_M.min():g}. Give values of 0 or more.")
    with np.errstate(divide="ignore"):
        return _stepped_up(1.0 / e_M, 1.0)


def e_value(p_values: npt.ArrayLike) -> Floats:
    """E-values of p-values, without a setting to choose.

    Source: Vovk & Wang 2021, "E-values: calibration, combination and applications",
    arXiv:1912.06116, equation 2.

    Args:
        p_values: (M,) each above 0.

    Raises:
        ShapeError, DataError: not one-dimensional, none, or not in (0, 1].
    """
    p_M = finite_scores("p-values", p_values)
    if p_M.min() <= 0 or p_M.max() > 1:
        raise DataError(f"p-values run from {p_M.min():g} to {p_M.max():g}. Give values in (0, 1].")
    gap_M = 1.0 - p_M
    # Near 1 the formula is 0 / 0; there its series is exact enough.
    is_near_M = gap_M < 1e-4
    log_M = np.log(np.where(is_near_M, 0.5, p_M))
    values_M = (1 - p_M + p_M * log_M) / (p_M * log_M**2)
    return np.where(is_near_M, 0.5 + gap_M / 6, values_M)


def _adjusted(p_values: npt.ArrayLike, factor: float) -> Floats:
    p_M = finite_scores("p-values", p_values)
    if p_M.min() < 0 or p_M.max() > 1:
        raise DataError(f"p-values run from {p_M.min():g} to {p_M.max():g}. Give values in [0, 1].")
    return _stepped_up(p_M, factor)


def _stepped_up(p_M: Floats, factor: float) -> Floats:
    order_M = np.argsort(p_M, kind="stable")
    scaled_M = p_M[order_M] * (factor * len(p_M)) / np.arange(1, len(p_M) + 1)
    adjusted_M = np.empty(len(p_M))
    # A larger p-value is never rejected at a smaller rate.
    adjusted_M[order_M] = np.minimum.accumulate(scaled_M[::-1])[::-1]
    return np.minimum(1.0, adjusted_M)
