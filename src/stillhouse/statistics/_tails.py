"""Upper tails of sums, exact and in logarithms: what is as rare as 1e-300 is told as such.

Each gives ln P(S >= s) under the null hypothesis, elementwise on arrays that broadcast. A sum of no
terms is 0, so that its tail at 0 is 1.

Letters: M sums.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import betainc, betaln, gammaincc, gammaln

from stillhouse.errors import DataError
from stillhouse.statistics._interval import Floats

# Below it the functions of scipy lose digits to subnormal numbers, and series take over.
_SMALLEST = 1e-280
_MOST_TERMS = 200_000


def log_binomial_tail(
    successes: npt.ArrayLike, trials: npt.ArrayLike, fraction: float, *, is_mid: bool = False
) -> Floats:
    """Ln P(X >= successes) for X binomial.

    Args:
        successes: (M,) whole numbers from 0 to `trials`.
        trials: (M,) whole numbers, 0 or more.
        fraction: Of successes, in (0, 1).
        is_mid: Count the observed value half: the mid-p value, which is right on average over a
            coarse distribution but no bound.

    Returns:
        (M,), at most 0.

    Raises:
        DataError: a number is outside its range.
    """
    if not 0 < fraction < 1:
        raise DataError(f"fraction={fraction} is not between 0 and 1. Give one that is.")
    x_M, n_M = np.broadcast_arrays(_counts("successes", successes), _counts("trials", trials))
    if (x_M > n_M).any():
        raise DataError("There are more successes than trials. Give no more of them.")
    # betainc is not defined at 0, where the tail is 1 anyway.
    tail_M = np.where(
        x_M > 0, betainc(np.maximum(x_M, 1), n_M - np.maximum(x_M, 1) + 1, fraction), 1
    )
    first_M = _log_binomial_mass(x_M, n_M, fraction)
    with np.errstate(divide="ignore"):
        log_tail_M = np.log(tail_M)
    far_M = (tail_M < _SMALLEST) & (x_M > 0)
    if far_M.any():
        x, n = x_M[far_M], n_M[far_M]
        odds = fraction / (1 - fraction)
        log_tail_M[far_M] = first_M[far_M] + np.log(
            _series(lambda k: (n - x - k) / (x + 1 + k) * odds, len(x))
        )
    if is_mid:
        share_M = np.minimum(np.exp(first_M - log_tail_M), 1.0)
        log_tail_M = log_tail_M + np.log1p(-0.5 * share_M)
    return np.minimum(log_tail_M, 0.0)


def log_gamma_tail(sums: npt.ArrayLike, terms: npt.ArrayLike) -> Floats:
    """Ln P(S >= sum) for a sum of independent exponential variables of mean 1.

    Args:
        sums: (M,), 0 or more.
        terms: (M,) how many variables, 0 or more.

    Returns:
        (M,), at most 0.

    Raises:
        DataError: a number is negative or not finite.
    """
    s_M, n_M = np.broadcast_arrays(_amounts("sums", sums), _counts("terms", terms))
    tail_M = np.where(n_M > 0, gammaincc(np.maximum(n_M, 1), s_M), np.where(s_M > 0, 0.0, 1.0))
    with np.errstate(divide="ignore"):
        log_tail_M = np.log(tail_M)
    far_M = (tail_M < _SMALLEST) & (n_M > 0)
    if far_M.any():
        s, n = s_M[far_M], n_M[far_M]
        # Gamma(n, s) = s^(n-1) e^-s (1 + (n-1)/s + (n-1)(n-2)/s^2 + ...), which ends by itself.
        log_first = (n - 1) * np.log(s) - s - gammaln(n)
        log_tail_M[far_M] = log_first + np.log(_series(lambda k: (n - 1 - k) / s, len(s)))
    return np.minimum(log_tail_M, 0.0)


def _series(ratio_at: Any, num_sums: int) -> Floats:
    """1 + r(0) + r(0) r(1) + ... of falling ratios r(k), which are negative after the last term."""
    sum_M = np.ones(num_sums)
    term_M = np.ones(num_sums)
    for k in range(_MOST_TERMS):
        term_M = term_M * np.maximum(ratio_at(k), 0.0)
        sum_M += term_M
        if (term_M <= 1e-17 * sum_M).all():
            break
    return sum_M


def _log_binomial_mass(x_M: Floats, n_M: Floats, fraction: float) -> Floats:
    log_ways_M = -betaln(x_M + 1, n_M - x_M + 1) - np.log(n_M + 1)
    mass_M = log_ways_M + x_M * np.log(fraction) + (n_M - x_M) * np.log1p(-fraction)
    return np.asarray(mass_M, dtype=np.float64)


def _amounts(name: str, values: npt.ArrayLike) -> Floats:
    values_M = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if not (np.isfinite(values_M).all() and (values_M >= 0).all()):
        raise DataError(f"{name} are not all finite and 0 or more. Give sums that are.")
    return values_M


def _counts(name: str, values: npt.ArrayLike) -> Floats:
    values_M = _amounts(name, values)
    if (values_M != np.floor(values_M)).any():
        raise DataError(f"{name} are not all whole numbers. Give counts.")
    return values_M
