"""Fractions of independent items, with exact and score intervals."""

import math

from scipy.special import betaincinv, ndtri

from stillhouse.errors import DataError
from stillhouse.statistics._interval import Interval, check_confidence


def fraction_interval(successes: int, total: int, *, confidence: float = 0.95) -> Interval:
    """The fraction `successes / total` with its Clopper-Pearson interval.

    It covers at least `confidence` at every true fraction, also where nothing or everything
    succeeded; there a bootstrap would claim certainty. The items must be independent: one for
    each cluster.

    Raises:
        DataError: there are no items, or more successes than items.
        ConfigError: `confidence` is out of range.
    """
    check_confidence(confidence)
    tail = (1 - confidence) / 2
    low = fraction_lower_bound(successes, total, confidence=1 - tail)
    high = fraction_upper_bound(successes, total, confidence=1 - tail)
    return Interval(successes / total, low, high, n=total, num_clusters=total)


def wilson_interval(successes: int, total: int, *, confidence: float = 0.95) -> Interval:
    """The fraction `successes / total` with its Wilson score interval.

    It covers `confidence` on average over true fractions, so it is shorter than the exact one but
    may fall short of it at a given one (about 84 % at worst, near 0 and 1). For figures that
    describe; what is promised needs `fraction_interval` or a bound.

    Source: Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference";
    Newcombe 1998, Statistics in Medicine 17:857, method 3.

    Raises:
        DataError, ConfigError: as in `fraction_interval`.
    """
    _check(successes, total)
    check_confidence(confidence)
    z = float(ndtri(1 - (1 - confidence) / 2))
    fraction = successes / total
    middle = (fraction + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z * math.sqrt(fraction * (1 - fraction) / total + z**2 / (4 * total**2))
    half /= 1 + z**2 / total
    # The ends are 0 and 1 there by algebra, and a rounding error off by arithmetic.
    low = middle - half if successes else 0.0
    high = middle + half if successes < total else 1.0
    return Interval(fraction, low, high, n=total, num_clusters=total)


def fraction_upper_bound(successes: int, total: int, *, confidence: float = 0.95) -> float:
    """One-sided exact bound: the true fraction is at most this, in `confidence` of all cases.

    Source: Clopper & Pearson 1934, "The Use of Confidence or Fiducial Limits Illustrated in the
    Case of the Binomial".

    Raises:
        DataError, ConfigError: as in `fraction_interval`.
    """
    _check(successes, total)
    check_confidence(confidence)
    failures = total - successes
    return float(betaincinv(successes + 1, failures, confidence)) if failures else 1.0


def fraction_lower_bound(successes: int, total: int, *, confidence: float = 0.95) -> float:
    """One-sided exact bound: the true fraction is at least this, in `confidence` of all cases.

    Raises:
        DataError, ConfigError: as in `fraction_interval`.
    """
    _check(successes, total)
    check_confidence(confidence)
    failures = total - successes
    return float(betaincinv(successes, failures + 1, 1 - confidence)) if successes else 0.0


def _check(successes: int, total: int) -> None:
    if not 0 <= successes <= total or total == 0:
        raise DataError(
            f"{successes} of {total} is no fraction. Give at least one item, and no more successes "
            "than items."
        )
