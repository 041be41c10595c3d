"""Small charts as inline SVG: lines with bands, bars, one stacked bar.

Colours are CSS classes: a `c-...` class sets `--c`, and the style sheet paints `.line`, `.band`,
`.bar` with it, so that a chart follows the page into dark mode and onto paper.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from stillhouse.pages._numbers import fixed
from stillhouse.pages._svg import drawing, element, shorten, text_width, wrap

Point = tuple[float, float]

_LINE_HEIGHT = 14.0
_TOP, _BOTTOM, _TICK_WIDTH = 28.0, 42.0, 38.0
_BAR_HEIGHT = 12.0


@dataclass(frozen=True)
class Figure:
    """One chart, drawn for a wide and for a narrow column; the style sheet shows one of them."""

    wide: Markup
    narrow: Markup
    note: str = ""


@dataclass(frozen=True)
class Series:
    """One line of a chart.

    Attributes:
        label: Written at the line's end.
        color: A `c-...` class.
        points: The line, by x.
        band: (x, low, high): an interval around it.
        faint: What the line was smoothed from.
        dots: Single measurements beside it.
        is_dashed: Whether the line is a reference rather than a result.
    """

    label: str
    color: str
    points: tuple[Point, ...]
    band: tuple[tuple[float, float, float], ...] = ()
    faint: tuple[Point, ...] = ()
    dots: tuple[Point, ...] = ()
    is_dashed: bool = False


@dataclass(frozen=True)
class Axes:
    """What the two axes of a line chart say."""

    x_label: str
    y_label: str
    is_log_y: bool = False
    num_y_ticks: int = 5
    """About so many on a linear axis."""


@dataclass(frozen=True)
class Bar:
    """One bar: `value` gives its length, `text` is what is written."""

    label: str
    color: str
    value: float
    text: str


@dataclass(frozen=True)
class Scale:
    """Maps [low, high] to pixels [start, end], linearly or by logarithm."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of `value`; values outside stop at the edge."""
        low, high, at = self.low, self.high, min(max(value, self.low), self.high)
        if self.is_log:
            low, high, at = math.log(low), math.log(high), math.log(at)
        return self.start + (at - low) / (high - low) * (self.end - self.start)


