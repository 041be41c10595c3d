"""The rows of an access log, and a count of every line that is none."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from pydantic import ValidationError

from stillhouse.errors import ConfigError, DataError, TooManyFailuresError
from stillhouse.traffic._rows import SCHEMA_VERSION, AccessRow

_NUM_NAMED = 5
_SUFFIX = ".jsonl"
_LONGEST_LINE = 8 << 20


@dataclass
class AccessLog:
    """The rows of a file, or of the files of a folder in the order of their names.

    Iterate it as often as wanted; counts are those of the last whole iteration. Every line is
    counted once.

    Attributes:
        files: JSON lines.
        num_rows: Rows that were given.
        num_malformed: Lines that are no rows, an unfinished last line among them.
        num_repeated: Rows whose id was there before.
        malformed: Where the first of them are, and what is wrong.
    """

    files: tuple[Path, ...]
    num_rows: int = field(default=0, init=False)
    num_malformed: int = field(default=0, init=False)
    num_repeated: int = field(default=0, init=False)
    malformed: list[str] = field(default_factory=list, init=False)

    def __iter__(self) -> Iterator[AccessRow]:
        self.num_rows = self.num_malformed = self.num_repeated = 0
        self.malformed = []
        seen: set[int] = set()
        for path in self.files:
            with path.open("rb") as stream:
                number = 0
                while line := stream.readline(_LONGEST_LINE):
                    number += 1
                    row = self._row(line, f"{path}, line {number}")
                    if row is None:
                        self._pass_rest(line, stream)
                    elif (known := hash(row.id)) in seen:
                        self.num_repeated += 1
                    else:
                        # 8 bytes for an id; two of a million ids collide once in 10**7 logs.
                        seen.add(known)
                        self.num_rows += 1
                        yield row

    def check(self, max_malformed_fraction: float) -> None:
        """Refuse a log of which too much cannot be read.

        Raises:
            DataError: it has no row.
            TooManyFailuresError: more lines are no rows.
        """
        total = self.num_rows + self.num_repeated + self.num_malformed
        first = f" The first: {self.malformed[0]}." if self.malformed else ""
        if not self.num_rows:
            raise DataError(
                f"{self.files[0]} holds no request ({total} lines).{first} Give JSON lines as in "
                "docs/traffic.md."
            )
        if self.num_malformed > max_malformed_fraction * total:
            raise TooManyFailuresError(
                f"{self.num_malformed:,} of {total:,} lines are no requests, and "
                f"{max_malformed_fraction:.0%} may be.{first} Correct them, or raise "
                "max_malformed_fraction."
            )

    def _row(self, line: bytes, where: str) -> AccessRow | None:
        try:
            value = orjson.loads(line)
            version = value.get("v", SCHEMA_VERSION) if isinstance(value, dict) else None
            if isinstance(version, int) and version > SCHEMA_VERSION:
                raise DataError(
                    f"{where} has version {version}, and this stillhouse reads up to "
                    f"{SCHEMA_VERSION}. Install a newer one."
                )
            if _is_answer(value):
                raise DataError(
                    f"{where} is of a log of answers (serve --log), which has no accounts. Give "
                    "what serve --access-log wrote, or rows as in docs/traffic.md."
                )
            return AccessRow.model_validate(value)
        except (orjson.JSONDecodeError, ValidationError) as err:
            if isinstance(err, DataError):
                raise
            self.num_malformed += 1
            if len(self.malformed) < _NUM_NAMED:
                self.malformed.append(f"{where}: {_reason(err)}")
            return None

    @staticmethod
    def _pass_rest(line: bytes, stream: object) -> None:
        """The rest of a line that is longer than any row is passed over with it."""
        readline = stream.readline  # type: ignore[attr-defined]
        while len(line) == _LONGEST_LINE and not line.endswith(b"\n"):
            line = readline(_LONGEST_LINE)


def open_access_log(path: Path) -> AccessLog:
    """The log in a file of JSON lines, or in a folder of such files.

    Raises:
        ConfigError: there is none.
    """
    if path.is_dir():
        files = tuple(sorted(file for file in path.glob(f"*{_SUFFIX}") if file.is_file()))
        if not files:
            raise ConfigError(f"{path} holds no *{_SUFFIX}. Give a folder of access logs.")
        return AccessLog(files)
    if not path.is_file():
        raise ConfigError(f"{path} does not exist. Give a file of JSON lines, or a folder of them.")
    return AccessLog((path,))


def _is_answer(value: object) -> bool:
    """Whether a line is of the other log that a server writes."""
    return (
        isinstance(value, dict) and value.get("kind") in ("request", "audit") and "asked" in value
    )


def _reason(err: orjson.JSONDecodeError | ValidationError) -> str:
    """What is wrong with a line, without a word of it."""
    if isinstance(err, ValidationError):
        first = err.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        return f"{place}: {first['msg']}" if place else str(first["msg"])
    return "no JSON"
