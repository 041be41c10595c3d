"""One verdict from one interval of the difference of two systems, `a` minus `b`."""

import math
from dataclasses import dataclass
from typing import Literal

from stillhouse.errors import DataError
from stillhouse.statistics._interval import Interval, check_margin

Verdict = Literal["better", "non_inferior", "inconclusive", "worse"]


@dataclass(frozen=True)
class PairedComparison:
    """Two systems on the same rows, with one verdict.

    Attributes:
        difference: Mean of `a` minus mean of `b`, with its interval.
        margin: Tolerated loss, in the unit of the scores.
        verdict: By `verdict_of` the interval.
        p_non_inferior: One-sided, against "`a` is worse by the margin or more". Below
            (1 - confidence) / 2 exactly where the interval lies above -margin.
        p_superior: One-sided, against "`a` is not better". Matches the interval likewise.
        p_different: Two-sided, against "no difference"; for 0/1 scores of independent rows the
            exact McNemar test, which asks for more than the interval where few rows differ.
        n_needed: Where the verdict is inconclusive: rows, in clusters like these, that show
            non-inferiority at 80 % power if difference and spread are as observed. None where
            there is a verdict, and where the estimate itself is at or beyond the margin, so that
            no number would do.
        discordance: Fraction of rows on which one is right and the other is not; None for graded
            scores.
        confidence: Of the two-sided interval. At 0.95 a system that is worse by the margin passes
            in about 2.5 % of all cases.
    """

    difference: Interval
    margin: float
    verdict: Verdict
    p_non_inferior: float
    p_superior: float
    p_different: float
    n_needed: int | None
    discordance: float | None
    confidence: float = 0.95

    def sentence(
        self, a: str = "a", b: str = "b", *, unit: str = "points", scale: float = 100.0
    ) -> str:
        """The verdict in words, with the difference, its interval and n.

        Args:
            a: Name of the first system.
            b: Name of the second.
            unit: What a difference is counted in.
            scale: Units in one unit of score: a fraction of 1 is 100 points.
        """
        shown = self.difference
        clusters = f" in {shown.num_clusters:,} clusters" if shown.num_clusters < shown.n else ""
        figures = (
            f"{scale * shown.value:+.1f} {unit}, {100 * self.confidence:g} % interval "
            f"{scale * shown.low:+.1f} to {scale * shown.high:+.1f}, n = {shown.n:,}{clusters}"
        )
        margin = f"{scale * self.margin:g} {unit}"
        if self.verdict == "better":
            return f"{a} is better than {b} ({figures})."
        if self.verdict == "worse":
            return f"{a} is worse than {b} ({figures}); the margin is {margin}."
        if self.verdict == "non_inferior":
            real = ", though below it by less than that" if shown.high < 0 else ""
            return f"{a} is not inferior to {b} within {margin}{real} ({figures})."
        if self.n_needed is None:
            then = "The estimate itself is beyond that, so more rows would not show it."
        else:
            then = f"n = {self.n_needed:,} would settle it if all else stays as observed."
        return f"It is open whether {a} is within {margin} of {b} ({figures}). {then}"


def verdict_of(difference: Interval, margin: float) -> Verdict:
    """The one verdict that an interval of `a` minus `b` gives.

    In this order: "better" where it lies above 0; "non_inferior" where it lies above -margin;
    "worse" where it lies below 0; else "inconclusive". An interval below 0 but above -margin is
    non-inferior: the loss is real, and smaller than what was said to be tolerable.

    Raises:
        ConfigError: the margin is negative or not finite.
        DataError: an end of the interval is not a number.
    """
    check_margin(margin)
    if math.isnan(difference.low) or math.isnan(difference.high):
        raise DataError("The difference has no interval, so there is no verdict. Measure it first.")
    if difference.low > 0:
        return "better"
    if difference.low > -margin:
        return "non_inferior"
    return "worse" if difference.high < 0 else "inconclusive"
