"""One writer per artefact folder."""

import os
import sys
from pathlib import Path
from typing import IO

from stillhouse.errors import ConfigError


class FolderLock:
    """An advisory lock on a file, held until `release` or the end of the process.

    Raises:
        ConfigError: another process holds it.
    """

    def __init__(self, path: Path, *, owner: Path) -> None:
        self._path = path
        self._stream = _lock_file(path, owner)
        # Whoever finished meanwhile unlinked the file that was opened: take the one of that name.
        while not _is_same_file(self._stream, path):
            self._stream.close()
            self._stream = _lock_file(path, owner)

    def release(self) -> None:
        """Let another process in."""
        self._stream.close()

    def remove(self) -> None:
        """Release and leave no file behind."""
        if sys.platform == "win32":  # pragma: no cover - an open file cannot be removed there
            self._stream.close()
        self._path.unlink(missing_ok=True)
        self._stream.close()


def _lock_file(path: Path, owner: Path) -> IO[bytes]:
    stream = path.open("ab")
    if sys.platform != "win32":
        import fcntl

        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            stream.close()
            raise ConfigError(
                f"Another stillhouse process is writing {owner}. Wait for it, or give another "
                "--out."
            ) from err
    return stream


def _is_same_file(stream: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False
