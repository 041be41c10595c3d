"""The yield curve as an HTML file and as a drawing of its own."""

from types import SimpleNamespace

from markupsafe import Markup

from stillhouse.pages import Tile, duration, element, fixed, money, page_environment, utc_text
from stillhouse.pipeline._yield_chart import CurveChart, Measure
from stillhouse.pipeline._yield_results import YieldPoint, YieldResults
from stillhouse.pipeline._yield_words import two_digits
from stillhouse.statistics import Interval

_DRAWN_WIDTH, _DRAWN_HEIGHT = 760.0, 360.0

# A drawing that stands alone has no style sheet to follow.
_STYLE = (
    "svg{background:#fcfbf8}"
    "text{fill:#1f1b17;font:12px sans-serif}.tick,.axis-label{fill:#645c53}"
    ".end{text-anchor:end}.middle{text-anchor:middle}.end-label{font-weight:650;fill:var(--c)}"
    ".grid{stroke:#ebe7e0}.baseline{stroke:#645c53}"
    ".line{fill:none;stroke:var(--c);stroke-width:2.2}.dashed{stroke-dasharray:5 4}"
    ".band{fill:var(--c);opacity:.16}.whisker{stroke:var(--c);stroke-width:1.6}"
    "circle.dot{fill:var(--c);stroke:#fcfbf8;stroke-width:1.5}"
    ".c-student{--c:#b0450e}.c-student-2{--c:#1d6299}.c-untrained{--c:#776e65}"
)


def render_yield(results: YieldResults, *, command: str) -> str:
    """The page as text, to be written as UTF-8.

    Args:
        results: What was found.
        command: What a reader types to get the same results.
    """
    chart = curve_chart(results)
    return (
        page_environment("stillhouse.pipeline")
        .get_template("_yield.html.jinja")
        .render(
            results=results,
            created=utc_text(results.created_utc),
            seconds=duration(results.seconds),
            tiles=_tiles(results),
            curve=chart.figure(),
            note=_note(results),
            has_gold=any(point.gold is not None for point in results.points),
            rows=[_row(point) for point in results.points],
            command=command,
            environment={
                "task": results.task,
                "student": results.student,
                "SHA-256 of the dataset": results.dataset_sha256[:16],
            },
        )
    )


def yield_svg(results: YieldResults) -> str:
    """The curve as an SVG file."""
    drawn = curve_chart(results).drawn(_DRAWN_WIDTH, _DRAWN_HEIGHT)
    style = element("style", Markup(_STYLE))
    return str(drawn).replace("<title>", f"{style}<title>", 1) + "\n"


def curve_chart(results: YieldResults) -> CurveChart:
    """The measured points, the last one marked as held back, and the curve."""
    last = results.points[-1]
    seen = ", ".join(f"{one.agreement.value:.1%} with {one.calls:,.0f}" for one in results.points)
    return CurveChart(
        measured=[
            _measure(one.calls, one.agreement, is_held_back=one is last) for one in results.points
        ],
        fitted=[_measure(one.calls, one.agreement) for one in results.curve],
        target=results.target,
        x_label="calls of the teacher",
        y_label="agreement with the teacher",
        label=f"Agreement by calls: {seen}",
    )


def _tiles(results: YieldResults) -> list[Tile]:
    calls, price, check = results.calls, results.price, results.check
    wanted = f"for {results.target:.1%} agreement"
    if calls.value is None:
        needed = Tile("Calls needed", "not in sight", (wanted,))
    else:
        needed = Tile("Calls needed", f"{two_digits(calls.value):,.0f}", (wanted, _ends(results)))
    best = results.points[-1]
    tiles = [needed]
    if price.value_usd is not None:
        per_call = "" if price.usd_per_call is None else f"{money(price.usd_per_call)} a call"
        tiles.append(Tile("At logged prices", money(price.value_usd), (per_call,)))
    tiles.append(
        Tile(
            f"With {best.calls:,.0f} calls", f"{best.agreement.value:.1%}", (_text(best.agreement),)
        )
    )
    held = "held" if check.is_inside else "did not hold"
    predicted = f"{check.predicted.low:.1%} to {check.predicted.high:.1%} predicted"
    tiles.append(Tile("Held-back prediction", held, (predicted, f"{check.measured:.1%} measured")))
    ceiling = f"{results.ceiling.low:.1%} to {results.ceiling.high:.1%}"
    tiles.append(Tile("Levels off at", f"{results.ceiling.value:.1%}", (ceiling,)))
    return tiles


def _ends(results: YieldResults) -> str:
    low, high = results.calls.low, results.calls.high
    first = "?" if low is None else f"{two_digits(low):,.0f}"
    last = "no end" if high is None else f"{two_digits(high):,.0f}"
    return f"{first} to {last}"


def _row(point: YieldPoint) -> SimpleNamespace:
    return SimpleNamespace(
        calls=fixed(point.calls, 0),
        rows=fixed(point.rows, 0),
        agreement=f"{point.agreement.value:.1%} [{_text(point.agreement)}]",
        by_seed=", ".join(f"{value:.1%}" for value in point.by_seed),
        gold="" if point.gold is None else f"{point.gold.value:.1%} [{_text(point.gold)}]",
        seconds=duration(point.seconds),
    )


def _note(results: YieldResults) -> str:
    return (
        "Points with 95 % intervals. Line: the curve through all of them with its band, dashed "
        "beyond the largest budget. The largest budget (blue) was first predicted from the others: "
        f"{results.check.predicted.low:.1%} to {results.check.predicted.high:.1%}."
    )


def _measure(calls: float, agreement: Interval, *, is_held_back: bool = False) -> Measure:
    return Measure(calls, agreement.value, agreement.low, agreement.high, is_held_back)


def _text(interval: Interval) -> str:
    return f"{interval.low:.1%} to {interval.high:.1%}"
