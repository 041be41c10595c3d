"""The pieces every drawing is made of: elements, escaped text, the width of text.

Text is escaped by `Markup`, whatever it holds. No element gets an id, so a page may hold a drawing
twice (for a wide and for a narrow column).
"""

from unicodedata import east_asian_width

from markupsafe import Markup, escape

# Widths at the bold 12 px that labels have, with room for the wider system fonts.
_CHAR_PX, _CAPITAL_PX, _BROAD_PX, _FULL_WIDTH_PX = 6.7, 8.7, 11.6, 12.6
_BROAD = frozenset("MWmw@%")


def element(tag: str, *children: str, **attributes: str | float) -> Markup:
    """An XML element; children and attribute values that are not `Markup` are escaped.

    A trailing underscore in an attribute's name is dropped, others become hyphens.
    """
    parts = [
        Markup(' {}="{}"').format(name.rstrip("_").replace("_", "-"), _attribute(value))
        for name, value in attributes.items()
    ]
    inside = Markup("").join(children)
    return Markup("<{0}{1}>{2}</{0}>").format(tag, Markup("").join(parts), inside)


def drawing(width: float, height: float, *children: str, label: str) -> Markup:
    """An `svg` that scales with its column and says what it shows to those who cannot see it."""
    return element(
        "svg",
        element("title", label),
        *children,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {_attribute(width)} {_attribute(height)}",
        width=width,
        height=height,
        role="img",
        aria_label=label,
    )


def text_width(text: str) -> float:
    """About how wide `text` is at the labels' 12 px: without a font one can only estimate."""
    return sum(_char_width(char) for char in text)


def wrap(text: str, width: float) -> list[str]:
    """`text` in at most two lines of `width` px, broken at spaces and hyphens, cut beyond that."""
    if text_width(text) <= width:
        return [text]
    breaks = [index + 1 for index, char in enumerate(text) if char in " -"]
    fitting = [index for index in breaks if text_width(text[:index].rstrip()) <= width]
    if not fitting:
        return [shorten(text, width)]
    # A space first: "train | student-sft" reads better than "train student- | sft".
    cut = max(fitting, key=lambda index: (text[index - 1] == " ", index))
    return [text[:cut].rstrip(), shorten(text[cut:], width)]


def shorten(text: str, width: float) -> str:
    """`text`, cut with an ellipsis if it is wider than `width` px."""
    if text_width(text) <= width:
        return text
    kept = text
    while kept and text_width(kept) + _CHAR_PX > width:
        kept = kept[:-1]
    return kept.rstrip() + "\N{HORIZONTAL ELLIPSIS}"


def _attribute(value: str | float) -> str:
    if isinstance(value, str):
        return escape(value)
    return f"{value:.1f}".removesuffix(".0")


def _char_width(char: str) -> float:
    if char in _BROAD:
        return _BROAD_PX
    if east_asian_width(char) in "WF":
        return _FULL_WIDTH_PX
    return _CAPITAL_PX if char.isupper() else _CHAR_PX
