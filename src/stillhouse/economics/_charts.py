"""The drawings of the accounts: costs over requests, what sways the outcome, royalty over risk."""

from collections.abc import Callable, Iterator, Sequence

from markupsafe import Markup

from stillhouse.economics._licensing import discount
from stillhouse.economics._records import Economics, Swing
from stillhouse.economics._words import count_text
from stillhouse.pages import (
    Axes,
    Figure,
    Scale,
    Series,
    drawing,
    element,
    line_chart,
    money,
    shorten,
    text_width,
)

_PAGE_PX, _WIDE_PX, _NARROW_PX = 1040.0, 500.0, 340.0
_WIDE_HEIGHT, _NARROW_HEIGHT = 300.0, 270.0
_AS_FAR_AS = 2.5  # times the requests at which both have cost the same
# From which amount on an axis counts in which unit, so that its numbers stay short.
_MONEY = (
    (1e10, 1e9, "billion US dollars"),
    (1e7, 1e6, "million US dollars"),
    (1e4, 1e3, "thousand US dollars"),
    (1e-2, 1.0, "US dollars"),
    (0.0, 1e-6, "millionths of a US dollar"),
)
_COUNTS = ((1e11, 1e9, "billion"), (1e8, 1e6, "million"), (1e5, 1e3, "thousand"), (0.0, 1.0, ""))
_MOST_SWINGS = 8
_LEAST_MOVE = 1.01  # times
_LINE, _BAR_HEIGHT, _BETWEEN = 15.0, 12.0, 14.0


def cost_figure(
    fixed_usd: float, teacher_usd: float, student_usd: float, requests: float, *, name: str
) -> Figure:
    """What teacher and student cost over requests, and where they meet.

    Args:
        fixed_usd: Spent on the student before the first request.
        teacher_usd: One request to the teacher alone.
        student_usd: One request where there is the student, all included.
        requests: At which both have cost the same, above 0.
        name: Of the student.
    """
    last = _AS_FAR_AS * requests
    teacher_end, student_end = last * teacher_usd, fixed_usd + last * student_usd
    money_unit, money_name = _unit(max(teacher_end, student_end, fixed_usd), _MONEY)
    count_unit, count_name = _unit(last, _COUNTS)
    end = last / count_unit
    met = (requests / count_unit, (fixed_usd + requests * student_usd) / money_unit)
    series = [
        Series("teacher", "c-teacher", ((0.0, 0.0), (end, teacher_end / money_unit))),
        Series(
            name,
            "c-student",
            ((0.0, fixed_usd / money_unit), (end, student_end / money_unit)),
            dots=(met,),
        ),
    ]
    axes = Axes(f"{count_name} requests".strip(), money_name, num_y_ticks=6)
    label = (
        f"Cost over requests; the student has paid for itself after {count_text(requests)} of them"
    )
    return _figure(series, axes, label)


def even_figure(found: Economics) -> Figure | None:
    """The same for the accounts; None where it never pays back, or something is unknown."""
    even = found.break_even
    if even is None or not even.requests or found.fixed_usd is None or found.saving_usd is None:
        return None
    if found.teacher_usd is None:
        return None
    rate = found.teacher_usd.value - found.saving_usd.value
    return cost_figure(
        found.fixed_usd.value, found.teacher_usd.value, rate, even.requests, name="with the student"
    )


def royalty_figure(found: Economics) -> Figure | None:
    """The highest royalty that sells over the chance of detection; None where nothing is known."""
    case = found.licensing
    if not case.penalty_usd:
        return None
    top = case.evasion_usd + case.penalty_usd
    unit, unit_name = _unit(top, _MONEY)
    given = {one.name: one.value for one in found.assumptions}
    worth = discount(given["discount_rate_per_year"], given["years_to_penalty"])
    start = (0.0, case.evasion_usd / unit)
    penalty = case.penalty_usd

    def line(times: float) -> tuple[tuple[float, float], tuple[float, float]]:
        return start, (100.0, (case.evasion_usd + times * penalty) / unit)

    at = 100 * case.detection_probability
    now = (at, (case.ceiling_usd or 0.0) / unit)
    later = (at, (case.discounted_usd or 0.0) / unit)
    series = [Series("due at once", "c-student-2", line(1.0), dots=(now,))]
    if worth < 1:
        series.append(Series("due later", "c-student", line(worth), dots=(later,)))
    axes = Axes("chance of detection, %", f"royalty, {unit_name}")
    label = "The highest royalty that is no dearer than evading, over the chance of detection"
    return _figure(series, axes, label)


