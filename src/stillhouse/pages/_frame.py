"""What the pages of all reports share: their template environment, key figures, dates."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

import jinja2
from markupsafe import Markup

from stillhouse.pages._numbers import percent

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


def page_environment(room: str, folder: str = "") -> jinja2.Environment:
    """Templates in `folder` of a room, such as `stillhouse.pipeline`, then the shared ones.

    Text that a page prints is escaped, and what no HTML file may hold is replaced.
    """
    mine, shared = jinja2.PackageLoader(room, folder), jinja2.PackageLoader("stillhouse.pages", "")
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([mine, shared]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    environment.filters["cut"] = _cut
    environment.filters["share"] = percent
    return environment


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
