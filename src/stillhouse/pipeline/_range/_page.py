"""A range as an HTML file and as a drawing of its own."""

from collections.abc import Iterable
from types import SimpleNamespace

from markupsafe import Markup

from stillhouse.pages import (
    MINUS,
    Tile,
    drawing,
    duration,
    element,
    page_environment,
    utc_text,
)
from stillhouse.pipeline._range._chart import Mark, RangeChart
from stillhouse.pipeline._range._results import FieldResult, RangeResults, RangeRow
from stillhouse.pipeline._range._words import is_found
from stillhouse.statistics import Interval

_DRAWN_WIDTH = 1_040.0
_HEAD = 30.0
# A drawing that stands alone has no style sheet to follow.
_STYLE = (
    "svg{background:#fcfbf8}"
    "text{fill:#1f1b17;font:12px sans-serif}.tick,.axis-label{fill:#645c53}"
    ".end{text-anchor:end}.middle{text-anchor:middle}.end-label{font-weight:650;fill:var(--c)}"
    ".head{font-size:15px;font-weight:650}"
    ".grid{stroke:#ebe7e0}.baseline{stroke:#645c53}"
    ".level{stroke:#645c53;stroke-dasharray:3 3}"
    ".leader path{fill:none;stroke:var(--c);stroke-width:1;opacity:.35}"
    ".whisker{stroke:var(--c);stroke-width:1.4;opacity:.55}"
    ".dot{fill:var(--c);stroke:#fcfbf8;stroke-width:1.2}"
    ".c-student{--c:#b0450e}.c-student-2{--c:#1d6299}.c-student-3{--c:#0a6f62}"
    ".c-student-4{--c:#7a4a9c}.c-untrained{--c:#776e65}.c-teacher{--c:#4a433c}"
)
_MEASURES = {
    "right": "right answers, greedily",
    "kl": "KL to the teacher on its own held-out answers",
}


def render_range(results: RangeResults, *, command: str) -> str:
    """The page as text, to be written as UTF-8.

    Args:
        results: What was found.
        command: What a reader types to get such results.
    """
    return (
        page_environment("stillhouse.pipeline", "_range")
        .get_template("range.html.jinja")
        .render(
            results=results,
            created=utc_text(results.created_utc),
            seconds=duration(results.seconds),
            tiles=_tiles(results),
            fields=[_field(results, field) for field in results.fields],
            level=f"{results.level:g}",
            command=command,
            environment={
                field.name: f"{field.teacher}, {field.num_held_out} held-out prompts"
                for field in results.fields
            },
        )
    )


def range_svg(results: RangeResults) -> str:
    """The plots of all fields, one below the other, as an SVG file."""
    parts, top = [], 0.0
    for field in results.fields:
        drawn = _chart(results, field).drawn(_DRAWN_WIDTH)
        height = float(str(drawn).split('height="')[1].split('"')[0])
        parts.append(element("text", field.name, x=4, y=top + 20, class_="head"))
        parts.append(element("g", drawn, transform=f"translate(0 {top + _HEAD:g})"))
        top += height + _HEAD + 10
    label = f"{results.title}: {results.verdict}"
    whole = drawing(_DRAWN_WIDTH, top, element("style", Markup(_STYLE)), *parts, label=label)
    return f"{whole}\n"


def _chart(results: RangeResults, field: FieldResult) -> RangeChart:
    marks = [_mark(number, row) for number, row in enumerate(field.rows, start=1)]
    told = "; ".join(f"{one.name} {one.quality[0]:.0%}" for one in marks)
    return RangeChart(
        marks=marks,
        level=results.level,
        defences=_in_order(row.defence for row in field.rows),
        attacks=_in_order(row.attack for one in results.fields for row in one.rows),
        label=f"{field.name}: share of the gap closed, by defence and attack: {told}",
    )


def _in_order(names: Iterable[str]) -> list[str]:
    """Each once, as rows have them: settings that were read again are in another order."""
    return list(dict.fromkeys(names))


def _mark(number: int, row: RangeRow) -> Mark:
    log10_p = row.detection.log10_p
    return Mark(
        number=number,
        name=f"{row.defence} \N{MIDDLE DOT} {row.attack}",
        defence=row.defence,
        attack=row.attack,
        quality=_ends(row.quality.gap_closed),
        evidence=None if log10_p is None else max(0.0, -log10_p),
        cost=_ends(row.cost.share),
    )


