"""Rows that a person wrote, from JSON lines, CSV or Parquet, each with where it stands."""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from stillhouse.errors import ConfigError, RecordError
from stillhouse.settings._cells import large_cells

_UTF8_BOM = b"\xef\xbb\xbf"


class TableRow(NamedTuple):
    """A row of a file.

    Attributes:
        where: Where it stands, for messages.
        value: What it says; text in every column of CSV, nulls left out of Parquet.
        end: The place after it, for `iterate_rows`: a byte of JSON lines, a row elsewhere.
    """

    where: str
    value: Any
    end: int


def iterate_rows(path: Path, *, num_before: int = 0, start: int = 0) -> Iterator[TableRow]:
    """The rows of a file one by one. JSON lines are split at newlines only.

    Args:
        path: `.jsonl`, `.csv` or `.parquet`.
        num_before: Rows that stand before `start`.
        start: The `end` of the last of them.

    Raises:
        ConfigError: the file is missing or of another type.
        RecordError: a row cannot be read; the message names file and line.
    """
    if path.suffix not in _READERS:
        raise ConfigError(
            f"{path}: rows are read from {', '.join(_READERS)}. Give a file of one of these."
        )
    if not path.is_file():
        raise ConfigError(f"The file {path} does not exist. Check the path.")
    yield from _READERS[path.suffix](path, num_before, start)


def _jsonl_rows(path: Path, num_before: int, start: int) -> Iterator[TableRow]:
    end = start
    with path.open("rb") as stream:
        stream.seek(start)
        for number, line in enumerate(stream, start=num_before + 1):  # broken at newlines only
            end += len(line)
            if end == len(line):
                line = line.removeprefix(_UTF8_BOM)
            if line.strip():
                yield TableRow(f"line {number}", _json_of(path, number, line), end)


def _json_of(path: Path, number: int, line: bytes) -> Any:
    try:
        line.decode("utf-8")
        return orjson.loads(line)
    except UnicodeDecodeError as err:
        raise RecordError(
            f"{path}, line {number} is not valid UTF-8 (byte {err.start + 1} of the line). "
            "Save the file as UTF-8."
        ) from err
    except orjson.JSONDecodeError as err:
        raise RecordError(
            f"{path}, line {number} is not JSON that UTF-8 can carry ({err}). "
            "Write one object per line, without lone surrogates."
        ) from err


def _csv_rows(path: Path, num_before: int, start: int) -> Iterator[TableRow]:
    try:
        with large_cells(), path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            for number, row in enumerate(reader, start=1):
                if number <= start:
                    continue
                where = f"line {reader.line_num}"
                if None in row or None in row.values():
                    raise RecordError(
                        f"{path}, {where}: not as many cells as the first line has names. "
                        "Quote cells that hold commas."
                    )
                yield TableRow(where, row, number)
    except UnicodeDecodeError as err:
        raise RecordError(f"{path} is not valid UTF-8 ({err.reason}). Save it as UTF-8.") from err
    except csv.Error as err:
        raise RecordError(
            f"{path} is not CSV that can be read ({err}). Write it as JSON lines instead."
        ) from err


def _parquet_rows(path: Path, num_before: int, start: int) -> Iterator[TableRow]:
    # Settings are read by commands that open no table, and Arrow takes a while to import.
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as parquet:
            for batch in parquet.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    if number <= start:
                        continue
                    given = {name: value for name, value in row.items() if value is not None}
                    yield TableRow(f"row {number}", given, number)
    except (pa.ArrowInvalid, pa.ArrowIOError, UnicodeDecodeError) as err:
        raise RecordError(f"{path} is not a readable Parquet file ({err}).") from err


_READERS: dict[str, Callable[[Path, int, int], Iterator[TableRow]]] = {
    ".jsonl": _jsonl_rows,
    ".csv": _csv_rows,
    ".parquet": _parquet_rows,
}
ROW_SUFFIXES = tuple(_READERS)
"""What files of rows are called."""
