"""One file of a log: whole lines at its end, or none."""

import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

PREFIX, SUFFIX = "requests-", ".jsonl"
_MODE = 0o600  # it holds what people asked


class LogFile:
    """A new file, to which lines are appended.

    Its name sorts by the time at which it was begun, and no other process makes it.

    Args:
        folder: Where it is made.
        writer: Who writes it, a name that no other process has.
        number: Which of the writer's files it is.

    Attributes:
        path: Where it is.
        size: Bytes of whole lines.
        day: The UTC day on which it was begun.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, folder: Path, writer: str, number: int) -> None:
        now = datetime.now(UTC)
        self.day = now.date()
        self.path = folder / f"{PREFIX}{now:%Y%m%dT%H%M%S}Z-{writer}-{number:04d}{SUFFIX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        self._descriptor = os.open(self.path, flags, _MODE)
        self.size = 0
        self._num_unsynced = 0

    @property
    def is_synced(self) -> bool:
        """Whether all of it is on the disk."""
        return not self._num_unsynced

    def append(self, lines: bytes) -> None:
        """Write whole lines; after an error none of them is there.

        Raises:
            OSError: they cannot be written.
        """
        rest = memoryview(lines)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            # What was written of them would be half a line before the next one.
            with suppress(OSError):
                os.ftruncate(self._descriptor, self.size)
            raise
        self.size += len(lines)
        self._num_unsynced += len(lines)

    def sync(self) -> None:
        """Wait until all of it is on the disk.

        Raises:
            OSError: the disk reports that it is not.
        """
        if self._num_unsynced:
            os.fsync(self._descriptor)
            self._num_unsynced = 0

    def close(self) -> None:
        """End it, whatever the disk says; a file without a line is removed."""
        with suppress(OSError):
            self.sync()
        with suppress(OSError):
            os.close(self._descriptor)
        if not self.size:
            with suppress(OSError):
                self.path.unlink()
