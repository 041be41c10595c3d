"""Metrics as JSON lines, one object a step, split at newlines only."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from stillhouse.errors import IntegrityError


class MetricsLog:
    """Appends `{"step": n, "stage/what_unit": value}` lines.

    Resuming at a step drops the lines at and after it, so a log has each step once.

    Raises:
        IntegrityError: a whole line of the log to resume is not a JSON object with a step.
    """

    def __init__(self, path: Path, *, resume_at_step: int = 0) -> None:
        kept = [
            line
            for number, line in enumerate(_whole_lines(path), start=1)
            if _step(path, number, line) < resume_at_step
        ]
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_bytes(b"".join(line + b"\n" for line in kept))
        temporary.replace(path)
        self._path = path
        self._stream = path.open("ab")

    def append(self, step: int, values: dict[str, Any]) -> None:
        """Write one line and hand it to the operating system.

        Raises:
            OSError: it cannot be written; the disk may be full.
        """
        with _naming(self._path):
            self._stream.write(orjson.dumps({"step": step, **values}) + b"\n")
            self._stream.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with _naming(self._path), self._stream:
            self._stream.flush()
            os.fsync(self._stream.fileno())


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Have the errors of an open file say which it is: they do not by themselves."""
    try:
        yield
    except OSError as err:
        raise OSError(err.errno, err.strerror, str(path)) from err


def read_metrics(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a metrics log.

    Raises:
        IntegrityError: a line is not a JSON object.
    """
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line:
            continue
        yield _parse(path, number, line)


def _parse(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        values = orjson.loads(line)
    except orjson.JSONDecodeError as err:
        raise IntegrityError(f"{path}, line {number} is not JSON ({err}).") from err
    if not isinstance(values, dict):
        raise IntegrityError(f"{path}, line {number} is not a JSON object.")
    return values


def _step(path: Path, number: int, line: bytes) -> int:
    step = _parse(path, number, line).get("step")
    if not isinstance(step, int):
        raise IntegrityError(f"{path}, line {number} has no whole number as its step.")
    return step


def _whole_lines(path: Path) -> list[bytes]:
    if not path.exists():
        return []
    # A killed process may leave a last line without its newline: it is dropped.
    return [line for line in path.read_bytes().split(b"\n")[:-1] if line]