def nice_ticks(low: float, high: float, target: int = 5) -> list[float]:
    """About `target` round numbers (1, 2 or 5 times a power of ten) that enclose [low, high]."""
    if high <= low:
        low, high = low - 0.5, high + 0.5
    raw_step = (high - low) / max(target - 1, 1)
    power = 10.0 ** math.floor(math.log10(raw_step))
    step = power * next(m for m in (1, 2, 5, 10) if m * power >= raw_step * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers that enclose [low, high], evenly spread to the eye: 1, 2, 5, 10, 20, ..."""
    decades = range(math.floor(math.log10(low) - 1e-9), math.ceil(math.log10(high) + 1e-9) + 1)
    multiples = (1, 2, 5) if len(decades) <= 4 else (1,)
    ticks = [float(f"{m * 10.0**decade:.12g}") for decade in decades for m in multiples]
    first = max(index for index, tick in enumerate(ticks) if tick <= low * (1 + 1e-9))
    last = min(index for index, tick in enumerate(ticks) if tick >= high * (1 - 1e-9))
    return ticks[first : max(last, first + 1) + 1]


def line_chart(
    series: Sequence[Series], axes: Axes, *, width: float, height: float, label: str
) -> Markup:
    """Lines over x, each labelled at its end.

    Args:
        series: At least one with a point; on a log axis points <= 0 are left out.
        width: In px, as is `height`; text keeps its size, so draw once per column width.
        label: What the chart shows, for screen readers.
    """
    labels_width = min(max(text_width(one.label) for one in series), width * 0.23)
    right = width - labels_width - 10
    xs, ys = _extent(series, is_log=axes.is_log_y)
    if 0 < xs[0] < 0.05 * xs[1]:
        xs = (0.0, xs[1])  # steps count from 1, their axis from 0
    x_ticks = nice_ticks(*xs, target=6 if width > 400 else 4)
    y_ticks = (
        log_ticks(*ys) if axes.is_log_y else nice_ticks(min(ys[0], 0.0), ys[1], axes.num_y_ticks)
    )
    x_scale = Scale(xs[0], max(xs[1], xs[0] + 1), _TICK_WIDTH, right)
    y_scale = Scale(y_ticks[0], y_ticks[-1], height - _BOTTOM, _TOP, axes.is_log_y)
    # Steps and positions are counted: between two of them there is nothing to mark.
    shown = [tick for tick in x_ticks if xs[0] <= tick <= xs[1] and tick.is_integer()]
    drawn = [_draw_series(one, x_scale, y_scale) for one in series]
    return drawing(
        width,
        height,
        _y_axis(y_ticks, y_scale, right=right, label=axes.y_label),
        _x_axis(shown, x_scale, bottom=height - _BOTTOM, label=axes.x_label),
        *drawn,
        *_end_labels(series, y_scale, left=right + 8, width=labels_width + 2),
        label=label,
    )


def bar_chart(bars: Sequence[Bar], *, width: float, label: str) -> Markup:
    """Horizontal bars from zero, name and value above each."""
    row = 2 * _LINE_HEIGHT + _BAR_HEIGHT
    longest = max(bar.value for bar in bars)
    children = []
    for index, bar in enumerate(bars):
        top = index * row
        length = max(width * bar.value / longest, 1.0)
        room = width - text_width(bar.text) - 12
        children += [
            element("text", shorten(bar.label, room), x=0, y=top + 13, class_="name"),
            element("text", bar.text, x=width, y=top + 13, class_="value end"),
            element(
                "rect",
                x=0,
                y=top + 19,
                width=length,
                height=_BAR_HEIGHT,
                rx=2,
                class_=f"bar {bar.color}",
            ),
        ]
    return drawing(width, len(bars) * row - _LINE_HEIGHT + 6, *children, label=label)


def stacked_bar(bars: Sequence[Bar], *, width: float, label: str) -> Markup:
    """One bar cut into parts; a part carries its name where it has room for it."""
    gap, height = 2.0, 58.0
    total = sum(bar.value for bar in bars)
    spread = width - gap * (len(bars) - 1)
    children = []
    x = 0.0
    for bar in bars:
        part = max(spread * bar.value / total, 1.0) if total > 0 else spread / len(bars)
        title = element("title", f"{bar.label}: {bar.text}")
        children.append(
            element("rect", title, x=x, y=0, width=part, height=height, class_=f"bar {bar.color}")
        )
        lines = [*wrap(bar.label, part - 14), bar.text]
        if "".join(lines[:-1]).replace(" ", "") == bar.label.replace(" ", "") and (
            text_width(bar.text) + 14 <= part
        ):
            children += _inside_labels(lines, left=x + 8, middle=height / 2)
        x += part + gap
    return drawing(width, height, *children, label=label)


def _inside_labels(lines: Sequence[str], *, left: float, middle: float) -> list[Markup]:
    top = middle - len(lines) * 7.5 + 11
    return [
        element(
            "text", line, x=left, y=top + index * 15, class_="" if line is lines[-1] else "strong"
        )
        for index, line in enumerate(lines)
    ]


def _extent(series: Sequence[Series], *, is_log: bool) -> tuple[Point, Point]:
    points = [point for one in series for point in (*one.points, *one.dots, *one.faint)]
    points += [(x, edge) for one in series for x, low, high in one.band for edge in (low, high)]
    xs = [x for x, _ in points]
    ys = [y for _, y in points if math.isfinite(y) and (y > 0 or not is_log)]
    return (min(xs), max(xs)), (min(ys), max(ys))


def _y_axis(ticks: Sequence[float], scale: Scale, *, right: float, label: str) -> Markup:
    decimals = max(_decimals(tick) for tick in ticks)
    parts = [element("text", label, x=0, y=12, class_="axis-label")]
    for tick in ticks:
        # On a log axis 0.1 and 100 share a chart: each keeps the decimals it needs.
        text = fixed(tick, _decimals(tick) if scale.is_log else decimals)
        y = scale(tick)
        parts.append(element("line", x1=_TICK_WIDTH, x2=right, y1=y, y2=y, class_="grid"))
        parts.append(element("text", text, x=_TICK_WIDTH - 8, y=y + 4, class_="tick end"))
    return element("g", *parts)


def _x_axis(ticks: Sequence[float], scale: Scale, *, bottom: float, label: str) -> Markup:
    middle = (scale.start + scale.end) / 2
    parts = [
        element("line", x1=scale.start, x2=scale.end, y1=bottom, y2=bottom, class_="baseline"),
        element("text", label, x=middle, y=bottom + 36, class_="axis-label middle"),
    ]
    for tick in ticks:
        text = fixed(tick, 0)
        parts.append(element("text", text, x=scale(tick), y=bottom + 17, class_="tick middle"))
    return element("g", *parts)


def _decimals(value: float) -> int:
    text = f"{value:.6f}".rstrip("0")
    return len(text) - text.index(".") - 1


def _draw_series(one: Series, x: Scale, y: Scale) -> Markup:
    parts = []
    if one.band:
        upper = [(at, high) for at, _, high in one.band]
        lower = [(at, low) for at, low, _ in reversed(one.band)]
        outline = _path([*upper, *lower], x, y, clamps=True) + "Z"
        parts.append(element("path", d=outline, class_="band"))
    if one.faint:
        parts.append(element("path", d=_path(one.faint, x, y), class_="faint"))
    if one.points:
        css = "line dashed" if one.is_dashed else "line"
        parts.append(element("path", d=_path(one.points, x, y), class_=css))
    for at, value in one.dots:
        parts.append(element("circle", cx=x(at), cy=y(value), r=3.5, class_="dot"))
    return element("g", *parts, class_=one.color)


def _path(points: Sequence[Point], x: Scale, y: Scale, *, clamps: bool = False) -> str:
    """SVG path data; a value that the axis cannot show breaks the line unless it is clamped."""
    commands = []
    is_pen_down = False
    for at, value in points:
        if not clamps and (not math.isfinite(value) or (y.is_log and value <= 0)):
            is_pen_down = False
            continue
        commands.append(f"{'L' if is_pen_down else 'M'}{x(at):.1f} {y(value):.1f}")
        is_pen_down = True
    return "".join(commands)


def _end_labels(series: Sequence[Series], y: Scale, *, left: float, width: float) -> list[Markup]:
    labelled = [one for one in series if one.points]
    labelled.sort(key=lambda one: y(one.points[-1][1]))
    texts = [wrap(one.label, width) for one in labelled]
    heights = [len(lines) * _LINE_HEIGHT for lines in texts]
    wanted = [
        y(one.points[-1][1]) - height / 2 for one, height in zip(labelled, heights, strict=True)
    ]
    tops = _spread(wanted, heights, lowest=y.start + 8)
    labels = []
    for one, lines, top in zip(labelled, texts, tops, strict=True):
        rows = [
            element("text", line, x=left, y=top + 11 + index * _LINE_HEIGHT, class_="end-label")
            for index, line in enumerate(lines)
        ]
        labels.append(element("g", *rows, class_=one.color))
    return labels


def _spread(wanted: Sequence[float], heights: Sequence[float], *, lowest: float) -> list[float]:
    """Tops near `wanted` (ascending) that do not overlap and end above `lowest`."""
    tops: list[float] = []
    floor = -math.inf
    for top, height in zip(wanted, heights, strict=True):
        tops.append(max(top, floor))
        floor = tops[-1] + height
    limit = lowest
    for index in range(len(tops) - 1, -1, -1):
        tops[index] = min(tops[index], limit - heights[index])
        limit = tops[index]
    return tops
