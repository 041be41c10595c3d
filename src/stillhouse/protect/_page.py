"""Evidence as one HTML file."""

from markupsafe import Markup

from stillhouse.pages import (
    Figure,
    Scale,
    Tile,
    drawing,
    element,
    fixed,
    nice_ticks,
    page_environment,
    text_width,
    utc_text,
)
from stillhouse.protect._evidence import Evidence, Strip

_WIDE, _NARROW = 1_000.0, 360.0
_HEIGHT, _BASE, _TOP = 172.0, 134.0, 64.0
_DOTS_AT, _NAMES_AT = 112.0, 44.0
_MARGIN = 12.0


def render_evidence(evidence: Evidence) -> str:
    """The page as text, to be written as UTF-8."""
    return (
        page_environment("stillhouse.protect")
        .get_template("_evidence.html.jinja")
        .render(
            results=evidence,
            created=utc_text(evidence.created_utc),
            tiles=[Tile(one.label, one.value, one.details) for one in evidence.figures],
            strip=None
            if evidence.strip is None
            else Figure(_drawn(evidence.strip, _WIDE), _drawn(evidence.strip, _NARROW)),
            command=evidence.command,
            environment=evidence.inputs,
        )
    )


def _drawn(strip: Strip, width: float) -> Markup:
    """Ordinary values as dots, and each of those that are asked about as a line with its name."""
    values = [*strip.ordinary, *(value for _, value in strip.marked), 0.0]
    ticks = nice_ticks(min(values), max(values), target=8 if width > 500 else 4)
    scale = Scale(min(ticks[0], min(values)), max(ticks[-1], max(values)), _MARGIN, width - _MARGIN)
    children = [
        element("line", x1=scale(tick), x2=scale(tick), y1=_TOP, y2=_BASE, class_="grid")
        for tick in ticks
    ]
    children += [
        element("text", fixed(tick, 0), x=scale(tick), y=_BASE + 16, class_="tick middle")
        for tick in ticks
    ]
    children.append(element("line", x1=0, x2=width, y1=_BASE, y2=_BASE, class_="baseline"))
    children.append(
        element("text", strip.axis, x=width / 2, y=_HEIGHT - 4, class_="axis-label middle")
    )
    for number, value in enumerate(strip.ordinary):
        # Spread up and down a little, so that equal values stay apart.
        y = _DOTS_AT + 12 * ((number * 0.618) % 1 - 0.5)
        children.append(
            element("circle", cx=scale(value), cy=y, r=2.6, class_="dot c-untrained ordinary")
        )
    for row, (name, value) in enumerate(strip.marked[:3]):
        x, y = scale(value), _NAMES_AT - 14 * row
        children.append(element("line", x1=x, x2=x, y1=y + 4, y2=_BASE, class_="line c-student"))
        text = f"{name}: {value:.1f}"
        at_end = x + text_width(text) > width
        children.append(
            element(
                "text",
                text,
                x=x - 6 if at_end else x + 6,
                y=y + 6,
                class_="end-label c-student" + (" end" if at_end else ""),
            )
        )
    named = ", ".join(f"{name} {value:.1f}" for name, value in strip.marked)
    label = f"{strip.title}: {named}; {len(strip.ordinary)} of {strip.ordinary_label}"
    return drawing(width, _HEIGHT, *children, label=label)
