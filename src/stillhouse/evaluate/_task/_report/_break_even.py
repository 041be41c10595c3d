"""What teacher and student cost over so many requests, and where they meet."""

from stillhouse.evaluate._task._records import BreakEven
from stillhouse.evaluate._task._report._words import dollars
from stillhouse.evaluate._task._results import TaskResults
from stillhouse.pages import Axes, Figure, Series, line_chart, significant

_WIDE_PX, _NARROW_PX = 500.0, 340.0
_AS_FAR_AS = 2.5  # times the requests at which both have cost the same


def break_even_figure(results: TaskResults) -> Figure | None:
    """The two costs over requests; None where a price is unknown or they never meet."""
    even = results.break_even.get(results.student.name)
    if even is None or not even.requests:
        return None
    last = _AS_FAR_AS * even.requests
    series = [
        Series("teacher", "c-teacher", ((0.0, 0.0), (last, _teacher_usd(even, last)))),
        Series(
            results.student.name,
            "c-student",
            ((0.0, even.fixed_usd), (last, _student_usd(even, last))),
            dots=((float(even.requests), _student_usd(even, even.requests)),),
        ),
    ]
    axes = Axes("requests", "US dollars", num_y_ticks=6)
    label = f"Cost over requests; the student has paid for itself after {even.requests:,}"
    return Figure(
        wide=line_chart(series, axes, width=_WIDE_PX, height=300, label=label),
        narrow=line_chart(series, axes, width=_NARROW_PX, height=270, label=label),
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


def _teacher_usd(even: BreakEven, requests: float) -> float:
    return requests * even.teacher_usd_per_1000 / 1_000


def _student_usd(even: BreakEven, requests: float) -> float:
    return even.fixed_usd + requests * even.student_usd_per_1000 / 1_000
