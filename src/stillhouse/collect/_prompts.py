"""Prompts from JSON lines, CSV, Parquet or a YAML recipe, each row checked where it stands."""

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from stillhouse.errors import ConfigError, DataError, RecordError
from stillhouse.records import Message, Prompt, Record, Split, content_hash

_ID_HEX_DIGITS = 16  # 64 bits: a collision is less likely than a disk error at any number of rows
_UTF8_BOM = b"\xef\xbb\xbf"


class _PromptRow(Record):
    """A row as a user writes it: a `Prompt`, or `prompt` and `system` in place of `messages`."""

    id: str | None = None
    prompt: str | None = None
    system: str | None = None
    messages: tuple[Message, ...] | None = None
    split: Split = "train"
    group: str | None = None


_Located = tuple[str, Any]
"""Where a row stands ("line 3"), and the row."""


def read_prompts(path: Path) -> list[Prompt]:
    """The prompts of a file, in its order.

    Rows are `Prompt` records, `{"prompt": text}` with `system` where wanted, or `{"messages":
    [...]}`; `id`, `split` and `group` may be added to each. A row without an id gets one made from
    the hash of its messages. JSON lines are split at newlines only.

    Args:
        path: `.jsonl`, `.csv`, `.parquet`, or `.yaml` / `.yml` with a recipe.

    Raises:
        ConfigError: the file is missing or of another type.
        RecordError: a row is wrong; the message names file, line and field.
        DataError: there are no prompts.
    """
    if path.suffix not in _READERS:
        raise ConfigError(
            f"{path}: prompts are read from {', '.join(_READERS)}. Give a file of one of these."
        )
    if not path.is_file():
        raise ConfigError(f"The prompts file {path} does not exist. Check the path.")
    prompts = _READERS[path.suffix](path)
    check_prompts(prompts, where=str(path))
    return prompts


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
        twin = first_with.setdefault(messages_hash(prompt.messages), prompt)
        if twin.split != prompt.split:
            raise RecordError(
                f"{where}: prompts {twin.id!r} ({twin.split}) and {prompt.id!r} ({prompt.split}) "
                "have the same messages. Remove one: measuring on what was trained on says nothing."
            )
    if not ids:
        raise DataError(f"{where} holds no prompts. Add at least one.")


def messages_hash(messages: tuple[Message, ...]) -> str:
    """SHA-256 of what is asked, whatever the prompt is called."""
    return content_hash([message.model_dump(mode="json") for message in messages])


def _read_jsonl(path: Path) -> list[Prompt]:
    return _prompts(path, _jsonl_rows(path))


def _jsonl_rows(path: Path) -> Iterator[_Located]:
    data = path.read_bytes().removeprefix(_UTF8_BOM)
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            line.decode("utf-8")
            yield f"line {number}", orjson.loads(line)
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


def _read_csv(path: Path) -> list[Prompt]:
    return _prompts(path, _csv_rows(path))


def _csv_rows(path: Path) -> Iterator[_Located]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            for row in reader:
                where = f"line {reader.line_num}"
                if None in row or None in row.values():
                    raise RecordError(
                        f"{path}, {where}: not as many cells as the first line has names. "
                        "Quote cells that hold commas."
                    )
                # An empty cell is a field that was not given.
                yield where, {name: cell for name, cell in row.items() if cell}
    except UnicodeDecodeError as err:
        raise RecordError(f"{path} is not valid UTF-8 ({err.reason}). Save it as UTF-8.") from err
    except csv.Error as err:
        raise RecordError(
            f"{path} is not CSV that can be read ({err}). Write it as JSON lines instead."
        ) from err


def _read_parquet(path: Path) -> list[Prompt]:
    return _prompts(path, _parquet_rows(path))


def _parquet_rows(path: Path) -> Iterator[_Located]:
    number = 0
    try:
        with pq.ParquetFile(path) as parquet:
            for batch in parquet.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    given = {name: value for name, value in row.items() if value is not None}
                    yield f"row {number}", given
    except (pa.ArrowInvalid, pa.ArrowIOError, UnicodeDecodeError) as err:
        raise RecordError(f"{path} is not a readable Parquet file ({err}).") from err


def _read_recipe(path: Path) -> list[Prompt]:
    from stillhouse.collect._recipe import read_recipe

    return read_recipe(path)


_READERS: dict[str, Callable[[Path], list[Prompt]]] = {
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".yaml": _read_recipe,
    ".yml": _read_recipe,
}


def _prompts(path: Path, rows: Iterable[_Located]) -> list[Prompt]:
    prompts: list[Prompt] = []
    places: dict[str, str] = {}
    unnamed: Counter[str] = Counter()
    for where, raw in rows:
        row = _checked_row(path, where, raw)
        messages = _messages(path, where, row)
        prompt_id = row.id or _made_up_id(messages, unnamed)
        if prompt_id in places:
            raise RecordError(
                f"{path}, {where}: the id {prompt_id!r} is that of {places[prompt_id]} as well. "
                "Make ids unique, or leave them out."
            )
        places[prompt_id] = where
        prompts.append(Prompt(id=prompt_id, messages=messages, split=row.split, group=row.group))
    return prompts


def _checked_row(path: Path, where: str, raw: Any) -> _PromptRow:
    if not isinstance(raw, dict):
        raise RecordError(f"{path}, {where}: a {type(raw).__name__}, not an object with fields.")
    allowed = list(_PromptRow.model_fields)
    for name in raw:
        if name not in allowed:
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


def _made_up_id(messages: tuple[Message, ...], unnamed: Counter[str]) -> str:
    name = messages_hash(messages)[:_ID_HEX_DIGITS]
    unnamed[name] += 1
    return name if unnamed[name] == 1 else f"{name}-{unnamed[name]}"
