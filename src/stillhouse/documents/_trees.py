"""A document as a tree with facts at its leaves: its plain value, and what each leaf rests on."""

from collections.abc import Iterator
from typing import Any, TypeAlias

from stillhouse.documents._facts import FIXED, Fact, Scalar, Source
from stillhouse.documents._views import escaped

Tree: TypeAlias = "dict[str, Tree] | list[Tree] | Fact | Scalar"
"""Plain strings and numbers are text of the document itself, the same for everybody."""


def pruned(tree: Tree) -> Tree:
    """The tree without values that are not recorded, and without what is then empty."""
    if isinstance(tree, dict):
        kept = {name: pruned(child) for name, child in tree.items()}
        return {name: child for name, child in kept.items() if not _is_empty(child)}
    if isinstance(tree, list):
        return [child for child in map(pruned, tree) if not _is_empty(child)]
    return tree


def plain(tree: Tree) -> Any:
    """The tree as JSON data."""
    if isinstance(tree, dict):
        return {name: plain(child) for name, child in tree.items()}
    if isinstance(tree, list):
        return [plain(child) for child in tree]
    return tree.value if isinstance(tree, Fact) else tree


def leaves(tree: Tree, *, standard: str, file: str) -> Iterator[tuple[str, Fact]]:
    """Each leaf with its JSON pointer; text of the document itself cites its `standard`."""
    for pointer, leaf in _walk(tree, ""):
        if isinstance(leaf, Fact):
            yield pointer, leaf
        else:
            source = Source(
                kind="document", record=standard, file=file, sha256=None, pointer=pointer
            )
            yield pointer, Fact(value=leaf, sources=(source,), rule=FIXED)


def _walk(tree: Tree, pointer: str) -> Iterator[tuple[str, Fact | Scalar]]:
    if isinstance(tree, dict):
        for name, child in tree.items():
            yield from _walk(child, f"{pointer}/{escaped(name)}")
    elif isinstance(tree, list):
        for index, child in enumerate(tree):
            yield from _walk(child, f"{pointer}/{index}")
    else:
        yield pointer, tree


def _is_empty(tree: Tree) -> bool:
    if isinstance(tree, Fact):
        return not tree.is_known
    return tree is None or tree == {} or tree == []