def _ends(one: Interval) -> tuple[float, float, float]:
    return one.value, one.low, one.high


def _tiles(results: RangeResults) -> list[Tile]:
    rows = [row for field in results.fields for row in field.rows]
    tested = [row for row in rows if row.detection.log10_p is not None]
    found = [row for row in tested if is_found(row.detection, results.level)]
    students = len({row.student_sha256 for row in rows})
    tiles = [
        Tile("Pairs", str(len(rows)), (f"{students} different students",)),
        Tile(
            "Copies found", f"{len(found)} of {len(tested)}", (f"at p {results.level:g} or less",)
        ),
    ]
    controls = [one for field in results.fields for one in field.controls]
    if controls:
        smallest = min(one.trace.log10_p for one in controls)
        tiles.append(
            Tile(
                "Innocent models",
                f"log10 p {_signed(smallest)}",
                ("smallest of the controls", f"{len(controls)} tested"),
            )
        )
    costly = max(rows, key=lambda row: row.cost.share.value)
    tiles.append(
        Tile(
            "Dearest defence",
            f"{costly.cost.share.value:.1%}",
            (f"{costly.defence} ({costly.field})", "of honest requests worse off"),
        )
    )
    return tiles


def _field(results: RangeResults, field: FieldResult) -> SimpleNamespace:
    base = f"base {field.base_kl_nats.value:.2f} nats/token"
    if field.base_right is not None and field.teacher_right is not None:
        base += (
            f"; right: base {field.base_right.value:.0%}, teacher {field.teacher_right.value:.0%}"
        )
    return SimpleNamespace(
        name=field.name,
        figure=_chart(results, field).figure(),
        measure=_MEASURES[field.measure],
        base=base,
        has_right=field.base_right is not None,
        rows=[_row(number, row, results.level) for number, row in enumerate(field.rows, start=1)],
        controls=[
            SimpleNamespace(
                defence=one.defence,
                attack=one.attack,
                log10_p=_signed(one.trace.log10_p),
                z=_signed(one.trace.z),
                contexts=f"{one.trace.contexts:,}",
            )
            for one in field.controls
        ],
    )


def _row(number: int, row: RangeRow, level: float) -> SimpleNamespace:
    quality, detection, cost = row.quality, row.detection, row.cost
    trace = detection.trace
    return SimpleNamespace(
        number=number,
        defence=row.defence,
        attack=row.attack,
        lessons=f"{row.num_lessons:,}",
        learns=row.learns + (" (log-probabilities hidden)" if row.is_fallback else ""),
        flagged=row.num_flagged,
        gap=_interval(quality.gap_closed, 100, 1, " %"),
        kl=_interval(quality.kl_nats, 1, 2, ""),
        right="" if quality.right is None else _interval(quality.right, 100, 0, " %"),
        log10_p="" if detection.log10_p is None else _signed(detection.log10_p),
        reason=detection.reason,
        test=detection.test,
        is_found=is_found(detection, level),
        effect="" if trace is None or trace.effect is None else f"{trace.effect:.2f}",
        lesson="" if detection.lesson_log10_p is None else _signed(detection.lesson_log10_p),
        share=_interval(cost.share, 100, 1, " %"),
        refused=_part(cost.refused),
        logprobs=_part(cost.lost_logprobs),
        reasoning=_part(cost.lost_reasoning),
        worse=_part(cost.worse),
        nll="" if cost.nll_nats is None else _interval(cost.nll_nats, 1, 2, ""),
        time="" if cost.time_ratio is None else f"{cost.time_ratio:.2f}",
    )


def _part(one: Interval | None) -> str:
    return "" if one is None else _interval(one, 100, 1, " %")


def _interval(one: Interval, scale: float, decimals: int, unit: str) -> str:
    value, low, high = (
        f"{scale * number:.{decimals}f}".replace("-", MINUS)
        for number in (one.value, one.low, one.high)
    )
    return f"{value}{unit} [{low}, {high}]".replace(" %", "\N{NO-BREAK SPACE}%")


def _signed(value: float) -> str:
    return f"{value:.1f}".replace("-", MINUS) if abs(value) >= 0.05 else "0.0"
