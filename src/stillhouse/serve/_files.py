"""Whether the files that a student was loaded from are still what they were."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

_Stat = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class LoadedFiles:
    """Files as they were when a student was loaded.

    What was loaded is in memory, and is what goes on answering; who watches the server is told.

    Attributes:
        stats: Inode, bytes and time of change of each file.
    """

    stats: dict[Path, _Stat]

    @classmethod
    def of(cls, *paths: Path) -> Self | None:
        """The files in folders, and single ones; None where nothing is there."""
        files = [
            file
            for path in paths
            for file in ([path] if path.is_file() else sorted(path.rglob("*")))
            if file.is_file()
        ]
        return cls({file: _stat(file) for file in files}) if files else None

    @property
    def are_changed(self) -> bool:
        """Whether one is gone or was written since."""
        try:
            return any(_stat(file) != before for file, before in self.stats.items())
        except OSError:
            return True


@runtime_checkable
class FromFiles(Protocol):
    """An engine that may have been loaded from files."""

    @property
    def files(self) -> LoadedFiles | None:
        """Those; None where it came from elsewhere."""
        ...


def _stat(file: Path) -> _Stat:
    found = file.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