def swing_figure(found: Economics) -> Figure | None:
    """How half and twice each input move the break-even volume; None where it has none."""
    even = found.break_even
    if even is None or not even.requests:
        return None
    swings = [one for one in found.swings if _moves(one)][:_MOST_SWINGS]
    if not swings:
        return None
    return _tornado(swings, even.requests, "Requests until it pays back", count_text)


def licence_swing_figure(found: Economics) -> Figure | None:
    """How half and twice each input move the royalty that sells; None where there is none."""
    swings = [one for one in found.licence_swings if _moves(one)]
    ceiling = found.licensing.discounted_usd
    if not ceiling or not swings:
        return None
    return _tornado(swings, ceiling, "Highest royalty that sells", money)


def _moves(swing: Swing) -> bool:
    if not swing.half or not swing.double:
        return swing.half != swing.double
    return max(swing.half, swing.double) > _LEAST_MOVE * min(swing.half, swing.double)


def _tornado(
    swings: Sequence[Swing], now: float, outcome: str, told: Callable[[float | None], str]
) -> Figure:
    """A bar for each input, from the outcome with half of it to that with twice.

    Args:
        swings: The widest first.
        now: The outcome as it is, above 0.
        outcome: What it is, for those who cannot see it.
        told: An outcome in words.
    """
    ends = [end for one in swings for end in (one.half, one.double) if end]
    low, high = min(*ends, now), max(*ends, now)
    # Room at the right for what never comes.
    far = high * (high / low) ** 0.08 if high > low else 2 * low
    label = f"{outcome}, with half and twice each input: " + "; ".join(
        f"{one.name} {told(one.half)} and {told(one.double)}" for one in swings
    )

    def drawn(width: float) -> Markup:
        scale = Scale(low, far, 1, width, is_log=True)
        # In a narrow column a name and its figures have no room on one line.
        bar_top = _LINE + 6 if width > _WIDE_PX else 2 * _LINE + 6
        row = bar_top + _BAR_HEIGHT + _BETWEEN
        children = [
            part
            for index, one in enumerate(swings)
            for part in _swing(one, index * row, bar_top, scale, now, told)
        ]
        return drawing(width, len(swings) * row, *children, label=label)

    return Figure(wide=drawn(_PAGE_PX), narrow=drawn(_NARROW_PX))


def _swing(
    swing: Swing,
    top: float,
    bar_top: float,
    scale: Scale,
    now: float,
    told: Callable[[float | None], str],
) -> Iterator[Markup]:
    width, middle, under = scale.end, scale(now), top + bar_top
    values = f"half: {told(swing.half)}, twice: {told(swing.double)}"
    is_wide = bar_top < 2 * _LINE
    room = width - text_width(values) - 12 if is_wide else width
    yield element("text", shorten(swing.name, room), x=0, y=top + 13, class_="name")
    if is_wide:
        yield element("text", values, x=width, y=top + 13, class_="value end")
    else:
        yield element("text", values, x=0, y=top + 13 + _LINE, class_="value")
    for end, color in ((swing.half, "c-student-2"), (swing.double, "c-student")):
        left, right = sorted((width if end is None else scale(end), middle))
        yield element(
            "rect",
            x=left,
            y=under,
            width=max(right - left, 0.5),
            height=_BAR_HEIGHT,
            class_=f"bar {color}{' never' if end is None else ''}",
        )
    yield element(
        "line", x1=middle, x2=middle, y1=under - 3, y2=under + _BAR_HEIGHT + 3, class_="baseline"
    )


def _unit(value: float, units: Sequence[tuple[float, float, str]]) -> tuple[float, str]:
    """The unit that suits an amount, and its name."""
    return next((unit, name) for least, unit, name in units if value >= least)


def _figure(series: Sequence[Series], axes: Axes, label: str) -> Figure:
    return Figure(
        wide=line_chart(series, axes, width=_WIDE_PX, height=_WIDE_HEIGHT, label=label),
        narrow=line_chart(series, axes, width=_NARROW_PX, height=_NARROW_HEIGHT, label=label),
    )
