"""One drawing: how good copies are, against what finds them and against what that costs.

Two panels share the axis of quality. Between them stand the names, each with a thin line to its
point in either panel, so that no name lies on a point or on another name.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from stillhouse.pages import Figure, Scale, drawing, element, nice_ticks, shorten, text_width

_WIDE_PX, _NARROW_PX = 1040.0, 360.0
_TOP, _BOTTOM, _LEFT, _RIGHT = 46.0, 44.0, 46.0, 20.0
_ROW = 16.0
_LEAST_HEIGHT = 340.0
_NO_TEST = 52.0  # px of the strip for what has no test
_GAP = 10.0
_SIZE = 5.0
_SLANT, _WIDEST = 22.0, 300.0  # px on either side of the names, and for them
_COLORS = ("c-untrained", "c-student", "c-student-2", "c-student-3", "c-student-4", "c-teacher")


@dataclass(frozen=True)
class Mark:
    """One attack against one defence.

    Attributes:
        number: Of its row in the table.
        name: Of the pair.
        defence: Gives the colour.
        attack: Gives the shape.
        quality: Share of the gap that is closed, with its interval.
        evidence: -log10 p; None where there is no test.
        cost: Share of honest requests that are worse off, with its interval.
    """

    number: int
    name: str
    defence: str
    attack: str
    quality: tuple[float, float, float]
    evidence: float | None
    cost: tuple[float, float, float]


@dataclass(frozen=True)
class RangeChart:
    """All marks of one field.

    Attributes:
        marks: At least one.
        level: P-value of the line in the left panel.
        defences: In the order of colours.
        attacks: In the order of shapes.
        label: What it shows, for those who cannot see it.
    """

    marks: Sequence[Mark]
    level: float
    defences: Sequence[str]
    attacks: Sequence[str]
    label: str

    def figure(self) -> Figure:
        """The chart for a wide and for a narrow column; the narrow one has numbers for names."""
        return Figure(wide=self.drawn(_WIDE_PX), narrow=self.drawn(_NARROW_PX))

    def drawn(self, width: float) -> Markup:
        """The chart at one width."""
        is_wide = width > 600
        height = max(_LEAST_HEIGHT, _TOP + _BOTTOM + _ROW * len(self.marks) + 24)
        names = {
            one.number: f"{one.number}  {one.name}" if is_wide else str(one.number)
            for one in self.marks
        }
        widest = min(max(text_width(name) for name in names.values()) + 1, _WIDEST)
        middle = widest + 2 * _SLANT
        panel = (width - _LEFT - _RIGHT - middle) / 2
        left, right = (_LEFT, _LEFT + panel), (width - _RIGHT - panel, width - _RIGHT)
        y, y_ticks = self._quality_scale(height)
        evidence = _Evidence.of(self.marks, self.level, left)
        cost, cost_ticks = self._cost_scale(right)
        bottom = height - _BOTTOM
        parts = [
            self._grid(y, y_ticks, (left, right)),
            evidence.axis(bottom, self.level, is_wide=is_wide),
            _cost_axis(cost, cost_ticks, bottom, is_wide=is_wide),
            element("text", "share of the gap closed", x=0, y=14, class_="axis-label"),
        ]
        order = sorted(self.marks, key=lambda one: (y(one.quality[0]), one.number))
        places = _spread([y(one.quality[0]) for one in order], _ROW, _TOP, bottom - 4)
        centre = (left[1] + right[0]) / 2
        for one, at in zip(order, places, strict=True):
            x_left, x_right = evidence.x(one.evidence), cost(one.cost[0])
            name = shorten(names[one.number], widest)
            own_y, half = y(one.quality[0]), text_width(name) / 2 + 4
            leaders = [
                element("path", d=_leader(x, own_y, side, centre, (half, widest / 2 + 4), at))
                for x, side in ((x_left, -1), (x_right, 1))
            ]
            parts.append(
                element(
                    "g",
                    element("g", *leaders, class_="leader"),
                    element("text", name, x=centre, y=at + 4, class_="end-label middle"),
                    class_=self._color(one),
                )
            )
        for one in self.marks:
            parts.append(self._points(one, y, evidence, cost))
        return drawing(width, height, *parts, label=self.label)

    def _points(self, one: Mark, y: Scale, evidence: "_Evidence", cost: Scale) -> Markup:
        own_y, low, high = (y(value) for value in one.quality)
        title = element("title", f"{one.number} {one.name}: {_told(one)}")
        shape = list(self.attacks).index(one.attack)
        xs = (evidence.x(one.evidence), cost(one.cost[0]))
        parts = [element("line", x1=x, x2=x, y1=low, y2=high, class_="whisker") for x in xs]
        ends = [cost(end) for end in one.cost[1:]]
        parts.append(element("line", x1=ends[0], x2=ends[1], y1=own_y, y2=own_y, class_="whisker"))
        parts += [_shape(shape, x, own_y) for x in xs]
        return element("g", title, *parts, class_=self._color(one))

    def _color(self, one: Mark) -> str:
        there = [name for name in self.defences if any(name == mark.defence for mark in self.marks)]
        return _COLORS[there.index(one.defence) % len(_COLORS)]

    def _quality_scale(self, height: float) -> tuple[Scale, list[float]]:
        values = [end for one in self.marks for end in one.quality]
        ticks = nice_ticks(min(values), max(values))
        return Scale(ticks[0], ticks[-1], height - _BOTTOM - 10, _TOP + 6), ticks

    def _cost_scale(self, span: tuple[float, float]) -> tuple[Scale, list[float]]:
        most = max(max(one.cost) for one in self.marks)
        ticks = nice_ticks(0.0, max(most, 0.02), 4)
        return Scale(0.0, ticks[-1], span[0] + _GAP, span[1]), ticks

    def _grid(
        self, y: Scale, ticks: Sequence[float], spans: Sequence[tuple[float, float]]
    ) -> Markup:
        decimals = max(0, -math.floor(math.log10((ticks[1] - ticks[0]) * 100) + 1e-9))
        parts = []
        for tick in ticks:
            at = y(tick)
            text = f"{100 * tick:.{decimals}f}\N{NO-BREAK SPACE}%"
            parts.append(element("text", text, x=_LEFT - 6, y=at + 4, class_="tick end"))
            parts += [
                element("line", x1=start, x2=end, y1=at, y2=at, class_="grid")
                for start, end in spans
            ]
        return element("g", *parts)


@dataclass(frozen=True)
class _Evidence:
    """The axis of -log10 p, on which tens and hundreds have room: by log(1 + value).

    Attributes:
        strip: Pixels of what has no test.
        scale: Of log(1 + value).
        most: The largest value that is shown.
    """

    strip: tuple[float, float]
    scale: Scale
    most: float

    @classmethod
    def of(cls, marks: Sequence[Mark], level: float, span: tuple[float, float]) -> "_Evidence":
        values = [one.evidence for one in marks if one.evidence is not None]
        most = max([*values, -math.log10(level) + 1])
        is_bare = len(values) == len(marks)
        start = span[0] + (_GAP if is_bare else _NO_TEST)
        scale = Scale(0.0, math.log1p(most) * 1.03, start + _GAP, span[1] - _GAP)
        return cls((span[0], start), scale, most)

    def x(self, value: float | None) -> float:
        if value is None:
            return (self.strip[0] + self.strip[1]) / 2
        return self.scale(math.log1p(max(0.0, value)))

    def axis(self, bottom: float, level: float, *, is_wide: bool) -> Markup:
        start, end = self.strip[1], self.scale.end + _GAP
        parts = [element("line", x1=start, x2=end, y1=bottom, y2=bottom, class_="baseline")]
        taken = -math.inf
        for tick in (0, 1, 3, 10, 30, 100, 300, 1_000, 3_000):
            x, text = self.x(tick), f"{tick:,}"
            if tick > self.most or x - text_width(text) / 2 < taken:
                continue
            parts.append(element("text", text, x=x, y=bottom + 17, class_="tick middle"))
            taken = x + text_width(text) / 2 + 6
        words = "evidence, \N{MINUS SIGN}log10 p" if is_wide else "\N{MINUS SIGN}log10 p"
        parts.append(
            element("text", words, x=(start + end) / 2, y=bottom + 36, class_="axis-label middle")
        )
        at = self.x(-math.log10(level))
        parts.append(element("line", x1=at, x2=at, y1=_TOP - 8, y2=bottom, class_="level"))
        parts.append(element("text", f"p = {level:g}", x=at + 4, y=_TOP - 12, class_="tick"))
        if self.strip[1] - self.strip[0] > 2 * _GAP:
            middle = (self.strip[0] + self.strip[1]) / 2
            parts.append(element("text", "no test", x=middle, y=bottom + 17, class_="tick middle"))
        return element("g", *parts)


def _cost_axis(cost: Scale, ticks: Sequence[float], bottom: float, *, is_wide: bool) -> Markup:
    parts = [
        element("line", x1=cost.start - _GAP, x2=cost.end, y1=bottom, y2=bottom, class_="baseline")
    ]
    step = ticks[1] - ticks[0]
    decimals = max(0, -math.floor(math.log10(step * 100) + 1e-9))
    for tick in ticks if is_wide else ticks[::2]:
        text = f"{100 * tick:.{decimals}f}\N{NO-BREAK SPACE}%"
        parts.append(element("text", text, x=cost(tick), y=bottom + 17, class_="tick middle"))
    words = "honest requests that are worse off" if is_wide else "worse off"
    middle = (cost.start + cost.end) / 2
    parts.append(element("text", words, x=middle, y=bottom + 36, class_="axis-label middle"))
    return element("g", *parts)


def _told(one: Mark) -> str:
    evidence = "no test" if one.evidence is None else f"log10 p {-one.evidence:.1f}"
    return (
        f"{one.quality[0]:.1%} of the gap [{one.quality[1]:.1%}, {one.quality[2]:.1%}], "
        f"{evidence}, {one.cost[0]:.1%} of honest requests worse off"
    )


def _leader(
    x: float, y: float, side: int, centre: float, halves: tuple[float, float], name_y: float
) -> str:
    """From a point to its name, past all other names: out, up or down beside them, and in.

    Args:
        x, y: Of the point.
        side: -1 for a point left of the names, 1 for one right of them.
        centre: Of the names.
        halves: Half of the name's width and of the widest name's.
        name_y: Height of the name.
    """
    half, widest = halves
    steps = [
        (x - side * (_SIZE + 2), y),
        (centre + side * (widest + _SLANT - 4), y),
        (centre + side * widest, name_y),
        (centre + side * half, name_y),
    ]
    return "M" + "L".join(f"{at:.1f} {height:.1f}" for at, height in steps)


def _shape(kind: int, x: float, y: float) -> Markup:
    """A circle, square, triangle, diamond and so on, centred."""
    r = _SIZE
    if kind % 5 == 0:
        return element("circle", cx=x, cy=y, r=r, class_="dot")
    if kind % 5 == 1:
        return element(
            "rect", x=x - r + 0.5, y=y - r + 0.5, width=2 * r - 1, height=2 * r - 1, class_="dot"
        )
    corners = {
        2: [(0, -r - 1), (r + 1, r - 0.5), (-r - 1, r - 0.5)],
        3: [(0, -r - 1.5), (r + 1.5, 0), (0, r + 1.5), (-r - 1.5, 0)],
        4: [(0, r + 1), (r + 1, -r + 0.5), (-r - 1, -r + 0.5)],
    }[kind % 5]
    points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
    return element("polygon", points=points, class_="dot")


def _spread(wanted: Sequence[float], step: float, top: float, bottom: float) -> list[float]:
    """Heights near `wanted` (ascending) that are `step` apart and between the two ends."""
    places: list[float] = []
    floor = top
    for at in wanted:
        places.append(max(at, floor))
        floor = places[-1] + step
    limit = bottom
    for number in range(len(places) - 1, -1, -1):
        places[number] = min(places[number], limit)
        limit = places[number] - step
    return places
