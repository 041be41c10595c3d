"""Calibration, risk by coverage, the learning curve, and how scores spread."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from stillhouse.evaluate._task._records import SystemResult
from stillhouse.evaluate._task._report._scatter import Mark, Plot, scatter
from stillhouse.evaluate._task._results import TaskResults
from stillhouse.pages import Axes, Figure, Series, drawing, element, fixed, line_chart, nice_ticks

_WIDE_PX, _NARROW_PX, _PAGE_PX = 500.0, 340.0, 1040.0
_MAX_STUDENTS = 4  # lines that can be told apart


def reliability_figure(results: TaskResults, colors: Mapping[str, str]) -> Figure | None:
    """How often answers of a confidence are the teacher's; a band for the recommended student."""
    series = [
        Series(
            label=one.name,
            color=colors[one.name],
            points=tuple(
                (100 * b.confidence, 100 * b.agreement.value) for b in one.calibration.bins
            ),
            band=tuple(
                (100 * b.confidence, 100 * b.agreement.low, 100 * b.agreement.high)
                for b in one.calibration.bins
            )
            if one == results.student
            else (),
        )
        for one in _with_calibration(results)
        if one.calibration is not None
    ]
    if not series:
        return None
    if results.task.kind == "text":  # the probability of tokens is none of being right
        axes = Axes("mean probability of its tokens, %", "score against the teacher, %")
        return _lines(series, axes, "Score by the mean probability of the tokens")
    ideal = Series("ideal", "c-untrained", ((0.0, 0.0), (100.0, 100.0)), is_dashed=True)
    axes = Axes("confidence, %", "like the teacher, %", num_y_ticks=6)
    return _lines([*series, ideal], axes, "Agreement by stated confidence")


def risk_figure(results: TaskResults, colors: Mapping[str, str]) -> Figure | None:
    """Errors that are left when only the surest answers are given."""
    series = [
        Series(
            label=one.name,
            color=colors[one.name],
            points=tuple(
                (100 * p.coverage, 100 * p.risk.value) for p in one.calibration.risk_coverage
            ),
            band=tuple(
                (100 * p.coverage, 100 * p.risk.low, 100 * p.risk.high)
                for p in one.calibration.risk_coverage
            )
            if one == results.student
            else (),
        )
        for one in _with_calibration(results)
        if one.calibration is not None and len(one.calibration.risk_coverage) > 1
    ]
    if not series:
        return None
    axes = Axes("messages answered, the surest first, %", "unlike the teacher, %")
    return _lines(series, axes, "Errors by the share of messages that are answered")


def learning_figure(results: TaskResults) -> Figure | None:
    """Agreement by the number of the teacher's answers that a student learnt from."""
    points = sorted(results.learning_curve, key=lambda point: point.num_answers)
    if not points:
        return None
    marks = tuple(
        Mark(
            label="predicted" if point.is_predicted else "",
            color="c-untrained" if point.is_predicted else "c-student",
            x=point.num_answers,
            y=100 * point.agreement.value,
            low=100 * point.agreement.low,
            high=100 * point.agreement.high,
            is_hollow=point.is_predicted,
            title=f"{point.num_answers:,} answers: {100 * point.agreement.value:.1f} %",
        )
        for point in points
    )
    plot = Plot(
        marks=marks,
        x_label="answers of the teacher, log scale",
        y_label="like the teacher, %",
        x_text=lambda value: fixed(value, 0),
        line=tuple((mark.x, mark.y) for mark in marks),
    )
    label = "Agreement by answers learnt from: " + "; ".join(mark.title for mark in marks)
    return Figure(
        wide=scatter(plot, width=_PAGE_PX, height=320, label=label),
        narrow=scatter(plot, width=_NARROW_PX, height=280, label=label),
    )


def score_figure(student: SystemResult) -> Figure | None:
    """How many messages have which score against the teacher."""
    if student.text is None or not sum(student.text.score_counts):
        return None
    counts = student.text.score_counts
    return Figure(
        wide=_histogram(counts, width=_WIDE_PX, height=280),
        narrow=_histogram(counts, width=_NARROW_PX, height=240),
    )


def _histogram(counts: Sequence[int], *, width: float, height: float) -> Markup:
    left, top, bottom = 40.0, 28.0, height - 42.0
    ticks = nice_ticks(0, max(counts))
    step = (width - left - 8) / len(counts)

    def at(count: float) -> float:
        return bottom - (bottom - top) * count / ticks[-1]

    parts = [element("text", "messages", x=0, y=12, class_="axis-label")]
    for tick in ticks:
        y = at(tick)
        parts.append(element("line", x1=left, x2=width - 8, y1=y, y2=y, class_="grid"))
        parts.append(element("text", fixed(tick, 0), x=left - 8, y=y + 4, class_="tick end"))
    for place, count in enumerate(counts):
        x = left + place * step
        title = element("title", f"{place / 10:g} to {(place + 1) / 10:g}: {count:,}")
        parts.append(
            element(
                "rect",
                title,
                x=x + 1,
                y=at(count),
                width=step - 2,
                height=bottom - at(count),
                class_="bar c-student",
            )
        )
    for place in range(0, len(counts) + 1, 2):
        css = "tick end" if place == len(counts) else "tick middle"
        x = left + place * step
        parts.append(element("text", f"{place / 10:g}", x=x, y=bottom + 17, class_=css))
    parts.append(
        element(
            "text",
            "score against the teacher",
            x=(left + width) / 2,
            y=bottom + 36,
            class_="axis-label middle",
        )
    )
    label = "Messages by score: " + ", ".join(f"{count:,}" for count in counts)
    return drawing(width, height, *parts, label=label)


def _with_calibration(results: TaskResults) -> list[SystemResult]:
    found = [one for one in results.students if one.calibration is not None]
    found.sort(key=lambda one: one != results.student)
    return found[:_MAX_STUDENTS]


def _lines(series: Sequence[Series], axes: Axes, label: str) -> Figure:
    return Figure(
        wide=line_chart(series, axes, width=_WIDE_PX, height=320, label=label),
        narrow=line_chart(series, axes, width=_NARROW_PX, height=280, label=label),
    )
