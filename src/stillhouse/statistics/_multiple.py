"""Several tests at once."""

import numpy as np
import numpy.typing as npt

from stillhouse.errors import DataError
from stillhouse.statistics._interval import Floats, finite_scores


def holm(p_values: npt.ArrayLike) -> Floats:
    """P-values adjusted so that the chance of any false rejection keeps to the level.

    Reject where the adjusted value is at or below the level. Valid however the tests depend on one
    another, and never weaker than Bonferroni's.

    Source: Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure".

    Args:
        p_values: (M,) of one family of tests, in any order.

    Returns:
        (M,) in the same order, at most 1.

    Raises:
        ShapeError, DataError: not one-dimensional, none, not finite or not in [0, 1].
    """
    p_M = finite_scores("p-values", p_values)
    if p_M.min() < 0 or p_M.max() > 1:
        raise DataError(f"p-values run from {p_M.min():g} to {p_M.max():g}. Give values in [0, 1].")
    order_M = np.argsort(p_M, kind="stable")
    scaled_M = p_M[order_M] * np.arange(len(p_M), 0, -1)
    adjusted_M = np.empty(len(p_M))
    adjusted_M[order_M] = np.minimum(1.0, np.maximum.accumulate(scaled_M))
    return adjusted_M
