"""A document: its tree of facts, the bytes that it is written as, and what each leaf rests on."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stillhouse.documents._facts import Fact
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
    """

    id: str
    group: str
    file: str
    standard: str
    tree: Tree
    write: Callable[[Tree], bytes]

    def to_bytes(self) -> bytes:
        """The document as a file."""
        return self.write(self.tree)

    def facts(self) -> dict[str, Fact]:
        """Every leaf by its JSON pointer in the tree."""
        return dict(leaves(self.tree, standard=self.standard, file=self.file))


def json_document(
    id: str, tree: Tree, *, group: str, file: str, standard: str, keep_empty: bool = False
) -> Document:
    """A document of a schema: what no record holds is left out, unless `keep_empty`."""
    kept = tree if keep_empty else pruned(tree)
    return Document(
        id=id, group=group, file=file, standard=standard, tree=kept, write=_json_bytes
    )


def _json_bytes(tree: Tree) -> bytes:
    value: Any = plain(tree)
    # ASCII: letters that only look like others are seen in any editor.
    return (json.dumps(value, indent=2, ensure_ascii=True, allow_nan=False) + "\n").encode()
