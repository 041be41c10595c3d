"""Prompts from JSON lines, CSV, Parquet or a YAML recipe, each row checked where it stands."""

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from stillhouse.collect._cells import large_cells
from stillhouse.errors import ConfigError, DataError, RecordError
from stillhouse.records import (
    Message,
    Prompt,
    Record,
    Split,
    Tool,
    content_hash,
    messages_identity,
)

ID_HEX_DIGITS = 16  # 64 bits: a collision is less likely than a disk error at any number of rows
_UTF8_BOM = b"\xef\xbb\xbf"


class _PromptRow(Record):
    """A row as a user writes it: a `Prompt`, or `prompt` and `system` in place of `messages`."""

    id: str | None = None
    prompt: str | None = None
    system: str | None = None
    messages: tuple[Message, ...] | None = None
    split: Split = "train"
    group: str | None = None
    tools: tuple[Tool, ...] = ()
    output_schema: str | None = None
    teacher: str | None = None


_ROW_FIELDS = frozenset(_PromptRow.model_fields)
_Located = tuple[str, Any, int]
"""Where a row stands ("line 3"), the row, and the place after it."""


def read_prompts(path: Path) -> list[Prompt]:
    """The prompts of a file, in its order.

    Rows are `Prompt` records, `{"prompt": text}` with `system` where wanted, or `{"messages":
    [...]}`; `id`, `split` and `group` may be added to each. A row without an id gets one made from
    the hash of what it asks. JSON lines are split at newlines only.

    Args:
        path: `.jsonl`, `.csv`, `.parquet`, or `.yaml` / `.yml` with a recipe.

    Raises:
        ConfigError: the file is missing or of another type.
        RecordError: a row is wrong; the message names file, line and field.
        DataError: there are no prompts.
    """
    prompts: list[Prompt] = []
    places: dict[str, str] = {}
    unnamed: Counter[str] = Counter()
    for where, prompt, is_named, _ in iterate_prompts(path):
        if not is_named:
            unnamed[prompt.id] += 1
            if unnamed[prompt.id] > 1:
                prompt = prompt.model_copy(update={"id": f"{prompt.id}-{unnamed[prompt.id]}"})
        if prompt.id in places:
            raise RecordError(
                f"{path}, {where}: the id {prompt.id!r} is that of {places[prompt.id]} as well. "
                "Make ids unique, or leave them out."
            )
        places[prompt.id] = where
        prompts.append(prompt)
    check_prompts(prompts, where=str(path))
    return prompts


class Row(NamedTuple):
    """A prompt of a file.

    Attributes:
        where: Where it stands, for messages.
        prompt: What it says.
        is_named: Whether the row has an id of its own; else it is the hash of what is asked, the
            same as often as it occurs.
        end: The place after it, for `iterate_prompts`: a byte of JSON lines, a row elsewhere.
    """

    where: str
    prompt: Prompt
    is_named: bool
    end: int


def iterate_prompts(path: Path, *, num_before: int = 0, start: int = 0) -> Iterator[Row]:
    """The prompts of a file one by one.

    Args:
        path: As in `read_prompts`.
        num_before: Prompts that stand before `start`.
        start: The `end` of the last of them.

    Raises:
        ConfigError, RecordError: as in `read_prompts`; what only all rows together show is not
            looked for.
    """
    if path.suffix not in (*_ROWS, *_RECIPES):
        allowed = ", ".join((*_ROWS, *_RECIPES))
        raise ConfigError(f"{path}: prompts are read from {allowed}. Give a file of one of these.")
    if not path.is_file():
        raise ConfigError(f"The prompts file {path} does not exist. Check the path.")
    if path.suffix in _RECIPES:
        from stillhouse.collect._recipe import read_recipe

        for number, prompt in enumerate(read_recipe(path), start=1):
            if number > start:
                yield Row(f"prompt {number}", prompt, True, number)
        return
    for where, raw, end in _ROWS[path.suffix](path, num_before, start):
        row = _checked_row(path, where, raw)
        messages = _messages(path, where, row)
        prompt = Prompt(
            id=row.id or _identity(messages, row)[:ID_HEX_DIGITS],
            messages=messages,
            split=row.split,
            group=row.group,
            tools=row.tools,
            output_schema=row.output_schema,
            teacher=row.teacher,
        )
        yield Row(where, prompt, bool(row.id), end)


def asked_identity(prompt: Prompt) -> str:
    """Hash of what is asked of whom, whatever the prompt is called and wherever it belongs."""
    return _identity(prompt.messages, prompt)


def _identity(messages: tuple[Message, ...], asked: Prompt | _PromptRow) -> str:
    words = messages_identity(messages)
    if not asked.tools and asked.output_schema is None and asked.teacher is None:
        return words
    tools = [tool.model_dump(mode="json") for tool in asked.tools]
    return content_hash([words, tools, asked.output_schema, asked.teacher])


