"""All artefacts under some folders, and which was made from which."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stillhouse.artifacts import Artifact, read_manifest
from stillhouse.errors import ConfigError, IntegrityError

_MANIFEST = "manifest.json"
_WORK = ".work"
NEW_SUFFIX = ".forgetting"
"""Of the folder beside an artefact in which it is made again; it is no artefact of its own."""


@dataclass
class Shelf:
    """Artefacts, parents before children.

    Attributes:
        nodes: Each once.
        parents: By the number of a node, those of its parents that are here. A parent is found by
            the hash of its manifest, wherever it is; else by its place, where it was made again.
        stale: Nodes of which a parent is here, but was made again since.
        missing: By number, the parents that are not here, as the manifest names them.
        copies: By number, the node that this one is a copy of.
        unreadable: Folders with a manifest that cannot be read, and why.
    """

    nodes: list[Artifact] = field(default_factory=list)
    parents: dict[int, list[int]] = field(default_factory=dict)
    stale: set[int] = field(default_factory=set)
    missing: dict[int, list[str]] = field(default_factory=dict)
    copies: dict[int, int] = field(default_factory=dict)
    unreadable: list[tuple[Path, str]] = field(default_factory=list)

    def descendants(self, numbers: set[int]) -> set[int]:
        """What was made from these, directly or not, without them."""
        found: set[int] = set()
        for number in range(len(self.nodes)):  # parents come first
            if any(one in numbers or one in found for one in self.parents[number]):
                found.add(number)
        return found - numbers

    def ancestors(self, number: int) -> set[int]:
        """What a node was made from, directly or not."""
        found: set[int] = set()
        waiting = [*self.parents[number]]
        while waiting:
            one = waiting.pop()
            if one not in found:
                found.add(one)
                waiting += self.parents[one]
        return found


def open_shelf(roots: Sequence[Path]) -> Shelf:
    """Every artefact under `roots`; folders are not followed through symbolic links.

    Raises:
        ConfigError: a root is no folder, or there is no artefact at all.
        IntegrityError: parents form a cycle.
    """
    shelf = Shelf()
    found: dict[Path, Artifact] = {}
    for root in roots:
        if not root.is_dir():
            raise ConfigError(f"{root} is no folder. Give folders that hold artefacts.")
        for folder in _folders(root.resolve()):
            try:
                found[folder] = Artifact(path=folder, manifest=read_manifest(folder))
            except IntegrityError as err:
                shelf.unreadable.append((folder, str(err)))
    if not found:
        raise ConfigError(
            f"There is no artefact under {', '.join(map(str, roots))}. Give the folders that hold "
            "your runs."
        )
    _link(shelf, found)
    return shelf


def _folders(root: Path) -> Iterator[Path]:
    for folder, inside, files in os.walk(root):
        inside[:] = sorted(
            name for name in inside if name != _WORK and not name.endswith(NEW_SUFFIX)
        )
        if _MANIFEST in files:
            yield Path(folder)


def _link(shelf: Shelf, found: dict[Path, Artifact]) -> None:
    originals = _originals(found)
    parents: dict[Path, list[Path]] = {}
    for folder, node in found.items():
        parents[folder] = []
        for reference in node.manifest.parents:
            place = Path(os.path.normpath(folder / reference.path))
            at_place = found.get(place)
            if at_place is not None and at_place.manifest_sha256 == reference.sha256:
                parents[folder].append(place)
            elif reference.sha256 in originals:
                parents[folder].append(originals[reference.sha256])
            elif at_place is not None:
                parents[folder].append(place)
    order = _parents_first(parents)
    numbers = {folder: number for number, folder in enumerate(order)}
    for number, folder in enumerate(order):
        node = found[folder]
        shelf.nodes.append(node)
        shelf.parents[number] = [numbers[parent] for parent in parents[folder]]
        hashes = {found[parent].manifest_sha256 for parent in parents[folder]}
        unknown = [one for one in node.manifest.parents if one.sha256 not in hashes]
        if any(Path(os.path.normpath(folder / one.path)) in found for one in unknown):
            shelf.stale.add(number)
        absent = [
            one.path for one in unknown if Path(os.path.normpath(folder / one.path)) not in found
        ]
        if absent:
            shelf.missing[number] = absent
    for number, folder in enumerate(order):
        original = originals[found[folder].manifest_sha256]
        if original != folder:
            shelf.copies[number] = numbers[original]


def _originals(found: dict[Path, Artifact]) -> dict[str, Path]:
    """By hash of the manifest, the folder from which parents can be reached; else the first."""
    originals: dict[str, Path] = {}
    for folder in sorted(found, key=lambda one: (not _reaches_parents(one, found), str(one))):
        originals.setdefault(found[folder].manifest_sha256, folder)
    return originals


def _reaches_parents(folder: Path, found: dict[Path, Artifact]) -> bool:
    return all(
        Path(os.path.normpath(folder / reference.path)).is_dir()
        for reference in found[folder].manifest.parents
    )


def _parents_first(parents: dict[Path, list[Path]]) -> list[Path]:
    done: dict[Path, None] = {}
    waiting = sorted(parents)
    while waiting:
        ready = [folder for folder in waiting if all(one in done for one in parents[folder])]
        if not ready:
            raise IntegrityError(
                f"The parents of {waiting[0]} form a cycle with {len(waiting) - 1} other "
                "artefacts. Stillhouse writes none; do not use these folders."
            )
        done.update(dict.fromkeys(ready))
        waiting = [folder for folder in waiting if folder not in done]
    return list(done)
