"""A document: its tree of facts, the bytes that it is written as, and what each leaf rests on."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from stillhouse.documents._facts import Fact, Source
from stillhouse.documents._trees import Tree, leaves, plain, pruned


@dataclass(frozen=True)
class Document:
    """One document of a fact sheet.

    Attributes:
        id: Its name for `--explain`: `model_card`, `cyclonedx` ...
        group: Its name for `--only`: `hf`, `cyclonedx` ...
        file: Where it is written, relative to the folder.
        standard: What it follows, with the version.
        tree: What it holds; only recorded values in documents of a schema, all in those for
            people, where the others say that they are not recorded.
        write: From the tree to bytes.
        asked: The tree before what is not recorded was left out.
        searched: What a field cites that nothing in the whole lineage could have held.
    """

    id: str
    group: str
    file: str
    standard: str
    tree: Tree
    write: Callable[[Tree], bytes]
    asked: Tree = None
    searched: tuple[Source, ...] = ()

    def to_bytes(self) -> bytes:
        """The document as a file."""
        return self.write(self.tree)

    def facts(self) -> dict[str, Fact]:
        """Every leaf by its JSON pointer in the tree."""
        return dict(self._leaves(self.tree))

    def left_out(self) -> dict[str, Fact]:
        """What the standard has a field for and no record holds, by its pointer."""
        there = self.facts()
        return {
            pointer: fact
            for pointer, fact in self._leaves(self.asked)
            if not fact.is_known and pointer not in there
        }

    def _leaves(self, tree: Tree) -> Iterator[tuple[str, Fact]]:
        searched = {"sources": self.searched}
        for pointer, fact in leaves(tree, standard=self.standard, file=self.file):
            has_sources = bool(fact.sources)
            yield pointer, fact if has_sources else fact.model_copy(update=searched)


def json_document(
    id: str, tree: Tree, *, group: str, file: str, standard: str, keep_empty: bool = False
) -> Document:
    """A document of a schema: what no record holds is left out, unless `keep_empty`."""
    kept = tree if keep_empty else pruned(tree)
    return Document(
        id=id,
        group=group,
        file=file,
        standard=standard,
        tree=kept,
        write=_json_bytes,
        asked=tree,
    )


def _json_bytes(tree: Tree) -> bytes:
    value: Any = plain(tree)
    # ASCII: letters that only look like others are seen in any editor.
    return (json.dumps(value, indent=2, ensure_ascii=True, allow_nan=False) + "\n").encode()
