"""The forest plot of ratings: one row a model, its interval as judged and at equal length."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from stillhouse.evaluate._arena._report._words import rank_text
from stillhouse.evaluate._arena._results import MEAN_POINTS, ArenaModel, Standing
from stillhouse.pages import Figure, Scale, drawing, element, fixed, nice_ticks, shorten, text_width

JUDGED, EQUAL_LENGTH = "c-judged", "c-equal"

_WIDE_PX, _NARROW_PX = 1040.0, 340.0
_TOP, _BOTTOM = 26.0, 40.0
_ROW, _NAME_ROW = 46.0, 18.0
_RANK_PX, _GAP_PX = 46.0, 16.0
_MOST_NAME_PX = 230.0
_DOT = 5.0
_NARROW_LEFT = 16.0  # half of a tick's number stands beyond the axis


@dataclass(frozen=True)
class _Layout:
    """Where things stand: names beside their rows, or above them in a narrow column."""

    width: float
    left: float
    row: float
    names_px: float
    is_narrow: bool


def forest_figure(models: Sequence[ArenaModel]) -> Figure:
    """Ratings with their intervals, the highest at the top, for both column widths."""
    names_px = min(max(text_width(model.name) for model in models), _MOST_NAME_PX)
    left = _RANK_PX + names_px + _GAP_PX
    wide = _Layout(_WIDE_PX, left, _ROW, names_px, is_narrow=False)
    narrow = _Layout(
        _NARROW_PX, _NARROW_LEFT, _ROW + _NAME_ROW, _NARROW_PX - _RANK_PX, is_narrow=True
    )
    return Figure(wide=_forest(models, wide), narrow=_forest(models, narrow))


def _forest(models: Sequence[ArenaModel], layout: _Layout) -> Markup:
    ends = [
        end
        for model in models
        for standing in _standings(model)
        for end in (standing.rating.low, standing.rating.high)
    ]
    ticks = nice_ticks(min(ends), max(ends), target=8 if not layout.is_narrow else 4)
    scale = Scale(ticks[0], ticks[-1], layout.left, layout.width - 14.0)
    bottom = _TOP + layout.row * len(models)
    rows = [
        _row(model, scale, layout, top=_TOP + layout.row * number)
        for number, model in enumerate(models)
    ]
    label = "Ratings in points: " + "; ".join(
        f"{model.name} {model.standing.rating.value:.0f}" for model in models
    )
    return drawing(
        layout.width, bottom + _BOTTOM, _axis(ticks, scale, bottom=bottom), *rows, label=label
    )


def _standings(model: ArenaModel) -> list[Standing]:
    return [one for one in (model.standing, model.standing_equal_length) if one is not None]


def _row(model: ArenaModel, scale: Scale, layout: _Layout, *, top: float) -> Markup:
    parts = []
    middle = top + layout.row / 2
    if layout.is_narrow:
        name_y, name_x = top + 15.0, _RANK_PX
        middle += _NAME_ROW / 2
    else:
        name_y, name_x = middle + 4.0, _RANK_PX
    name = shorten(model.name, layout.names_px)
    parts.append(element("text", rank_text(model.standing), x=0, y=name_y, class_="rank"))
    parts.append(element("text", name, x=name_x, y=name_y, class_="strong"))
    apart = 8.0 if model.standing_equal_length is not None else 0.0
    parts.append(_whisker(model.standing, scale, y=middle - apart, color=JUDGED))
    if model.standing_equal_length is not None:
        parts.append(
            _whisker(model.standing_equal_length, scale, y=middle + apart, color=EQUAL_LENGTH)
        )
    return element("g", *parts)


def _whisker(standing: Standing, scale: Scale, *, y: float, color: str) -> Markup:
    rating = standing.rating
    low, high, value = scale(rating.low), scale(rating.high), scale(rating.value)
    title = f"{rating.value:.0f} [{rating.low:.0f}, {rating.high:.0f}]"
    return element(
        "g",
        element("title", title),
        element("line", x1=low, x2=high, y1=y, y2=y, class_="whisker"),
        element("line", x1=low, x2=low, y1=y - 4, y2=y + 4, class_="whisker"),
        element("line", x1=high, x2=high, y1=y - 4, y2=y + 4, class_="whisker"),
        element("circle", cx=value, cy=y, r=_DOT, class_="dot"),
        class_=color,
    )


def _axis(ticks: Sequence[float], scale: Scale, *, bottom: float) -> Markup:
    parts = []
    for tick in ticks:
        x = scale(tick)
        css = "mean" if tick == MEAN_POINTS else "grid"
        parts.append(element("line", x1=x, x2=x, y1=_TOP - 6, y2=bottom, class_=css))
        parts.append(
            element(
                "text", fixed(tick, 0).replace(",", ""), x=x, y=bottom + 16, class_="tick middle"
            )
        )
    middle = (scale.start + scale.end) / 2
    parts.append(element("text", "points", x=middle, y=bottom + 34, class_="axis-label middle"))
    return element("g", *parts)
