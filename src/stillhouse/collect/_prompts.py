"""Prompts from JSON lines, CSV, Parquet or a YAML recipe, each row checked where it stands."""

from collections import Counter
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from stillhouse.errors import ConfigError, DataError, RecordError
from stillhouse.records import (
    LabelSet,
    Message,
    Prompt,
    Record,
    Split,
    Tool,
    content_hash,
    messages_identity,
)
from stillhouse.settings import ROW_SUFFIXES, iterate_rows

ID_HEX_DIGITS = 16  # 64 bits: a collision is less likely than a disk error at any number of rows
_RECIPES = (".yaml", ".yml")


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
    reference: str | None = None
    labels: LabelSet = ()


_ROW_FIELDS = frozenset(_PromptRow.model_fields)


def read_prompts(path: Path) -> list[Prompt]:
    """The prompts of a file, in its order.

    Rows are `Prompt` records, `{"prompt": text}` with `system` where wanted, or `{"messages":
    [...]}`; `id`, `split`, `group`, `reference` and `labels` may be added to each. A row without an
    id gets one made from the hash of what it asks. JSON lines are split at newlines only.

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
    if path.suffix not in (*ROW_SUFFIXES, *_RECIPES):
        allowed = ", ".join((*ROW_SUFFIXES, *_RECIPES))
        raise ConfigError(f"{path}: prompts are read from {allowed}. Give a file of one of these.")
    if not path.is_file():
        raise ConfigError(f"The prompts file {path} does not exist. Check the path.")
    if path.suffix in _RECIPES:
        from stillhouse.collect._recipe import read_recipe

        for number, prompt in enumerate(read_recipe(path), start=1):
            if number > start:
                yield Row(f"prompt {number}", prompt, True, number)
        return
    for where, raw, end in iterate_rows(path, num_before=num_before, start=start):
        if path.suffix == ".csv":  # an empty cell is a field that was not given
            raw = {name: cell for name, cell in raw.items() if cell}
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
            reference=row.reference,
            labels=row.labels,
        )
        yield Row(where, prompt, bool(row.id), end)


def asked_identity(prompt: Prompt) -> str:
    """Hash of what is asked of whom, whatever the prompt is called and wherever it belongs."""
    return _identity(prompt.messages, prompt)


def _identity(messages: tuple[Message, ...], asked: Prompt | _PromptRow) -> str:
    words = messages_identity(messages)
    is_plain = not asked.tools and asked.output_schema is None and asked.teacher is None
    if is_plain and not asked.labels:
        return words
    tools = [tool.model_dump(mode="json") for tool in asked.tools]
    parts = [words, tools, asked.output_schema, asked.teacher]
    return content_hash([*parts, asked.labels] if asked.labels else parts)


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
