"""All documents, in the order in which they are written."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from stillhouse.documents import (
    _california,
    _croissant,
    _cyclonedx,
    _european_summary,
    _hugging_face,
    _notice,
    _spdx,
)
from stillhouse.documents._document import Document
from stillhouse.documents._sheet import FactSheet
from stillhouse.errors import ConfigError

_MAKERS: dict[str, Callable[[FactSheet], Iterator[Document]]] = {
    "hf": _hugging_face.documents,
    "cyclonedx": _cyclonedx.documents,
    "spdx": _spdx.documents,
    "croissant": _croissant.documents,
    "eu": _european_summary.documents,
    "california": _california.documents,
    "notice": _notice.documents,
}
GROUPS = tuple(_MAKERS)
"""What `--only` chooses from."""


def make_documents(sheet: FactSheet, *, only: Sequence[str] = ()) -> tuple[Document, ...]:
    """The documents that the sheet has facts for.

    Args:
        sheet: All facts.
        only: Groups to make; all when empty.

    Raises:
        ConfigError: a group is unknown, or the sheet has facts for none of those asked for.
    """
    for name in only:
        if name not in _MAKERS:
            raise ConfigError(f"{name!r} is no document; there are {', '.join(GROUPS)}.")
    wanted = only or GROUPS
    found = tuple(
        replace(document, searched=sheet.lineage.sources)
        for name in GROUPS
        if name in wanted
        for document in _MAKERS[name](sheet)
    )
    if not found:
        raise ConfigError(
            f"{sheet.subject} has nothing that {', '.join(wanted)} could be written about. Give a "
            "student, or leave --only out."
        )
    return found
