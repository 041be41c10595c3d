"""What holds between two systems, in a line each."""

from dataclasses import dataclass

from stillhouse.evaluate._task._records import Family, TaskComparison
from stillhouse.evaluate._task._report._words import NBSP, VERDICTS, basis, who
from stillhouse.evaluate._task._results import TaskResults
from stillhouse.evaluate._task._verdict import needed_words, points
from stillhouse.pages import decimals_of

_PLANNED: tuple[Family, ...] = ("teacher", "confirmation", "self_agreement")
"""What of the recommended student was to be compared before anything was measured."""


@dataclass(frozen=True)
class Claim:
    """One comparison.

    Attributes:
        sentence: What holds.
        verdict: In a word.
        css: A class that colours it.
        numbers: Difference, interval, n, method and what the correction did.
    """

    sentence: str
    verdict: str
    css: str
    numbers: str


def main_claims(results: TaskResults) -> list[Claim]:
    """What holds of the recommended student, by the metric that quality is measured in."""
    student = results.student.name
    chosen = [
        one
        for one in results.comparisons
        if one.a == student
        and (one.metric == results.metric or one.family in ("confirmation", "self_agreement"))
    ]
    order: list[Family] = ["teacher", "self_agreement", "confirmation", "baselines", "students"]
    chosen.sort(key=lambda one: order.index(one.family))
    return [_claim(one, results) for one in chosen]


def other_claims(results: TaskResults) -> list[Claim]:
    """All other comparisons, in their order."""
    student = results.student.name
    others = [
        one
        for one in results.comparisons
        if not (
            one.a == student
            and (one.metric == results.metric or one.family in ("confirmation", "self_agreement"))
        )
    ]
    return [_claim(one, results) for one in others]


def _claim(one: TaskComparison, results: TaskResults) -> Claim:
    return Claim(
        sentence=_sentence(one, results),
        verdict=VERDICTS[one.verdict],
        css=one.verdict,
        numbers=_numbers(one, results),
    )


def _sentence(one: TaskComparison, results: TaskResults) -> str:
    said = _said(one, results)
    if one.verdict == "inconclusive" and one.verdict_alone == "inconclusive":
        return f"{said}; {needed_words(one)}."
    if one.verdict != one.verdict_alone:
        alone, among = VERDICTS[one.verdict_alone], _family_size(one, results)
        return f"{said}; alone it would be {alone}, which does not stand among {among} comparisons."
    return f"{said}."


def _said(one: TaskComparison, results: TaskResults) -> str:
    margin = f"{100 * one.margin:g} points"
    a, b = who(results.system(one.a)), who(results.system(one.b))
    if one.family == "self_agreement":
        return {
            "better": f"{a} gives one answer of the teacher more often than the teacher gives it "
            "again",
            "non_inferior": f"{a} gives one answer of the teacher as often as the teacher gives it "
            f"again, within {margin}",
            "inconclusive": f"It is open whether {a} gives one answer of the teacher as often as "
            f"the teacher gives it again, within {margin}",
            "worse": f"{a} gives one answer of the teacher less often than the teacher gives it "
            "again",
        }[one.verdict]
    on = "right answers" if one.metric == "gold" else "agreement with the teacher"
    said = {
        "better": f"{a} is better than {b} by {on}",
        "non_inferior": f"{a} is not inferior to {b} by {on}, within {margin}",
        "inconclusive": f"It is open whether {a} is within {margin} of {b} by {on}",
        "worse": f"{a} is worse than {b} by {on}",
    }[one.verdict]
    return f"Confirming the choice: {said}" if one.family == "confirmation" else said


def _family_size(one: TaskComparison, results: TaskResults) -> int:
    if one.a == results.student.name and one.family in _PLANNED:
        return 1
    return sum(
        (other.family, other.metric) == (one.family, one.metric) for other in results.comparisons
    )


def _numbers(one: TaskComparison, results: TaskResults) -> str:
    shown = one.difference
    decimals = max(decimals_of(shown, 100.0), 1)
    low, high = points(shown.low, decimals), points(shown.high, decimals)
    p, against = {
        "better": (one.p_superior_holm, "no better"),
        "non_inferior": (one.p_non_inferior_holm, "worse by the margin"),
        "inconclusive": (one.p_non_inferior_holm, "worse by the margin"),
        "worse": (one.p_different_holm, "no difference"),
    }[one.verdict]
    p_words = f"p{NBSP}<{NBSP}0.001" if p < 0.001 else f"p{NBSP}={NBSP}{p:.3f}"
    number = _family_size(one, results)
    how = f"corrected for {number}" if number > 1 else "not corrected"
    if one.a == results.student.name and one.family in _PLANNED:
        how = "planned"
    return (
        f"difference {points(shown.value, decimals)} points [{low} to {high}], "
        f'{basis(shown)}; {p_words} against "{against}", {how}'
    )
