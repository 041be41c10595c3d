"""Points with whiskers over one quantity: systems against each other, or a learning curve."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from stillhouse.pages import (
    Point,
    Scale,
    drawing,
    element,
    log_ticks,
    nice_ticks,
    shorten,
    text_width,
)

_TOP, _BOTTOM, _LEFT, _RIGHT = 30.0, 44.0, 40.0, 14.0
_DOT, _CAP = 4.5, 3.5
_LABEL_HEIGHT = 14.0
_MAX_LABEL_PX = 130.0

_Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


@dataclass(frozen=True)
class Mark:
    """One point.

    Attributes:
        label: Written beside it; empty where nothing is.
        color: A `c-...` class.
        x: On a logarithmic axis, so above 0.
        y: In the unit of the axis.
        low: Lower end of its interval.
        high: Upper end.
        is_hollow: Whether it is there to compare with.
        title: What a reader sees who points at it.
    """

    label: str
    color: str
    x: float
    y: float
    low: float
    high: float
    is_hollow: bool = False
    title: str = ""


@dataclass(frozen=True)
class Plot:
    """What is drawn.

    Attributes:
        marks: At least one.
        x_label: Of the logarithmic axis.
        y_label: Of the other, which need not begin at zero.
        x_text: Writes a tick.
        line: Points that belong together, from left to right.
        level: A height to compare with, and its name.
    """

    marks: tuple[Mark, ...]
    x_label: str
    y_label: str
    x_text: Callable[[float], str]
    line: tuple[Point, ...] = ()
    level: tuple[float, str] | None = None


def scatter(plot: Plot, *, width: float, height: float, label: str) -> Markup:
    """The plot as a drawing.

    Args:
        plot: What is drawn.
        width: In px, as is `height`.
        height: Of all, axes included.
        label: What it shows, for screen readers.
    """
    x, x_ticks = _x_scale(plot, width)
    y, y_ticks = _y_scale(plot, height)
    parts = [_axes(plot, x, x_ticks, y, y_ticks)]
    if plot.line:
        parts.append(element("path", d=_steps(plot.line, x, y), class_="frontier"))
    taken = [_box(mark, x, y) for mark in plot.marks]
    if plot.level is not None:
        parts.append(_level(plot.level, taken, x, y))
    parts += [_mark(mark, x, y) for mark in plot.marks]
    parts += _labels(plot, taken, x, y)
    return drawing(width, height, *parts, label=label)


def frontier(marks: Sequence[Mark]) -> tuple[Point, ...]:
    """The points that nothing to their left is as high as, from left to right."""
    best: list[Point] = []
    for mark in sorted(marks, key=lambda mark: (mark.x, -mark.y)):
        if not best or mark.y > best[-1][1]:
            best.append((mark.x, mark.y))
    return tuple(best)


def _x_scale(plot: Plot, width: float) -> tuple[Scale, list[float]]:
    low, high = min(mark.x for mark in plot.marks), max(mark.x for mark in plot.marks)
    ticks = _x_ticks(low / 1.2, high * 1.2, num=6 if width > 600 else 4)
    start, end = min(ticks[0], low / 1.2), max(ticks[-1], high * 1.2)
    return Scale(start, end, _LEFT, width - _RIGHT, is_log=True), ticks


def _x_ticks(low: float, high: float, *, num: int) -> list[float]:
    """At most so many round numbers, evenly spread to the eye; inside [low, high] if two are."""
    around = log_ticks(low, high)
    ticks = [tick for tick in around if low <= tick <= high]
    if len(ticks) < 2:
        return around
    decades = [tick for tick in ticks if f"{tick:e}"[0] == "1"]
    if len(ticks) > num and len(decades) > 1:
        ticks = decades
    return ticks[:: math.ceil(len(ticks) / num)]


def _y_scale(plot: Plot, height: float) -> tuple[Scale, list[float]]:
    lows, highs = [mark.low for mark in plot.marks], [mark.high for mark in plot.marks]
    if plot.level is not None:
        lows.append(plot.level[0])
        highs.append(plot.level[0])
    ticks = nice_ticks(min(lows), max(highs))
    return Scale(ticks[0], ticks[-1], height - _BOTTOM, _TOP), ticks


def _axes(
    plot: Plot, x: Scale, x_ticks: Sequence[float], y: Scale, y_ticks: Sequence[float]
) -> Markup:
    bottom = y.start
    parts = [element("text", plot.y_label, x=0, y=12, class_="axis-label")]
    for tick in y_ticks:
        at = y(tick)
        parts.append(element("line", x1=_LEFT, x2=x.end, y1=at, y2=at, class_="grid"))
        parts.append(element("text", f"{tick:g}", x=_LEFT - 8, y=at + 4, class_="tick end"))
    for tick in x_ticks:
        at = x(tick)
        text = plot.x_text(tick)
        half = text_width(text) / 2
        place = min(max(at, half), x.end + _RIGHT - half)  # words stay inside the drawing
        parts.append(element("line", x1=at, x2=at, y1=bottom, y2=bottom + 4, class_="baseline"))
        parts.append(element("text", text, x=place, y=bottom + 18, class_="tick middle"))
    parts.append(element("line", x1=_LEFT, x2=x.end, y1=bottom, y2=bottom, class_="baseline"))
    middle = (x.start + x.end) / 2
    parts.append(element("text", plot.x_label, x=middle, y=bottom + 37, class_="axis-label middle"))
    return element("g", *parts)


def _level(level: tuple[float, str], taken: list[_Box], x: Scale, y: Scale) -> Markup:
    """The line and its name, at the end and side of it where nothing is."""
    value, name = level
    at, wide = y(value), text_width(name)
    places = [
        (left, top, left + wide, top + _LABEL_HEIGHT)
        for left in (x.end - wide, x.start + 2)
        for top in (at - _LABEL_HEIGHT - 2, at + 3)
    ]
    box = min(places, key=lambda place: sum(_overlap(place, other) for other in taken))
    taken.append(box)
    return element(
        "g",
        element("line", x1=x.start, x2=x.end, y1=at, y2=at, class_="level"),
        element("text", name, x=box[0], y=box[1] + 11, class_="level-name"),
    )


def _steps(line: Sequence[Point], x: Scale, y: Scale) -> str:
    """From each point along its height to the next: what is reachable to the right of it."""
    path = ""
    for at, value in line:
        path += f"L{x(at):.1f} {y(value):.1f}" if path else f"M{x(at):.1f} {y(value):.1f}"
    return path


def _mark(mark: Mark, x: Scale, y: Scale) -> Markup:
    at, low, high = x(mark.x), y(mark.low), y(mark.high)
    return element(
        "g",
        element("title", mark.title or mark.label),
        element("line", x1=at, x2=at, y1=low, y2=high, class_="whisker"),
        element("line", x1=at - _CAP, x2=at + _CAP, y1=low, y2=low, class_="whisker"),
        element("line", x1=at - _CAP, x2=at + _CAP, y1=high, y2=high, class_="whisker"),
        element(
            "circle", cx=at, cy=y(mark.y), r=_DOT, class_="hollow" if mark.is_hollow else "dot"
        ),
        class_=mark.color,
    )


def _labels(plot: Plot, taken: list[_Box], x: Scale, y: Scale) -> list[Markup]:
    """Names beside the points, to the side that has room, moved up or down where one is taken."""
    parts = []
    for mark in sorted((m for m in plot.marks if m.label), key=lambda mark: -mark.y):
        text = shorten(mark.label, _MAX_LABEL_PX)
        left, top = _free_place(mark, text_width(text), taken, x, y)
        taken.append((left, top, left + text_width(text), top + _LABEL_HEIGHT))
        words = element("text", text, x=left, y=top + 11, class_="point-label")
        parts.append(element("g", words, class_=mark.color))
    return parts


def _free_place(
    mark: Mark,
    wide: float,
    taken: Sequence[_Box],
    x: Scale,
    y: Scale,
) -> tuple[float, float]:
    at, middle = x(mark.x), y(mark.y) - _LABEL_HEIGHT / 2
    right, left = at + _DOT + 5, at - _DOT - 5 - wide
    sides = [
        side for side in (right, left) if x.start + 2 <= side and side + wide <= x.end + _RIGHT
    ]
    best, least = (max(min(right, x.end + _RIGHT - wide), 0.0), middle), float("inf")
    for step in range(0, 12):
        for sign in (1, -1):
            top = middle + sign * step * 5.0
            if not _TOP - 12 <= top <= y.start - _LABEL_HEIGHT:
                continue
            for side in sides or [best[0]]:
                covered = sum(
                    _overlap((side, top, side + wide, top + _LABEL_HEIGHT), box) for box in taken
                )
                if covered == 0:
                    return side, top
                if covered < least:
                    best, least = (side, top), covered
    return best


def _box(mark: Mark, x: Scale, y: Scale) -> _Box:
    at, middle = x(mark.x), y(mark.y)
    return at - 5, min(y(mark.high), middle - 5), at + 5, max(y(mark.low), middle + 5)


def _overlap(one: _Box, other: _Box) -> float:
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    return max(across, 0.0) * max(down, 0.0)
