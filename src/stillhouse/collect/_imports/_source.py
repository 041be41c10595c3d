"""The rows of an export of any size, one at a time: JSON lines, a JSON document, CSV."""

import codecs
import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from stillhouse.collect._imports._exchange import BadRowError
from stillhouse.errors import ConfigError, DataError
from stillhouse.settings import MAX_CELL_CHARS, large_cells

_CHUNK_BYTES = 1 << 20
_WRAPPERS = ("data", "results", "observations", "items", "rows")
"""Where a document keeps its rows, if it is not itself a list of them."""
_UTF8_BOM = b"\xef\xbb\xbf"
_SPACE = " \t\r\n"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file.

    Attributes:
        where: Its place, as a user finds it.
        value: What it says, or why it cannot be read.
    """

    where: str
    value: dict[str, Any] | BadRowError


def check_source(path: Path) -> None:
    """Refuse what no rows can be read from.

    Raises:
        ConfigError: the file is missing or of another type.
    """
    if path.suffix not in _READERS:
        raise ConfigError(
            f"{path}: exports are read from {', '.join(_READERS)}. Give a file of one of these."
        )
    if not path.is_file():
        raise ConfigError(f"The export {path} does not exist. Check the path.")


def read_source(path: Path) -> Iterator[Row]:
    """The rows of `path`, whose suffix says how they are written.

    Raises:
        DataError: it breaks off, or is not what its suffix says, so that no further row is found.
    """
    return _READERS[path.suffix](path)


def _jsonl_rows(path: Path) -> Iterator[Row]:
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            text = line.removeprefix(_UTF8_BOM) if number == 1 else line
            if not text.strip():
                continue
            where = f"line {number}"
            try:
                value = orjson.loads(text)
            except orjson.JSONDecodeError as err:
                yield Row(where, BadRowError("not_json", f"not JSON in UTF-8 ({err})"))
                continue
            # A page of an API's list, saved as it came.
            is_page = isinstance(value, dict) and value.get("object") == "list"
            for item in value.get("data") or () if is_page else (value,):
                yield _row(where, item)


def _row(where: str, value: Any) -> Row:
    if isinstance(value, dict):
        return Row(where, value)
    problem = f"a {type(value).__name__}, not an object with fields"
    return Row(where, BadRowError("not_an_object", problem))


def _csv_rows(path: Path) -> Iterator[Row]:
    try:
        with large_cells(), path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            for row in reader:
                where = f"line {reader.line_num}"
                if None in row or None in row.values():
                    problem = "not as many cells as the first line has names"
                    yield Row(where, BadRowError("cells", problem))
                else:
                    # An empty cell is a field that was not given.
                    yield Row(where, {name: cell for name, cell in row.items() if cell})
    except UnicodeDecodeError as err:
        raise DataError(f"{path} is not valid UTF-8 ({err.reason}). Save it as UTF-8.") from err
    except csv.Error as err:
        raise DataError(f"{path} is not CSV that can be read ({err}). Export it as JSON.") from err


def _json_rows(path: Path) -> Iterator[Row]:
    with path.open("rb") as stream:
        text = _Text(path, stream)
        try:
            while text.peek():
                for value in _rows_of_value(text):
                    yield _row(f"row {text.count()}", value)
        except UnicodeDecodeError as err:
            raise DataError(f"{path} is not valid UTF-8 ({err.reason}). Save it as UTF-8.") from err


def _rows_of_value(text: "_Text") -> Iterator[Any]:
    """The rows in the next value: those of a list, of a list inside of an object, or itself."""
    if text.peek() == "[":
        yield from text.elements()
    elif text.peek() == "{":
        yield from _rows_of_object(text)
    else:
        yield text.value()


def _rows_of_object(text: "_Text") -> Iterator[Any]:
    fields: dict[str, Any] = {}
    has_rows = False
    text.take("{")
    while text.peek() != "}":
        name = text.value()
        text.take(":")
        if name in _WRAPPERS and text.peek() in ("[", "{") and not has_rows:
            has_rows = True
            yield from text.elements() if text.peek() == "[" else _rows_of_object(text)
        elif has_rows:
            text.value()  # what follows the rows, such as the totals of an eval
        else:
            fields[name] = text.value()
        if text.peek() != "}":
            text.take(",")
    text.take("}")
    if not has_rows and fields:
        yield fields


_READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": _jsonl_rows,
    ".ndjson": _jsonl_rows,
    ".json": _json_rows,
    ".csv": _csv_rows,
}


class _Text:
    """JSON text that is read piece by piece, and never held whole."""

    def __init__(self, path: Path, stream: Any) -> None:
        self._path = path
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._parse = json.JSONDecoder().raw_decode
        self._held = ""
        self._at = 0
        self._is_ended = False
        self._count = 0

    def count(self) -> int:
        """The number of rows so far, one more with each call."""
        self._count += 1
        return self._count

    def peek(self) -> str:
        """The next character that is not space; empty at the end."""
        while True:
            while self._at < len(self._held):
                if self._held[self._at] not in _SPACE:
                    return self._held[self._at]
                self._at += 1
            if not self._read(_CHUNK_BYTES):
                return ""

    def take(self, char: str) -> None:
        """Step over `char`, which has to come next."""
        if self.peek() != char:
            raise self._damaged(f"{char!r} is missing")
        self._at += 1

    def elements(self) -> Iterator[Any]:
        """The elements of the list that comes next."""
        self.take("[")
        while self.peek() != "]":
            yield self.value()
            if self.peek() != "]":
                self.take(",")
        self.take("]")

    def value(self) -> Any:
        """The next value, read whole."""
        self.peek()
        wanted = _CHUNK_BYTES
        while True:
            try:
                value, end = self._parse(self._held, self._at)
            except (json.JSONDecodeError, RecursionError) as err:
                if len(self._held) - self._at > MAX_CELL_CHARS or not self._read(wanted):
                    raise self._damaged(str(err)) from err
                wanted *= 2  # so that a long row is not parsed from its start for every chunk
                continue
            # A number may go on in the next chunk.
            if end == len(self._held) and self._read(_CHUNK_BYTES):
                continue
            self._at = end
            return value

    def _read(self, num_bytes: int) -> bool:
        if self._is_ended:
            return False
        chunk = self._stream.read(num_bytes)
        self._is_ended = not chunk
        self._held = self._held[self._at :] + self._decoder.decode(chunk, final=not chunk)
        self._at = 0
        return True

    def _damaged(self, problem: str) -> DataError:
        after = f"after row {self._count}" if self._count else "at its start"
        return DataError(f"{self._path} is not whole JSON {after} ({problem}). Export it again.")
