"""The Merkle tree over an artefact's rows, kept in the user's cache where it is large.

The file is named by the root and holds nothing but the levels. It is never trusted: a path that is
read from it counts only where it gives the root that the manifest has.
"""

import logging
import mmap
from collections.abc import Iterator
from pathlib import Path

from stillhouse.artifacts import (
    Artifact,
    atomic_write_bytes,
    cache_dir,
    inclusion_path,
    leaf_bytes,
    levels_size,
    merkle_levels,
    num_rows,
    root_of_path,
)
from stillhouse.errors import IntegrityError

logger = logging.getLogger(__name__)

_KEPT_FROM_ROWS = 20_000  # below, a tree is made in the time that a command takes to start
_HASH_BYTES = 32


class RowTree:
    """Gives inclusion paths of the rows of one artefact.

    Attributes:
        size: Number of leaves.

    Raises:
        IntegrityError: the rows do not give the root that the manifest has.
    """

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact
        self.size = num_rows(artifact)
        self._levels = memoryview(b"")
        self._is_kept = False
        kept = self._kept()
        if kept is None:
            self._make()
        else:
            self._levels, self._is_kept = kept, True

    def path(self, index: int, leaf: bytes) -> list[bytes]:
        """The path of a row from the hash of its leaf upwards.

        Raises:
            IntegrityError: the row is not the one that the manifest's root was made of.
        """
        path = inclusion_path(self._levels, self.size, index)
        if self._gives_root(leaf, path, index):
            return path
        if self._is_kept:  # what was kept is damaged, or the row is
            self._make()
            path = inclusion_path(self._levels, self.size, index)
            if self._gives_root(leaf, path, index):
                return path
        raise _other_root(self._artifact)

    def _gives_root(self, leaf: bytes, path: list[bytes], index: int) -> bool:
        return root_of_path(leaf, path, self.size, index) == self._artifact.manifest.rows_root

    def _make(self) -> None:
        self._levels, self._is_kept = memoryview(merkle_levels(_leaves(self._artifact))), False
        is_sound = len(self._levels) == levels_size(self.size)
        root = bytes(self._levels[-_HASH_BYTES:]).hex()
        if not is_sound or root != self._artifact.manifest.rows_root:
            raise _other_root(self._artifact)
        if self.size >= _KEPT_FROM_ROWS:
            try:
                self._file().parent.mkdir(parents=True, exist_ok=True)
                atomic_write_bytes(self._file(), bytes(self._levels))
            except OSError as err:
                logger.info("The tree is not kept for the next proof: %s", err)

    def _kept(self) -> memoryview | None:
        """The levels that an earlier proof left, if they have the right size."""
        if self.size < _KEPT_FROM_ROWS:
            return None
        try:
            with self._file().open("rb") as stream:
                found = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
        except (OSError, ValueError):  # none, or an empty file
            return None
        return found if len(found) == levels_size(self.size) else None

    def _file(self) -> Path:
        return cache_dir() / "trees" / f"{self._artifact.manifest.rows_root}.levels"


def _leaves(artifact: Artifact) -> Iterator[bytes]:
    for entry in artifact.manifest.files:
        if entry.rows is not None:
            yield from leaf_bytes(artifact.path / entry.name)


def _other_root(artifact: Artifact) -> IntegrityError:
    return IntegrityError(
        f"{artifact.path}: the rows give another Merkle root than the manifest's rows_root, so no "
        "proof can be made. Restore it or run the stage again."
    )
