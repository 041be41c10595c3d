"""Open an artefact and check it."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from stillhouse.artifacts._manifest import (
    ATTESTATIONS_NAME,
    LOCK_NAME,
    MANIFEST_NAME,
    NAMES_NAME,
    STAGED_ATTESTATIONS_NAME,
    Kind,
    Manifest,
    read_manifest,
)
from stillhouse.artifacts._merkle import MerkleTree
from stillhouse.artifacts._paths import file_sha256, resolve_inside
from stillhouse.artifacts._tables import leaf_bytes, read_rows
from stillhouse.errors import ConfigError, IntegrityError
from stillhouse.records import Record

R = TypeVar("R", bound=Record)

# Signatures come after the manifest, which they sign; `provenance` checks them. Whoever is killed
# while signing, or right after a manifest, leaves the last three, which nothing reads.
_ALWAYS_ALLOWED = {
    MANIFEST_NAME,
    ATTESTATIONS_NAME,
    STAGED_ATTESTATIONS_NAME,
    LOCK_NAME,
    NAMES_NAME,
}


@dataclass(frozen=True)
class Artifact:
    """A complete artefact on disk."""

    path: Path
    manifest: Manifest

    @cached_property
    def manifest_sha256(self) -> str:
        """What a child records of this parent."""
        return hashlib.sha256((self.path / MANIFEST_NAME).read_bytes()).hexdigest()

    def file(self, name: str) -> Path:
        """The path of a listed file.

        Raises:
            IntegrityError: the manifest does not list it.
        """
        if all(entry.name != name for entry in self.manifest.files):
            raise IntegrityError(f"{self.path} has no file {name!r} in its manifest.")
        return self.path / name

    def rows(self, stem: str, record_type: type[R]) -> Iterator[R]:
        """All rows of the Parquet files `{stem}-*.parquet`, in order."""
        for entry in self.manifest.files:
            if entry.rows is not None and entry.name.startswith(f"{stem}-"):
                yield from read_rows(self.path / entry.name, record_type)


def open_artifact(path: Path, *, kind: Kind | None = None) -> Artifact:
    """Open a complete artefact and check all that costs no full read.

    Args:
        path: The artefact's folder.
        kind: What the caller needs; any kind when None.

    Raises:
        IntegrityError: it is not an artefact, or a listed file is missing, a symbolic link or of
            another size.
        ConfigError: it is of another kind.
    """
    manifest = read_manifest(path)
    if kind is not None and manifest.kind != kind:
        raise ConfigError(
            f"{path} is a {manifest.kind} artefact; this step needs {kind}. Give the other folder."
        )
    for entry in manifest.files:
        data_file = resolve_inside(path, entry.name, where=str(path / MANIFEST_NAME))
        if not data_file.is_file():
            raise IntegrityError(
                f"{data_file} is missing or not a regular file; the manifest lists it. "
                "Restore it or run the stage again."
            )
        size = data_file.stat().st_size
        if size != entry.bytes:
            what = "truncated" if size < entry.bytes else "longer than it was"
            raise IntegrityError(
                f"{data_file} is {what}: {size} bytes, the manifest says {entry.bytes}. "
                "Restore it or run the stage again."
            )
    return Artifact(path=path, manifest=manifest)


def check_files(artifact: Artifact) -> None:
    """Compare every listed file's SHA-256, and refuse files that are not listed.

    Raises:
        IntegrityError: a file changed, or one was added.
    """
    for entry in artifact.manifest.files:
        data_file = artifact.path / entry.name
        try:
            digest = file_sha256(data_file)
        except OSError as err:
            raise IntegrityError(
                f"{data_file} cannot be read ({err.strerror}). Check its rights and the disk."
            ) from err
        if digest != entry.sha256:
            raise IntegrityError(
                f"{data_file} has changed: its SHA-256 is not the one in the manifest. "
                "Restore it or run the stage again."
            )
    listed = {entry.name for entry in artifact.manifest.files} | _ALWAYS_ALLOWED
    for found in _entries(artifact.path):
        name = found.relative_to(artifact.path).as_posix()
        if found.is_symlink():
            raise IntegrityError(f"{found} is a symbolic link; an artefact holds none. Remove it.")
        if name not in listed:
            raise IntegrityError(f"{found} is not in the manifest: it was added later. Remove it.")


def _entries(folder: Path) -> list[Path]:
    """All that is under a folder but folders; links are not followed.

    What goes meanwhile is left out: a signer removes `.work/` when it is done.
    """

    def fail_unless_gone(err: OSError) -> None:
        if not isinstance(err, FileNotFoundError):
            raise IntegrityError(
                f"{err.filename} cannot be read ({err.strerror}). Check its rights and the disk."
            ) from err

    found = []
    for parent, folders, names in os.walk(folder, onerror=fail_unless_gone):
        inside = [Path(parent) / name for name in folders]
        found += [path for path in inside if path.is_symlink()]
        found += [Path(parent) / name for name in names]
    return sorted(found)


def check_rows_root(artifact: Artifact) -> None:
    """Recompute the Merkle root over all rows.

    Raises:
        IntegrityError: the rows give another root, or another number of rows.
    """
    tree = MerkleTree()
    has_rows = False
    for entry in artifact.manifest.files:
        if entry.rows is None:
            continue
        has_rows = True
        before = tree.num_leaves
        for leaf in leaf_bytes(artifact.path / entry.name):
            tree.append(leaf)
        if tree.num_leaves - before != entry.rows:
            raise IntegrityError(
                f"{artifact.path / entry.name} holds {tree.num_leaves - before} rows, "
                f"the manifest says {entry.rows}. Run the stage again."
            )
    root = tree.root() if has_rows else None
    if root != artifact.manifest.rows_root:
        raise IntegrityError(
            f"{artifact.path}: the rows give another Merkle root than the manifest's rows_root. "
            "Run the stage again."
        )
