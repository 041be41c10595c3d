"""How many rows a comparison of two systems needs, and what given rows can show.

All of it takes the variance of a row's difference at its largest, the discordance: the fraction
of rows on which two 0/1 scores differ or, for graded scores, the mean squared difference. So the
answers are a little careful: power is at least what is said. With clusters, multiply the
discordance by the design effect.
"""

import math

from scipy.special import ndtr, ndtri

from stillhouse.errors import ConfigError, DataError
from stillhouse.statistics._interval import (
    check_between,
    check_confidence,
    check_fraction_margin,
)


def paired_power(
    n: int, discordance: float, difference: float, *, confidence: float = 0.95
) -> float:
    """Chance that the two-sided McNemar test on `n` rows sees a true difference.

    Source: Miller 2024, "Adding Error Bars to Evals", arXiv:2411.00640; Connor 1987,
    "Sample size for testing differences in proportions for the paired-sample design".

    Args:
        n: Independent rows, at least 1.
        discordance: Fraction of rows on which the two differ, in (0, 1].
        difference: True difference, at most the discordance.

    Raises:
        DataError: there is no row.
        ConfigError: a fraction is out of range, or the difference exceeds the discordance.
    """
    _check_rows(n)
    _check_discordance(discordance)
    check_confidence(confidence)
    if not abs(difference) <= discordance:
        raise ConfigError(
            f"difference={difference} is not possible at discordance={discordance}, which it "
            "cannot exceed. Give a smaller difference or a larger discordance."
        )
    shift = abs(difference) * math.sqrt(n / discordance)
    z = float(ndtri(1 - (1 - confidence) / 2))
    return float(ndtr(shift - z) + ndtr(-shift - z))


def detectable_difference(
    n: int, discordance: float, *, confidence: float = 0.95, power: float = 0.8
) -> float:
    """The smallest true difference that `n` rows see with the given power, by a two-sided test.

    Where that would exceed the discordance, the systems must differ on more rows than was
    assumed, and the smallest difference consistent with itself is given.

    Raises:
        DataError: there is no row, or so few that they see no difference whatever its size.
        ConfigError: a fraction is out of range.
    """
    _check_rows(n)
    _check_discordance(discordance)
    reach = _reach((1 - confidence) / 2, power)
    difference = max(reach * math.sqrt(discordance / n), 0.0)
    if difference > discordance:
        difference = reach**2 / n
    if difference > 1:
        raise DataError(
            f"n={n} rows show no difference whatever its size at {power:.0%} power. "
            f"Measure at least {math.ceil(reach**2):,} rows."
        )
    return difference


def rows_for_difference(
    difference: float, discordance: float, *, confidence: float = 0.95, power: float = 0.8
) -> int:
    """Rows with which a two-sided test sees a true difference with the given power.

    Raises:
        ConfigError: a fraction is out of range, or the difference is 0 or exceeds the discordance.
    """
    _check_discordance(discordance)
    if not 0 < abs(difference) <= discordance:
        raise ConfigError(
            f"difference={difference} is 0 or exceeds discordance={discordance}. Give one between."
        )
    return rows_for_gap(
        abs(difference), discordance, discordance, error=(1 - confidence) / 2, power=power
    )


def rows_for_non_inferiority(
    margin: float,
    discordance: float,
    difference: float = 0.0,
    *,
    error: float = 0.05,
    power: float = 0.8,
) -> int:
    """Rows with which a non-inferiority test succeeds with the given power.

    Source: Tango 1998, Statistics in Medicine 17:891; the two variances as Nam 1997,
    "Establishing equivalence of two treatments and sample size requirements in matched-pairs
    design".

    Args:
        margin: Tolerated loss as a fraction, in (0, 1).
        discordance: Fraction of rows on which the two differ, in [0, 1].
        difference: True difference, above -margin.
        error: One-sided: how often a system that is worse by the margin may pass. A two-sided 95 %
            interval, as verdicts use, has 0.025.

    Raises:
        ConfigError: a fraction is out of range, or the true difference lies beyond the margin,
            where no number of rows would do.
    """
    check_fraction_margin(margin)
    if not 0 <= discordance <= 1:
        raise ConfigError(f"discordance={discordance} is not in [0, 1]. Give a fraction.")
    gap = margin + difference
    if not gap > 0:
        raise ConfigError(
            f"difference={difference} lies beyond margin={margin}: no number of rows shows "
            "non-inferiority. Give a larger margin."
        )
    # Systems that differ by the margin differ on at least that fraction of rows.
    at_margin = max(discordance, margin)
    return rows_for_gap(gap, at_margin, discordance, error=error, power=power)


def rows_for_gap(
    gap: float, variance_at_null: float, variance: float, *, error: float, power: float
) -> int:
    """Rows with which a mean that lies `gap` above what is to be ruled out rules it out.

    Raises:
        ConfigError: `error` or `power` is out of range.
    """
    check_between("error", error, 0.0, 0.5)
    check_between("power", power, 0.5, 1.0)
    spread = float(ndtri(1 - error)) * math.sqrt(variance_at_null)
    spread += float(ndtri(power)) * math.sqrt(variance)
    return max(1, math.ceil((spread / gap) ** 2 - 1e-9))


def _reach(error: float, power: float) -> float:
    check_between("error", error, 0.0, 0.5)
    check_between("power", power, 0.5, 1.0)
    return float(ndtri(1 - error) + ndtri(power))


def _check_rows(n: int) -> None:
    if n < 1:
        raise DataError(f"n={n} rows have no power. Give at least one row.")


def _check_discordance(discordance: float) -> None:
    if not 0 < discordance <= 1:
        raise ConfigError(f"discordance={discordance} is not in (0, 1]. Give a fraction.")
