"""A learning curve as inline SVG: measured points, the fitted curve with its band, a target.

Rows are on a logarithmic axis, agreement on one that shows the range that was reached.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from stillhouse.pages import Figure, Scale, drawing, element, nice_ticks, text_width

_WIDE_PX, _NARROW_PX, _WIDE_HEIGHT, _NARROW_HEIGHT = 1040.0, 340.0, 320.0, 260.0
_TOP, _BOTTOM, _LEFT, _RIGHT = 28.0, 42.0, 44.0, 8.0
_WHISKER = 4.0


@dataclass(frozen=True)
class Measure:
    """A value with its interval at so many rows.

    Attributes:
        x: Rows or calls.
        value: In [0, 1], as are the ends.
        is_held_back: Whether the curve was fitted without it.
    """

    x: float
    value: float
    low: float
    high: float
    is_held_back: bool = False


@dataclass(frozen=True)
class CurveChart:
    """What one chart shows.

    Attributes:
        measured: Points, at least one.
        fitted: The curve with its band, by x; empty where none was fitted.
        target: A line across, or None.
        x_label: What is counted.
        y_label: What is measured.
        label: What the chart shows, for those who cannot see it.
    """

    measured: Sequence[Measure]
    fitted: Sequence[Measure]
    target: float | None
    x_label: str
    y_label: str
    label: str

    def figure(self) -> Figure:
        """The chart for a wide and for a narrow column."""
        return Figure(
            wide=self.drawn(_WIDE_PX, _WIDE_HEIGHT), narrow=self.drawn(_NARROW_PX, _NARROW_HEIGHT)
        )

    def drawn(self, width: float, height: float) -> Markup:
        """The chart at one size."""
        right = width - _RIGHT
        every = [*self.measured, *self.fitted]
        xs = [one.x for one in every]
        ys = [end for one in every for end in (one.low, one.high)]
        ys += [] if self.target is None else [self.target]
        low_x, high_x = min(xs), max(xs)
        if low_x == high_x:
            low_x, high_x = low_x / 2, high_x * 2
        x = Scale(low_x, high_x, _LEFT, right, is_log=True)
        ticks = [tick for tick in nice_ticks(min(ys), max(ys)) if -1e-9 <= tick <= 1 + 1e-9]
        y = Scale(min(*ticks, *ys), max(*ticks, *ys), height - _BOTTOM, _TOP)
        return drawing(
            width,
            height,
            self._y_axis(ticks, y, right),
            self._x_axis(x, bottom=height - _BOTTOM),
            *self._target_line(y, right),
            *self._curve(x, y),
            *[_point(one, x, y) for one in self.measured],
            label=self.label,
        )

    def _y_axis(self, ticks: Sequence[float], y: Scale, right: float) -> Markup:
        step = ticks[1] - ticks[0] if len(ticks) > 1 else 1.0
        decimals = max(0, -math.floor(math.log10(step * 100) + 1e-9))
        parts = [element("text", self.y_label, x=0, y=12, class_="axis-label")]
        for tick in ticks:
            at = y(tick)
            text = f"{100 * tick:.{decimals}f}\N{NO-BREAK SPACE}%"
            parts.append(element("line", x1=_LEFT, x2=right, y1=at, y2=at, class_="grid"))
            parts.append(element("text", text, x=_LEFT - 8, y=at + 4, class_="tick end"))
        return element("g", *parts)

    def _x_axis(self, x: Scale, *, bottom: float) -> Markup:
        middle = (x.start + x.end) / 2
        parts = [
            element("line", x1=x.start, x2=x.end, y1=bottom, y2=bottom, class_="baseline"),
            element("text", self.x_label, x=middle, y=bottom + 36, class_="axis-label middle"),
        ]
        taken = -math.inf
        for tick in _round_numbers(x.low, x.high):
            at, text = x(tick), f"{tick:,.0f}"
            half = text_width(text) / 2
            if at - half >= taken:
                parts.append(element("text", text, x=at, y=bottom + 17, class_="tick middle"))
                taken = at + half + 8
        return element("g", *parts)

    def _target_line(self, y: Scale, right: float) -> list[Markup]:
        if self.target is None:
            return []
        at, text = y(self.target), f"target {100 * self.target:g}\N{NO-BREAK SPACE}%"
        line = element("line", x1=_LEFT, x2=right, y1=at, y2=at, class_="line dashed")
        # At the left, where a curve that rises is still far below it.
        shown = element("text", text, x=_LEFT + 6, y=at - 6, class_="end-label")
        return [element("g", line, shown, class_="c-untrained")]

    def _curve(self, x: Scale, y: Scale) -> list[Markup]:
        if not self.fitted:
            return []
        upper = [(x(one.x), y(one.high)) for one in self.fitted]
        lower = [(x(one.x), y(one.low)) for one in reversed(self.fitted)]
        seen = max(one.x for one in self.measured)
        inside = [(x(one.x), y(one.value)) for one in self.fitted if one.x <= seen]
        beyond = [(x(one.x), y(one.value)) for one in self.fitted if one.x > seen]
        beyond = [*inside[-1:], *beyond]  # one line, whose second part is dashed
        parts = [element("path", d=_path([*upper, *lower]) + "Z", class_="band")]
        parts += [element("path", d=_path(inside), class_="line")] if len(inside) > 1 else []
        parts += [element("path", d=_path(beyond), class_="line dashed")] if len(beyond) > 1 else []
        return [element("g", *parts, class_="c-student")]


def _point(one: Measure, x: Scale, y: Scale) -> Markup:
    at, low, high = x(one.x), y(one.low), y(one.high)
    title = element(
        "title",
        f"{one.x:,.0f}: {100 * one.value:.1f} % [{100 * one.low:.1f}, {100 * one.high:.1f}]",
    )
    bars = [
        element("line", x1=at, x2=at, y1=low, y2=high, class_="whisker"),
        *[
            element("line", x1=at - _WHISKER, x2=at + _WHISKER, y1=end, y2=end, class_="whisker")
            for end in (low, high)
        ],
    ]
    dot = element("circle", title, cx=at, cy=y(one.value), r=4.5, class_="dot")
    return element("g", *bars, dot, class_="c-student-2" if one.is_held_back else "c-student")


def _round_numbers(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [multiple * 10.0**decade for decade in decades for multiple in (1, 2, 5)]
    inside = [one for one in found if low * (1 - 1e-9) <= one <= high * (1 + 1e-9)]
    return inside or [low, high]


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "".join(f"{'L' if index else 'M'}{x:.1f} {y:.1f}" for index, (x, y) in enumerate(points))
