"""What an import reads: a file of another tool, a ledger of ours, or the log of a server."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from stillhouse.artifacts import file_sha256
from stillhouse.collect._imports._ledger import RECORDED
from stillhouse.collect._imports._served import ServedOrigin
from stillhouse.collect._imports._source import Row, check_source, read_source
from stillhouse.errors import DataError
from stillhouse.runlog import Ledger

_LEDGER_SUFFIX = ".sqlite"
_SQLITE_MAGIC = b"SQLite format 3\0"


class Origin(Protocol):
    """Rows, and what is known of them all.

    Attributes:
        path: Where they are.
        sha256: Of the content, whatever it is called.
        made_utc: When it was made, for rows that do not say.
    """

    path: Path
    sha256: str
    made_utc: datetime

    def rows(self) -> Iterator[Row]:
        """The rows, from the first one."""
        ...

    def check_unchanged(self) -> None:
        """Refuse what is not as it was when it was opened.

        Raises:
            DataError: it changed.
        """
        ...


@contextmanager
def open_origin(path: Path, *, counts_unchecked: bool = False) -> Iterator[Origin]:
    """What is at `path`: a log in a folder, a ledger where its suffix or first bytes say so.

    Args:
        path: A file, or a folder.
        counts_unchecked: Of a log: whether what the student answered counts like a teacher's
            answer.

    Raises:
        ConfigError: it is missing, or of no type that is known.
        DataError: it changes while it is looked at, or is no ledger.
    """
    if path.is_dir():
        yield ServedOrigin(path, counts_unchecked=counts_unchecked)
    elif path.is_file() and (path.suffix == _LEDGER_SUFFIX or _begins_as_sqlite(path)):
        with Ledger(path) as ledger:
            yield LedgerOrigin(path, ledger)
    else:
        yield FileOrigin(path)


class FileOrigin:
    """An export in a file."""

    def __init__(self, path: Path) -> None:
        check_source(path)
        self.path = path
        self._before = path.stat()
        self.made_utc = datetime.fromtimestamp(self._before.st_mtime, UTC)
        self.sha256 = file_sha256(path)

    def rows(self) -> Iterator[Row]:
        """The rows, from the first one."""
        return read_source(self.path)

    def check_unchanged(self) -> None:
        """Refuse a file that was written since."""
        before, after = self._before, self.path.stat()
        if (after.st_mtime_ns, after.st_size) != (before.st_mtime_ns, before.st_size):
            raise DataError(f"{self.path} changed while it was read. Import it again.")


class LedgerOrigin:
    """What a ledger holds at this moment; others may go on writing it."""

    def __init__(self, path: Path, ledger: Ledger) -> None:
        self.path = path
        self._ledger = ledger
        self._last, self.sha256 = ledger.extent()
        self.made_utc = datetime.now(UTC)  # every row says when it was recorded

    def rows(self) -> Iterator[Row]:
        """The answered calls, in the order of recording."""
        for recorded in self._ledger.recorded(up_to=self._last):
            yield Row(f"request {recorded.request.id[:16]}", {RECORDED: recorded})

    def check_unchanged(self) -> None:
        """What is recorded once stays."""


def _begins_as_sqlite(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(_SQLITE_MAGIC)) == _SQLITE_MAGIC
