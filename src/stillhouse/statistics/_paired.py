"""Two systems that are right or wrong on the same independent rows: `a` minus `b`.

Letters: N rows.
"""

import math
from dataclasses import dataclass

import numpy.typing as npt
from scipy.special import bdtr, ndtr, ndtri

from stillhouse.errors import DataError
from stillhouse.statistics._fractions import wilson_interval
from stillhouse.statistics._interval import (
    Interval,
    binary_scores,
    check_confidence,
    check_fraction_margin,
    same_length,
)

_HALVINGS = 100  # of an interval of 2: to the last bit


@dataclass(frozen=True)
class PairedCounts:
    """How often two systems were right on the same independent rows.

    Attributes:
        both: Rows on which both were right.
        only_a: Rows on which only `a` was.
        only_b: Rows on which only `b` was.
        neither: Rows on which none was.
    """

    both: int
    only_a: int
    only_b: int
    neither: int

    def __post_init__(self) -> None:
        """Refuse what are no counts of at least one row."""
        counts = (self.both, self.only_a, self.only_b, self.neither)
        if min(counts) < 0 or sum(counts) == 0:
            raise DataError(
                f"{counts} are no counts of rows. Give at least one row, none negative."
            )

    @property
    def n(self) -> int:
        """All rows."""
        return self.both + self.only_a + self.only_b + self.neither

    @property
    def difference(self) -> float:
        """Fraction that `a` has right minus that of `b`."""
        return (self.only_a - self.only_b) / self.n

    @property
    def discordance(self) -> float:
        """Fraction of rows on which one is right and the other is not."""
        return (self.only_a + self.only_b) / self.n


def paired_counts(a_N: npt.ArrayLike, b_N: npt.ArrayLike) -> PairedCounts:
    """Counts of 0/1 scores.

    Raises:
        ShapeError: the two differ in length.
        DataError: there is no row, or a score is neither 0 nor 1.
    """
    a, b = binary_scores("scores of a", a_N), binary_scores("scores of b", b_N)
    same_length("scores of a and b", a, b)
    right_a, right_b = a == 1, b == 1
    return PairedCounts(
        both=int((right_a & right_b).sum()),
        only_a=int((right_a & ~right_b).sum()),
        only_b=int((~right_a & right_b).sum()),
        neither=int((~right_a & ~right_b).sum()),
    )


def mcnemar_exact(counts: PairedCounts, *, is_mid_p: bool = False) -> float:
    """Two-sided p-value against "both are right equally often": an exact sign test.

    Args:
        is_mid_p: Count the observed table half. Closer to the nominal level, but no longer
            bounded by it.

    Source: McNemar 1947, "Note on the sampling error of the difference between correlated
    proportions or percentages"; mid-p: Fagerland, Lydersen & Laake 2013,
    doi:10.1186/1471-2288-13-91.
    """
    discordant = counts.only_a + counts.only_b
    fewer = min(counts.only_a, counts.only_b)
    tail = 2 * float(bdtr(fewer, discordant, 0.5))
    if is_mid_p:
        tail -= float(math.comb(discordant, fewer) / 2**discordant)
    return min(1.0, tail)


def newcombe_interval(counts: PairedCounts, *, confidence: float = 0.95) -> Interval:
    """Difference of paired fractions with Newcombe's hybrid score interval.

    It combines the Wilson intervals of the two fractions with their correlation. Closed form;
    `tango_interval` covers closer to `confidence` and is what verdicts use.

    Source: Newcombe 1998, "Improved confidence intervals for the difference between binomial
    proportions based on paired data", Statistics in Medicine 17:2635, method 10.

    Raises:
        ConfigError: `confidence` is out of range.
    """
    n = counts.n
    a = wilson_interval(counts.both + counts.only_a, n, confidence=confidence)
    b = wilson_interval(counts.both + counts.only_b, n, confidence=confidence)
    margins = a.value * (1 - a.value) * b.value * (1 - b.value) * n**4
    excess = float(counts.both * counts.neither - counts.only_a * counts.only_b)
    if excess > 0:
        excess = max(excess - n / 2, 0.0)
    phi = excess / math.sqrt(margins) if margins > 0 else 0.0
    down_a, up_a = a.value - a.low, a.high - a.value
    down_b, up_b = b.value - b.low, b.high - b.value
    below = math.sqrt(down_a**2 - 2 * phi * down_a * up_b + up_b**2)
    above = math.sqrt(down_b**2 - 2 * phi * down_b * up_a + up_a**2)
    value = counts.difference
    return Interval(value, value - below, value + above, n=n, num_clusters=n)


def tango_interval(counts: PairedCounts, *, confidence: float = 0.95) -> Interval:
    """Difference of paired fractions with Tango's score interval.

    All differences that the score test, at the most likely table with that difference, does not
    reject. It stays inside [-1, 1], has a width also where the two never differed, and its lower
    end is above -margin exactly where `binary_non_inferiority_test` is below
    (1 - confidence) / 2.

    Source: Tango 1998, "Equivalence test and confidence interval for the difference in
    proportions for the paired-sample design", Statistics in Medicine 17:891.

    Raises:
        ConfigError: `confidence` is out of range.
    """
    check_confidence(confidence)
    z = float(ndtri(1 - (1 - confidence) / 2))
    value = counts.difference
    low = _crossing(counts, z, -1.0, value)
    high = _crossing(counts, -z, value, 1.0)
    return Interval(value, low, high, n=counts.n, num_clusters=counts.n)


def binary_non_inferiority_test(counts: PairedCounts, *, margin: float) -> float:
    """One-sided p-value against "`a` is worse than `b` by the margin or more", by Tango's score.

    With a margin of 0 it is the one-sided McNemar test without correction.

    Args:
        margin: Tolerated loss as a fraction, in [0, 1).

    Raises:
        ConfigError: the margin is out of range.
    """
    check_fraction_margin(margin)
    return float(ndtr(-_score(counts, -margin)))


def binary_equivalence_test(counts: PairedCounts, *, margin: float) -> float:
    """P-value against "the two differ by the margin or more": two one-sided score tests.

    Raises:
        ConfigError: the margin is out of range.
    """
    check_fraction_margin(margin)
    not_below, not_above = ndtr(-_score(counts, -margin)), ndtr(_score(counts, margin))
    return float(max(not_below, not_above))


def _score(counts: PairedCounts, shift: float) -> float:
    """Tango's statistic for a true difference of `shift`; it falls with the shift."""
    n, b, c = counts.n, counts.only_a, counts.only_b
    linear = -(b + c) + (2 * n - b + c) * shift
    constant = -c * shift * (1 - shift)
    root = math.sqrt(max(0.0, linear**2 - 8 * n * constant))
    # The larger root of 2n q^2 + linear q + constant; either form, whichever adds like signs.
    only_b = (root - linear) / (4 * n) if linear <= 0 else -2 * constant / (root + linear)
    excess = b - c - n * shift
    variance = n * (2 * only_b + shift * (1 - shift))
    if variance <= 0 or excess == 0:
        return math.copysign(math.inf, excess) if excess else 0.0
    return excess / math.sqrt(variance)


def _crossing(counts: PairedCounts, score: float, low: float, high: float) -> float:
    """The shift in [low, high] at which the falling statistic passes `score`."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _score(counts, middle) > score:
            low = middle
        else:
            high = middle
    return (low + high) / 2
