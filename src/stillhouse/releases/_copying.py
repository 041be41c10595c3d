"""Copies of artefacts that nobody changes."""

import os
import shutil
from pathlib import Path

from stillhouse.artifacts import Artifact, check_files

_MANIFEST = "manifest.json"


def copy_artifact(artifact: Artifact, to: Path) -> None:
    """Copy what a manifest names, and it, onto the disk; the copy is read-only.

    Copied and not linked: a link would change with its original.

    Raises:
        IntegrityError: a file is not what the manifest says.
    """
    check_files(artifact)
    for name in (*(one.name for one in artifact.manifest.files), _MANIFEST):
        target = to / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(artifact.path / name, target)
        with open(target, "rb+") as file:
            os.fsync(file.fileno())
        target.chmod(0o444)
    sync_folder(to)


def sync_folder(folder: Path) -> None:
    """Have what was renamed or made in a folder outlive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, data: bytes) -> None:
    """Put a file in the place of another, at once."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)
