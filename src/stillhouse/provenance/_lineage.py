"""The graph of an artefact and its ancestors, from manifests alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stillhouse.artifacts import Artifact, read_manifest
from stillhouse.errors import IntegrityError


@dataclass(frozen=True)
class Edge:
    """One artefact was made from another; both are indices into `Lineage.nodes`."""

    child: int
    parent: int


@dataclass(frozen=True)
class Lineage:
    """An artefact with everything it was made from.

    Attributes:
        nodes: Each artefact once, parents before children; the last is the one asked for. Their
            manifests are read, their data files are not.
        edges: In the order of the children, then of their parents lists.
    """

    nodes: tuple[Artifact, ...]
    edges: tuple[Edge, ...]


def lineage(folder: Path) -> Lineage:
    """The lineage of the artefact in `folder`.

    Raises:
        IntegrityError: it or an ancestor has no sound manifest, a parent is missing, is reached
            by a symbolic link or has another manifest than its child recorded, or the parents
            form a cycle.
    """
    root = Artifact(path=folder, manifest=read_manifest(folder))
    nodes = _parents_first(root)
    index = {node.path.resolve(): number for number, node in enumerate(nodes)}
    edges = []
    for number, node in enumerate(nodes):
        for parent, recorded in _parents(node):
            edges.append(Edge(child=number, parent=index[parent]))
            if nodes[index[parent]].manifest_sha256 != recorded:
                raise IntegrityError(
                    f"{parent}, a parent of {node.path}, is not the artefact that it was made "
                    f"from: its manifest has changed. Restore it, or make {node.path} again."
                )
    return Lineage(nodes=tuple(nodes), edges=tuple(edges))


def _parents_first(root: Artifact) -> list[Artifact]:
    """Every artefact that `root` leads to, once, each after its parents."""
    done: dict[Path, Artifact] = {}
    # A stack of our own: a lineage may be deeper than Python's recursion limit.
    open_nodes: dict[Path, tuple[Artifact, Iterator[tuple[Path, str]]]] = {
        root.path.resolve(): (root, _parents(root))
    }
    while open_nodes:
        folder, (node, waiting) = next(reversed(open_nodes.items()))
        parent = next((path for path, _ in waiting if path not in done), None)
        if parent is None:
            done[folder] = node
            del open_nodes[folder]
        elif parent in open_nodes:
            raise IntegrityError(
                f"{node.path} names {parent} as a parent, which was itself made from it: the "
                "parents form a cycle. Stillhouse writes none; do not use these folders."
            )
        else:
            found = Artifact(path=parent, manifest=read_manifest(parent))
            open_nodes[parent] = (found, _parents(found))
    return list(done.values())


def _parents(node: Artifact) -> Iterator[tuple[Path, str]]:
    """The real folder of each parent, with the hash that `node` recorded of its manifest."""
    for reference in node.manifest.parents:
        yield _parent_folder(node, reference.path), reference.sha256


def _parent_folder(node: Artifact, name: str) -> Path:
    current = node.path.resolve()
    for part in name.split("/"):
        current = current.parent if part == ".." else current / part
        if current.is_symlink():
            raise IntegrityError(
                f"{current}, on the way from {node.path} to its parent {name}, is a symbolic "
                "link. Put the real folder there."
            )
    if not current.is_dir():
        raise IntegrityError(
            f"{current}, a parent of {node.path}, is missing. Put the folder back, or make "
            f"{node.path} again."
        )
    return current
