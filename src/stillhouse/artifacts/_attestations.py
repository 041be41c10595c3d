"""The one file of an artefact that comes after its manifest: signatures of it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stillhouse.artifacts._lock import FolderLock
from stillhouse.artifacts._manifest import (
    ATTESTATIONS_NAME,
    LOCK_NAME,
    STAGED_ATTESTATIONS_NAME,
    WORK_NAME,
)
from stillhouse.artifacts._paths import sync_folder


@contextmanager
def hold_artifact(path: Path) -> Iterator[None]:
    """Hold the lock of stages on a finished artefact, and leave nothing of it behind.

    Raises:
        FolderBusyError: another process writes the folder.
    """
    lock, work = None, path / WORK_NAME
    while lock is None:
        # Whoever is done meanwhile removes the folder of the lock; `exist_ok` would look for it
        # once more, and raise.
        try:
            work.mkdir()
        except FileExistsError:
            if work.is_symlink() and not work.exists():  # there and not there for ever
                raise
        with suppress(FileNotFoundError):
            lock = FolderLock(path / LOCK_NAME, owner=path)
    try:
        yield
    finally:
        lock.remove()
        with suppress(OSError):  # a stage that was killed after its manifest leaves a file there
            work.rmdir()


def write_attestations(path: Path, data: bytes) -> None:
    """Replace the signatures of an artefact that `hold_artifact` holds, whole or not at all.

    They are written under `.work/`, so that whoever verifies the artefact meanwhile, or after a
    kill, finds no file that does not belong there.
    """
    staged = path / STAGED_ATTESTATIONS_NAME
    with staged.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    staged.replace(path / ATTESTATIONS_NAME)
    sync_folder(path)
