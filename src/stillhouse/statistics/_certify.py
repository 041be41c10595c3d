"""Thresholds whose error is certified from a calibration set, and the rows that this takes.

Letters: G thresholds of an ordered grid, N rows.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import betainc, ndtri

from stillhouse.errors import ConfigError, DataError, ShapeError
from stillhouse.statistics._betting import betting_upper_bound
from stillhouse.statistics._fractions import fraction_upper_bound
from stillhouse.statistics._interval import Floats, Integers, check_between, check_confidence

_CHUNK = 4096  # numbers of errors looked at together, at most
_MAX_ROWS = 10**6


def fixed_sequence(
    errors_G: Sequence[int], totals_G: Sequence[int], *, target: float, confidence: float = 0.95
) -> int | None:
    """Place of the last threshold before the first whose error may exceed the target.

    Thresholds are tested one after the other at full level, from the safest on, and the first that
    fails ends it. So with `confidence` no certified threshold has a true error above the target,
    however long the grid. Leading thresholds with too few rows to be certified even without an
    error are passed over: their number of rows says nothing about errors.

    Source: Angelopoulos et al. 2021, "Learn then Test", arXiv:2110.01052 (fixed sequence
    testing), with the one-sided Clopper-Pearson bound of each threshold as its test.

    Args:
        errors_G: Wrong answers among the calibration rows that each threshold lets through, safest
            threshold first. The order must not come from these rows' errors.
        totals_G: The independent calibration rows that it lets through.
        target: Greatest tolerated fraction of errors, in (0, 1).

    Returns:
        Place in the grid, or None where no threshold is certified.

    Raises:
        DataError: there is no threshold, or more errors than rows.
        ShapeError: lengths differ.
        ConfigError: target or confidence is out of range.
    """
    if len(errors_G) != len(totals_G):
        raise ShapeError(
            f"{len(errors_G)} counts of errors and {len(totals_G)} of rows. Give one of each for "
            "every threshold."
        )
    if not totals_G:
        raise DataError("There is no threshold. Give a grid of at least one.")
    least_rows = rows_to_certify(target, confidence)
    certified = None
    for place, (errors, total) in enumerate(zip(errors_G, totals_G, strict=True)):
        if certified is None and total < least_rows and 0 <= errors <= total:
            continue
        if fraction_upper_bound(errors, total, confidence=confidence) > target:
            break
        certified = place
    return certified


def fixed_sequence_graded(
    losses_GN: Iterable[npt.ArrayLike], *, target: float, confidence: float = 0.95, seed: int = 0
) -> int | None:
    """Place of the last threshold before the first whose mean loss may exceed the target.

    As `fixed_sequence`, for losses in [0, 1], with the betting bound of each threshold as its
    test. It needs more rows than the exact bound where losses are 0 and 1.

    Args:
        losses_GN: For each threshold, safest first, the losses of the same independent rows; 0
            where it does not let a row through. The order must not come from these losses.
        target: Greatest tolerated mean loss, in (0, 1).
        seed: Of the order in which rows are bet on.

    Returns:
        Place in the grid, or None where no threshold is certified.

    Raises:
        DataError: there is no threshold, or losses are missing or outside [0, 1].
        ShapeError: the losses of a threshold are not one-dimensional.
        ConfigError: target or confidence is out of range.
    """
    check_between("target", target, 0.0, 1.0)
    certified, place = None, -1
    for place, losses_N in enumerate(losses_GN):
        if betting_upper_bound(losses_N, confidence=confidence, seed=seed) > target:
            break
        certified = place
    if place < 0:
        raise DataError("There is no threshold. Give a grid of at least one.")
    return certified


def rows_to_certify_graded(
    target: float, *, mean: float, variance: float, confidence: float = 0.95
) -> int:
    """About how many rows the betting bound needs for graded losses such as these.

    That is 2 ln(1 / (1 - confidence)) times the variance over the squared gap to the target, the
    length of a Bernstein interval to first order, and no less than what losses of 0 would need.

    Args:
        target: Greatest tolerated mean loss, in (0, 1).
        mean: Of the losses that are expected.
        variance: Of these.

    Raises:
        ConfigError: a setting is out of range, the mean is not below the target, or more than a
            million rows are needed.
    """
    check_between("target", target, 0.0, 1.0)
    check_confidence(confidence)
    if not 0 <= mean < target or not 0 <= variance <= 0.25:
        raise ConfigError(
            f"mean={mean} and variance={variance} of losses cannot be certified at target="
            f"{target}. Give a larger target."
        )
    needed = -math.log(1 - confidence)
    about = 2 * needed * variance / (target - mean) ** 2
    if about > _MAX_ROWS:
        raise ConfigError(
            f"mean={mean} is so close to target={target} that over {_MAX_ROWS:,} rows are needed. "
            "Give a larger target."
        )
    return max(math.ceil(about), math.ceil(needed / math.log1p(target)))


def rows_to_certify(target: float, confidence: float = 0.95, expected: float = 0.0) -> int:
    """Fewest calibration rows that certify an error of at most `target`.

    Args:
        target: Greatest tolerated fraction of errors, in (0, 1).
        confidence: Of the one-sided exact bound.
        expected: True fraction of errors; as many rows are wrong as that, rounded down. A
            single draw may have more, so this is the order of magnitude, not a promise.

    Raises:
        ConfigError: a fraction is out of range; errors are expected as often as is tolerated, so
            that no number of rows would do; or more than a million rows are needed.
    """
    check_between("target", target, 0.0, 1.0)
    check_confidence(confidence)
    if not 0 <= expected < target:
        raise ConfigError(
            f"expected={expected} is not in [0, {target}): no number of rows certifies a target "
            "that is reached already. Give a larger target."
        )
    about = float(ndtri(confidence)) ** 2 * target * (1 - target) / (target - expected) ** 2
    if about > _MAX_ROWS:
        raise ConfigError(
            f"expected={expected} is so close to target={target} that over {_MAX_ROWS:,} rows are "
            "needed. Give a larger target."
        )
    first = 0
    while True:
        # Few errors mostly do, so the first look is at none alone.
        errors_E = np.arange(first, min(8 * first + 1, first + _CHUNK))
        rows_E = _rows_for_errors(errors_E, target, confidence)
        # So many rows as have this many errors, where that is more than what certifies them.
        if expected > 0:
            so_many_E = np.minimum(errors_E / expected, 2.0 * _MAX_ROWS)
            rows_E = np.maximum(rows_E, np.ceil(so_many_E - 1e-9).astype(np.int64))
        is_enough_E = np.floor(rows_E * expected + 1e-9) <= errors_E
        if is_enough_E.any():
            return int(rows_E[np.argmax(is_enough_E)])
        first = int(errors_E[-1]) + 1


def _rows_for_errors(errors_E: Integers, target: float, confidence: float) -> Integers:
    """Fewest rows for which each number of errors has its upper bound at or below the target."""
    low_E = errors_E.copy()  # too few: all rows wrong
    high_E = np.maximum(2 * errors_E, 16)
    while (short_E := _tail(errors_E, high_E, target) > 1 - confidence).any():
        high_E = np.where(short_E, 2 * high_E, high_E)
    while (high_E - low_E > 1).any():
        middle_E = (low_E + high_E) // 2
        is_short_E = _tail(errors_E, middle_E, target) > 1 - confidence
        low_E = np.where(is_short_E, middle_E, low_E)
        high_E = np.where(is_short_E, high_E, middle_E)
    return high_E


def _tail(errors_E: Integers, rows_E: Integers, target: float) -> Floats:
    """Chance of at most so many errors in so many rows at the target; 1 without other rows."""
    others_E = rows_E - errors_E
    tail_E = betainc(np.maximum(others_E, 1), errors_E + 1, 1 - target)
    return np.where(others_E > 0, tail_E, 1.0)
