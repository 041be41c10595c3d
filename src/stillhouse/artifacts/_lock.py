"""One writer per artefact folder."""

import os
import sys
import weakref
from pathlib import Path

from stillhouse.errors import FolderBusyError


class FolderLock:
    """An advisory lock on a file, held until `release`, the last reference or the process goes.

    Raises:
        FolderBusyError: another process holds it.
    """

    def __init__(self, path: Path, *, owner: Path) -> None:
        self._path = path
        descriptor = _lock_file(path, owner)
        # Whoever finished meanwhile unlinked the file that was opened: take the one of that name.
        while not _is_same_file(descriptor, path):
            os.close(descriptor)
            descriptor = _lock_file(path, owner)
        # A stage that fails drops its writer, and the next attempt must not find it locked.
        self._close = weakref.finalize(self, os.close, descriptor)

    def release(self) -> None:
        """Let another process in."""
        self._close()

    def remove(self) -> None:
        """Release and leave no file behind."""
        if sys.platform == "win32":  # an open file cannot be removed there
            self._close()
        self._path.unlink(missing_ok=True)
        self._close()


def _lock_file(path: Path, owner: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    if sys.platform != "win32":
        import fcntl

        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            os.close(descriptor)
            raise FolderBusyError(
                f"Another stillhouse process is writing {owner}. Wait for it, or give another "
                "--out."
            ) from err
    return descriptor


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
