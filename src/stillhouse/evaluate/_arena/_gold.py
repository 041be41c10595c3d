"""Pairs of answers that people have compared, to hold a judge against."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field, ValidationError, field_validator

from stillhouse.errors import DataError, RecordError
from stillhouse.evaluate._arena._judging import Duel
from stillhouse.graders import Winner
from stillhouse.records import Message, Record, messages_identity
from stillhouse.settings import iterate_rows


class GoldRow(Record):
    """A row of the file: a request, two answers and which of them a person prefers."""

    prompt: str | None = None
    system: str | None = None
    messages: tuple[Message, ...] | None = None
    a: str
    b: str
    winner: Winner
    reference: str | None = None
    group: str | None = None
    id: str | None = Field(default=None, min_length=1)

    @field_validator("winner", mode="before")
    @classmethod
    def _in_lower_case(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @property
    def request(self) -> tuple[Message, ...]:
        """The conversation that both answer."""
        if self.messages is not None:
            return self.messages
        system = () if self.system is None else (Message(role="system", content=self.system),)
        return (*system, Message(role="user", content=self.prompt or ""))


class Gold(NamedTuple):
    """Labelled pairs, with what they are called."""

    name: str
    rows: Sequence[GoldRow]


def read_gold(path: Path) -> Gold:
    """The rows of a file: `prompt` (or `messages`), `a`, `b` and `winner`.

    Args:
        path: `.jsonl`, `.csv` or `.parquet`.

    Raises:
        ConfigError: the file is missing or of another type.
        RecordError: a row is wrong; the message names its line and field.
        DataError: there are none.
    """
    rows = [_row(f"{path}, {where}", raw) for where, raw, _ in iterate_rows(path)]
    if not rows:
        raise DataError(f"{path} holds no labelled pairs. Add some, or leave the file out.")
    return Gold(path.name, rows)


def gold_duels(rows: Sequence[GoldRow], *, shows_reference: bool) -> list[Duel]:
    """The duels that the judge is asked about, in the order of the rows."""
    return [
        Duel(
            name=f"labelled pair {number}",
            request=row.request,
            a=row.a,
            b=row.b,
            group=row.group or messages_identity(row.request),
            reference=row.reference if shows_reference else None,
        )
        for number, row in enumerate(rows, start=1)
    ]


def _row(where: str, raw: Any) -> GoldRow:
    if isinstance(raw, dict):
        # An empty cell of CSV is a field that was not given, but for an empty answer.
        raw = {name: value for name, value in raw.items() if value != "" or name in ("a", "b")}
    try:
        row = GoldRow.model_validate(raw)
    except ValidationError as err:
        first = err.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "row"
        raise RecordError(
            f"{where}: {place}: {first['msg']}. Fields are {', '.join(GoldRow.model_fields)}; "
            "winner is a, b or tie."
        ) from err
    for problem in _problems(row):
        raise RecordError(f"{where}: {problem}")
    return row


def _problems(row: GoldRow) -> Iterator[str]:
    if (row.prompt is None) == (row.messages is None):
        yield "give either 'prompt' or 'messages', and not both."
    if row.messages is not None and row.system is not None:
        yield "put the system message into 'messages'."
    if not row.request or not row.request[-1].content.strip():
        yield "the prompt is empty. Write it, or remove the row."