def check_prompts(prompts: Iterable[Prompt], *, where: str) -> None:
    """Refuse prompts that no experiment can be made with.

    Raises:
        DataError: there are none.
        RecordError: two prompts have one id, or the same messages are in both splits.
    """
    ids: set[str] = set()
    first_with: dict[str, Prompt] = {}
    for prompt in prompts:
        if prompt.id in ids:
            raise RecordError(f"{where}: the id {prompt.id!r} occurs twice. Make ids unique.")
        ids.add(prompt.id)
        twin = first_with.setdefault(messages_identity(prompt.messages), prompt)
        if twin.split != prompt.split:
            raise RecordError(
                f"{where}: prompts {twin.id!r} ({twin.split}) and {prompt.id!r} ({prompt.split}) "
                "have the same messages. Remove one: measuring on what was trained on says nothing."
            )
    if not ids:
        raise DataError(f"{where} holds no prompts. Add at least one.")


def _jsonl_rows(path: Path, num_before: int, start: int) -> Iterator[_Located]:
    end = start
    with path.open("rb") as stream:
        stream.seek(start)
        for number, line in enumerate(stream, start=num_before + 1):  # broken at newlines only
            end += len(line)
            if end == len(line):
                line = line.removeprefix(_UTF8_BOM)
            if line.strip():
                yield f"line {number}", _json_of(path, number, line), end


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


def _csv_rows(path: Path, num_before: int, start: int) -> Iterator[_Located]:
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
                # An empty cell is a field that was not given.
                yield where, {name: cell for name, cell in row.items() if cell}, number
    except UnicodeDecodeError as err:
        raise RecordError(f"{path} is not valid UTF-8 ({err.reason}). Save it as UTF-8.") from err
    except csv.Error as err:
        raise RecordError(
            f"{path} is not CSV that can be read ({err}). Write it as JSON lines instead."
        ) from err


def _parquet_rows(path: Path, num_before: int, start: int) -> Iterator[_Located]:
    number = 0
    try:
        with pq.ParquetFile(path) as parquet:
            for batch in parquet.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    if number <= start:
                        continue
                    given = {name: value for name, value in row.items() if value is not None}
                    yield f"row {number}", given, number
    except (pa.ArrowInvalid, pa.ArrowIOError, UnicodeDecodeError) as err:
        raise RecordError(f"{path} is not a readable Parquet file ({err}).") from err


_ROWS: dict[str, Callable[[Path, int, int], Iterator[_Located]]] = {
    ".jsonl": _jsonl_rows,
    ".csv": _csv_rows,
    ".parquet": _parquet_rows,
}
_RECIPES = (".yaml", ".yml")


def _checked_row(path: Path, where: str, raw: Any) -> _PromptRow:
    if not isinstance(raw, dict):
        raise RecordError(f"{path}, {where}: a {type(raw).__name__}, not an object with fields.")
    for name in raw:
        if name not in _ROW_FIELDS:
            allowed = list(_PromptRow.model_fields)
            near = get_close_matches(name, allowed, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise RecordError(
                f"{path}, {where}: unknown field {name!r}.{hint} Fields are {', '.join(allowed)}."
            )
    if isinstance(raw.get("id"), int) and not isinstance(raw["id"], bool):
        raw = {**raw, "id": str(raw["id"])}  # numbered rows are common, and lose nothing as text
    try:
        return _PromptRow.model_validate(raw)
    except ValidationError as err:
        first = err.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        given = first["input"]
        shown = f" (got {given!r})" if isinstance(given, str) and len(given) <= 40 else ""
        raise RecordError(f"{path}, {where}: {place}: {first['msg']}{shown}.") from err


def _messages(path: Path, where: str, row: _PromptRow) -> tuple[Message, ...]:
    if (row.prompt is None) == (row.messages is None):
        raise RecordError(f"{path}, {where}: give either 'prompt' or 'messages', and not both.")
    if row.messages is not None and row.system is not None:
        raise RecordError(f"{path}, {where}: put the system message into 'messages'.")
    messages = row.messages
    if messages is None:
        system = () if row.system is None else (Message(role="system", content=row.system),)
        messages = (*system, Message(role="user", content=row.prompt or ""))
    if not messages or not messages[-1].content.strip():
        raise RecordError(f"{path}, {where}: the prompt is empty. Write it, or remove the row.")
    if messages[-1].role not in ("user", "tool"):
        raise RecordError(
            f"{path}, {where}: the last message is from {messages[-1].role!r}; a teacher answers "
            "a 'user' or 'tool' message."
        )
    return messages
