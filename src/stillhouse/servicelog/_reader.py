"""The rows of a log, whatever became of the processes that wrote it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from pydantic import TypeAdapter, ValidationError

from stillhouse.errors import ConfigError, DataError
from stillhouse.servicelog._file import PREFIX, SUFFIX
from stillhouse.servicelog._rows import SCHEMA_VERSION, AuditRow, LogRow, RequestRow

_ROWS: TypeAdapter[RequestRow | AuditRow] = TypeAdapter(LogRow)


@dataclass
class LogRows:
    """The rows of all files, in the order in which the files were begun.

    Iterate it as often as wanted; the counts are those of the last whole iteration. A log that is
    being written is read as far as it went when it was opened.

    Attributes:
        folder: Of the log.
        files: With their sizes then.
        num_rows: Rows that were read.
        num_torn: Last lines without an end: their process was killed, or is writing them.
        num_damaged: Other lines that are no rows.
    """

    folder: Path
    files: tuple[tuple[Path, int], ...]
    num_rows: int = field(default=0, init=False)
    num_torn: int = field(default=0, init=False)
    num_damaged: int = field(default=0, init=False)

    def __iter__(self) -> Iterator[RequestRow | AuditRow]:
        self.num_rows = self.num_torn = self.num_damaged = 0
        for path, size in self.files:
            yield from self._rows_of(path, size)

    def _rows_of(self, path: Path, size: int) -> Iterator[RequestRow | AuditRow]:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                size -= len(line)
                if size < 0 or not line.endswith(b"\n"):
                    self.num_torn += 1
                    return
                if (row := self._row(line, f"{path}, line {number}")) is not None:
                    self.num_rows += 1
                    yield row

    def _row(self, line: bytes, where: str) -> RequestRow | AuditRow | None:
        try:
            value = orjson.loads(line)
            if isinstance(value, dict) and value.get("v", 0) > SCHEMA_VERSION:
                raise DataError(
                    f"{where} has version {value['v']}, and this stillhouse reads up to "
                    f"{SCHEMA_VERSION}. Install a newer one."
                )
            return _ROWS.validate_json(line)
        except (orjson.JSONDecodeError, ValidationError, TypeError):
            self.num_damaged += 1
            return None


def read_log(folder: Path) -> LogRows:
    """The log in a folder.

    Raises:
        ConfigError: there is none.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder. Give the one that serve --log was given.")
    files = sorted(path for path in folder.glob(f"{PREFIX}*{SUFFIX}") if path.is_file())
    if not files:
        raise ConfigError(
            f"{folder} holds no log of requests ({PREFIX}*{SUFFIX}). Give the folder that serve "
            "--log was given."
        )
    return LogRows(folder, tuple((path, path.stat().st_size) for path in files))
