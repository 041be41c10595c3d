"""What teacher and student cost over so many requests, and where they meet."""

from stillhouse.economics import cost_figure
from stillhouse.evaluate._task._report._words import dollars
from stillhouse.evaluate._task._results import TaskResults
from stillhouse.pages import Figure, significant

_PER_THOUSAND = 1_000


def break_even_figure(results: TaskResults) -> Figure | None:
    """The two costs over requests; None where a price is unknown or they never meet."""
    even = results.break_even.get(results.student.name)
    if even is None or not even.requests:
        return None
    return cost_figure(
        even.fixed_usd,
        even.teacher_usd_per_1000 / _PER_THOUSAND,
        even.student_usd_per_1000 / _PER_THOUSAND,
        even.requests,
        name=results.student.name,
    )


def break_even_words(results: TaskResults) -> str:
    """When the recommended student has paid for itself, with what that rests on."""
    even = results.break_even.get(results.student.name)
    if even is None:
        return "Not known, as the teacher's price or the student's speed is not."
    spent = f"{dollars(even.fixed_usd)} were spent before the first request"
    rates = (
        f"1,000 answers cost {dollars(even.teacher_usd_per_1000)} of the teacher and "
        f"{dollars(even.student_usd_per_1000)} of the student"
    )
    if even.requests is None:
        return f"Never: {rates}, and {spent}."
    low = "?" if even.requests_low is None else significant(even.requests_low)
    high = "never" if even.requests_high is None else significant(even.requests_high)
    return (
        f"After {significant(even.requests)} requests [{low} to {high}, from the intervals of both "
        f"costs]: {spent}; {rates}."
    )
