"""JSON documents of the graph, read one value at a time, each with its place."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from stillhouse.documents._facts import (
    AS_RECORDED,
    COUNTED,
    DECLARED,
    NOT_RECORDED,
    Fact,
    Source,
    SourceKind,
)

_RULES = {"rows": COUNTED, "about": DECLARED}


@dataclass(frozen=True)
class View:
    """One JSON document, whose values are read as facts."""

    kind: SourceKind
    record: str
    file: str
    sha256: str | None
    data: Any

    def fact(self, pointer: str) -> Fact:
        """The value at `pointer`; a fact without one where there is none, or it is no scalar."""
        value = self.get(pointer)
        is_scalar = isinstance(value, str | int | float) and value != ""
        return Fact(
            value=value if is_scalar else None,
            sources=(self._source(pointer),),
            rule=_RULES.get(self.kind, AS_RECORDED) if is_scalar else NOT_RECORDED,
        )

    def whole(self) -> Fact:
        """The document's SHA-256."""
        return Fact(value=self.sha256, sources=(self._source(""),), rule="SHA-256 of its bytes")

    def get(self, pointer: str) -> Any:
        """What stands at `pointer`; None where nothing does."""
        found = self.data
        for part in pointer_parts(pointer):
            if isinstance(found, dict):
                found = found.get(part)
            elif isinstance(found, list) and part.isdecimal() and int(part) < len(found):
                found = found[int(part)]
            else:
                return None
        return found

    def children(self, pointer: str) -> Iterator[tuple[str, str]]:
        """Name and pointer of each entry of the object or list at `pointer`."""
        found = self.get(pointer)
        if isinstance(found, dict):
            for name in found:
                yield name, f"{pointer}/{escaped(name)}"
        elif isinstance(found, list):
            for index in range(len(found)):
                yield str(index), f"{pointer}/{index}"

    def facts(self, pointer: str) -> dict[str, Fact]:
        """Each scalar of the object or list at `pointer`, by name."""
        found = ((name, self.fact(place)) for name, place in self.children(pointer))
        return {name: fact for name, fact in found if fact.is_known}

    def _source(self, pointer: str) -> Source:
        return Source(
            kind=self.kind, record=self.record, file=self.file, sha256=self.sha256, pointer=pointer
        )


def escaped(part: str) -> str:
    """One part of a JSON pointer (RFC 6901)."""
    return part.replace("~", "~0").replace("/", "~1")


def pointer_parts(pointer: str) -> Sequence[str]:
    """The parts of a JSON pointer, not escaped any more."""
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
