"""A drawing as a file of its own: with the style that a page has outside of it."""

from xml.etree import ElementTree

from markupsafe import Markup

from stillhouse.pages._svg import element

_LIGHT = {
    "paper": "#fcfbf8",
    "surface": "#ffffff",
    "ink": "#1f1b17",
    "muted": "#645c53",
    "rule": "#e2dcd3",
    "edge": "#776e65",
    "teacher": "#4a433c",
    "untrained": "#776e65",
    "student": "#b0450e",
}
_DARK = {
    "paper": "#171513",
    "surface": "#1f1c19",
    "ink": "#efeae3",
    "muted": "#aba297",
    "rule": "#3a352f",
    "edge": "#958c82",
    "teacher": "#cbc3b8",
    "untrained": "#958c82",
    "student": "#f0915a",
}
# Colours are written out: viewers of SVG files outside of browsers know no variables.
_COLORS = """\
.paper {{ fill: {paper}; }}
text {{ fill: {ink}; }}
.node {{ fill: {surface}; stroke: {rule}; }}
.quiet, .hash {{ fill: {muted}; }}
.edge {{ stroke: {edge}; }}
.head {{ fill: {edge}; }}
.c-teacher .bar {{ fill: {teacher}; }}
.c-untrained .bar {{ fill: {untrained}; }}
.c-student .bar {{ fill: {student}; }}
"""
_SHAPES = """\
text { font: 12px -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
.strong { font-weight: 650; }
.hash { font: 11px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.edge { fill: none; stroke-width: 1.3; }
"""


def standalone_svg(drawing: Markup, *, margin: float = 20.0) -> str:
    """The text of an SVG file of `drawing`, in the colours of the reader's screen.

    Args:
        drawing: An `svg` element with a width and a height.
        margin: Around it, in px.
    """
    inner = ElementTree.fromstring(drawing)
    width = float(inner.attrib["width"]) + 2 * margin
    height = float(inner.attrib["height"]) + 2 * margin
    dark = _COLORS.format(**_DARK)
    style = f"{_SHAPES}{_COLORS.format(**_LIGHT)}@media (prefers-color-scheme: dark) {{\n{dark}}}"
    whole = element(
        "svg",
        # Its angle brackets and quotes are our own.
        element("style", Markup(style)),
        element("rect", width=width, height=height, rx=10, class_="paper"),
        element("g", drawing, transform=f"translate({margin:g} {margin:g})"),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:g} {height:g}",
        width=width,
        height=height,
    )
    return f"{whole}\n"
