"""What the pages of all reports share: their template environment, key figures, dates."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import jinja2
from markupsafe import Markup

from stillhouse.evaluate._report._figures import Figure
from stillhouse.evaluate._report._inputs import LineageNode
from stillhouse.evaluate._report._lineage import lineage_drawing
from stillhouse.evaluate._report._numbers import percent

_MAX_TEXT_CHARS = 600
"""Longer prompts and completions are cut on the page; results.json holds them whole."""

# Characters that HTML and XML forbid or that a UTF-8 file cannot carry.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True)
class Tile:
    """A key figure; `before` is what it was without training, where that was measured."""

    label: str
    value: str
    details: tuple[str, ...]
    before: str = ""


def page_environment(*folders: str) -> jinja2.Environment:
    """Templates of `folders` (under `stillhouse/evaluate`), then the shared ones.

    Text that a page prints is escaped, and what no HTML file may hold is replaced.
    """
    loaders = [jinja2.PackageLoader("stillhouse.evaluate", name) for name in (*folders, "_report")]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    environment.filters["cut"] = _cut
    environment.filters["share"] = percent
    return environment


def lineage_figure(nodes: Sequence[LineageNode], colors: Mapping[str, str]) -> Figure | None:
    """The lineage graph for both column widths; None where there is none."""
    if not nodes:
        return None
    return Figure(
        wide=lineage_drawing(nodes, colors, width=1040, is_vertical=False),
        narrow=lineage_drawing(nodes, colors, width=340, is_vertical=True),
    )


def utc_text(when: datetime) -> str:
    """`2026-11-24 17:16 UTC`."""
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _printable(value: object) -> object:
    """Replaces what no HTML file may hold, in every text that the template prints."""
    if isinstance(value, Markup):
        return Markup(_UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", value))
    if isinstance(value, str):
        return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", value)
    return value


def _cut(text: str) -> str:
    if len(text) <= _MAX_TEXT_CHARS:
        return text
    left = len(text) - _MAX_TEXT_CHARS
    return f"{text[:_MAX_TEXT_CHARS].rstrip()} \N{HORIZONTAL ELLIPSIS} [{left:,} characters more]"
