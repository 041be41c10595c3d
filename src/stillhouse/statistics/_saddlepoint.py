"""Upper tails of weighted sums, by Lugannani and Rice's saddlepoint formula, in logarithms.

The formula is exact for the normal law, and off by 8 % of p at most for a single exponential
variable, its worst case here; matching two moments with a Gamma law, as is often done, is off by
a factor of 147 at 1e-10 for short texts.

Source: Lugannani & Rice 1980, Advances in Applied Probability 12:475; Daniels 1987, International
Statistical Review 55:37.

Letters: M sums, J weights.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import erfcx, ndtr

from stillhouse.errors import DataError, ShapeError
from stillhouse.statistics._interval import Floats

_MOST_STEPS = 200
# As near to the mean as this, in standard deviations, the formula is 0 / 0.
_NEAR_MEAN = 1e-3


@dataclass(frozen=True)
class _Cumulants:
    """K(t) and its first three derivatives, each (M,)."""

    value: Floats
    first: Floats
    second: Floats
    third: Floats


def log_exponential_sum_tail(
    sums: npt.ArrayLike, weights: npt.ArrayLike, counts: npt.ArrayLike
) -> Floats:
    """Ln P(S >= sum) for S = the sum of weight * E over independent exponential E of mean 1.

    Args:
        sums: (M,), 0 or more.
        weights: (J,) or (M, J), positive.
        counts: (M, J) or what broadcasts to it: how many E have each weight; at least one in all.

    Returns:
        (M,), at most 0.

    Raises:
        ShapeError: the arrays do not fit each other.
        DataError: a number is outside its range.
    """
    s_M, w_MJ, n_MJ = _fitting(sums, weights, counts)
    if (w_MJ <= 0).any():
        raise DataError("A weight is not positive. Leave terms without weight out.")
    if (s_M < 0).any():
        raise DataError("A sum of exponential variables is negative. Give 0 or more.")
    s_M = np.maximum(s_M, 1e-12 * (n_MJ * w_MJ).sum(axis=1))

    def cumulants(t_M: Floats) -> _Cumulants:
        r_MJ = w_MJ / (1 - w_MJ * t_M[:, None])
        log_MJ = -np.log1p(-w_MJ * t_M[:, None])
        return _Cumulants(
            (n_MJ * log_MJ).sum(axis=1),
            (n_MJ * r_MJ).sum(axis=1),
            (n_MJ * r_MJ**2).sum(axis=1),
            2 * (n_MJ * r_MJ**3).sum(axis=1),
        )

    used_MJ = np.where(n_MJ > 0, w_MJ, 0.0)
    largest_M = used_MJ.max(axis=1)
    total_M = n_MJ.sum(axis=1)
    # K'(t) lies between that of the largest weight alone and that of all terms at that weight.
    at_most_M = 1 / largest_M
    high_M = at_most_M - _count_of(used_MJ, n_MJ, largest_M) / s_M
    low_M = at_most_M - total_M / s_M
    high_M = np.minimum(np.maximum(high_M, low_M), at_most_M * (1 - 1e-15))
    t_M = _solved(lambda t: cumulants(t), s_M, low_M, high_M)
    return _tail(s_M, t_M, cumulants(t_M))


def log_bernoulli_sum_tail(
    sums: npt.ArrayLike, weights: npt.ArrayLike, counts: npt.ArrayLike, *, fraction: float = 0.5
) -> Floats:
    """Ln P(S >= sum) for S = the sum of weight * B over independent B that are 1 or 0.

    The sum is treated as continuous: right where its steps are small beside its spread.

    Args:
        sums: (M,), from 0 to the sum of all weights.
        weights: (J,) or (M, J), positive.
        counts: (M, J) or what broadcasts to it: how many B have each weight; at least one in all.
        fraction: How likely 1 is, in (0, 1).

    Returns:
        (M,), at most 0.

    Raises:
        ShapeError: the arrays do not fit each other.
        DataError: a number is outside its range.
    """
    if not 0 < fraction < 1:
        raise DataError(f"fraction={fraction} is not between 0 and 1. Give one that is.")
    s_M, w_MJ, n_MJ = _fitting(sums, weights, counts)
    if (w_MJ <= 0).any():
        raise DataError("A weight is not positive. Leave terms without weight out.")
    most_M = (n_MJ * w_MJ).sum(axis=1)
    if ((s_M < -1e-9 * most_M) | (s_M > most_M * (1 + 1e-9))).any():
        raise DataError("A sum is not between 0 and the sum of its weights. Give one that is.")
    log_all_M = n_MJ.sum(axis=1) * np.log(fraction)
    log_odds = np.log(fraction / (1 - fraction))
    # At the ends the saddlepoint is infinite; just inside them the formula is near the truth.
    inside_M = np.clip(s_M, most_M * 1e-9, most_M * (1 - 1e-9))

    def cumulants(t_M: Floats) -> _Cumulants:
        x_MJ = w_MJ * t_M[:, None]
        q_MJ = 1 / (1 + np.exp(np.clip(-(x_MJ + log_odds), -700, 700)))
        # ln(1 - f + f e^x) without overflow
        log_MJ = np.logaddexp(np.log1p(-fraction), np.log(fraction) + x_MJ)
        v_MJ = q_MJ * (1 - q_MJ)
        return _Cumulants(
            (n_MJ * log_MJ).sum(axis=1),
            (n_MJ * w_MJ * q_MJ).sum(axis=1),
            (n_MJ * w_MJ**2 * v_MJ).sum(axis=1),
            (n_MJ * w_MJ**3 * v_MJ * (1 - 2 * q_MJ)).sum(axis=1),
        )

    smallest_M = np.where(n_MJ > 0, w_MJ, np.inf).min(axis=1)
    bound_M = (60 + abs(log_odds)) / smallest_M
    t_M = _solved(cumulants, inside_M, -bound_M, bound_M)
    log_tail_M = _tail(inside_M, t_M, cumulants(t_M))
    # No value is rarer than all ones, which is known.
    log_tail_M = np.maximum(log_tail_M, log_all_M)
    log_tail_M = np.where(s_M >= most_M * (1 - 1e-9), log_all_M, log_tail_M)
    return np.where(s_M <= most_M * 1e-9, 0.0, log_tail_M)


def _count_of(used_MJ: Floats, n_MJ: Floats, largest_M: Floats) -> Floats:
    return np.asarray(np.where(used_MJ == largest_M[:, None], n_MJ, 0.0).sum(axis=1))


def _solved(
    cumulants: Callable[[Floats], _Cumulants], s_M: Floats, low_M: Floats, high_M: Floats
) -> Floats:
    """(M,) t with K'(t) = s, by Newton's method kept within a shrinking bracket."""
    low_M, high_M = low_M.copy(), high_M.copy()
    t_M = np.clip(np.zeros_like(s_M), low_M, high_M)
    for _ in range(_MOST_STEPS):
        k = cumulants(t_M)
        miss_M = k.first - s_M
        low_M = np.where(miss_M < 0, np.maximum(low_M, t_M), low_M)
        high_M = np.where(miss_M > 0, np.minimum(high_M, t_M), high_M)
        if (np.abs(miss_M) <= 1e-11 * np.sqrt(np.maximum(k.second, 1e-300))).all():
            break
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            next_M = t_M - miss_M / k.second
        inside_M = (next_M > low_M) & (next_M < high_M)
        next_M = np.where(inside_M, next_M, 0.5 * (low_M + high_M))
        if (next_M == t_M).all():
            break
        t_M = next_M
    return t_M


def _tail(s_M: Floats, t_M: Floats, k: _Cumulants) -> Floats:
    """Ln of the tail at the saddlepoint: ln[Q(w) + phi(w) (1/u - 1/w)]."""
    deviation_M = np.sqrt(k.second)
    u_M = t_M * deviation_M
    w_M = np.sign(t_M) * np.sqrt(np.maximum(2 * (t_M * s_M - k.value), 0.0))
    skew_M = k.third / deviation_M**3
    is_near_M = np.abs(u_M) < _NEAR_MEAN
    safe_w_M, safe_u_M = np.where(is_near_M, 1.0, w_M), np.where(is_near_M, 1.0, u_M)
    # 1/u - 1/w tends to -skewness / 6 at the mean.
    step_M = np.where(is_near_M, -skew_M / 6, 1 / safe_u_M - 1 / safe_w_M)
    # Far above the mean both terms underflow, and their ratio to phi(w) does not.
    up_M = np.maximum(w_M, 0.0)
    mills_M = np.sqrt(np.pi / 2) * erfcx(up_M / np.sqrt(2))
    log_phi_M = -0.5 * up_M**2 - 0.5 * np.log(2 * np.pi)
    log_up_M = log_phi_M + np.log(np.maximum(mills_M + step_M, 1e-300))
    down_M = np.minimum(w_M, 0.0)
    phi_M = np.exp(-0.5 * down_M**2) / np.sqrt(2 * np.pi)
    log_down_M = np.log(np.clip(ndtr(-down_M) + phi_M * step_M, 1e-300, 1.0))
    return np.asarray(np.minimum(np.where(w_M >= 0, log_up_M, log_down_M), 0.0))


def _fitting(
    sums: npt.ArrayLike, weights: npt.ArrayLike, counts: npt.ArrayLike
) -> tuple[Floats, Floats, Floats]:
    s_M = np.atleast_1d(np.asarray(sums, dtype=np.float64))
    w = np.asarray(weights, dtype=np.float64)
    n = np.asarray(counts, dtype=np.float64)
    try:
        n_MJ, w_MJ = np.broadcast_arrays(n, w)
        shape = (len(s_M), w_MJ.shape[-1])
        w_MJ, n_MJ = np.broadcast_to(w_MJ, shape), np.broadcast_to(n_MJ, shape)
    except (ValueError, IndexError) as err:
        raise ShapeError(
            f"sums {s_M.shape}, weights {w.shape} and counts {n.shape} do not fit. Give (M,), (J,) "
            "and (M, J)."
        ) from err
    if s_M.ndim != 1:
        raise ShapeError(f"sums has shape {s_M.shape}. Give one sum for each row.")
    for name, values in (("sums", s_M), ("weights", w_MJ), ("counts", n_MJ)):
        if not np.isfinite(values).all():
            raise DataError(f"{name} are not all finite. Give numbers.")
    if (n_MJ < 0).any() or (n_MJ.sum(axis=1) <= 0).any():
        raise DataError("A sum has no terms. Give at least one with a weight.")
    return s_M, np.asarray(w_MJ), np.asarray(n_MJ)
