"""The prompts of a task: rows of a file, put into its templates."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from stillhouse.errors import RecordError
from stillhouse.records import (
    Message,
    Prompt,
    Split,
    content_hash,
    messages_identity,
    split_named,
)
from stillhouse.settings import iterate_rows
from stillhouse.tasks._parse import parse_answer
from stillhouse.tasks._task import Task
from stillhouse.tasks._template import fill, slots_of, unfill

_ID_HEX_DIGITS = 16  # as for other prompts, so that equal prompts have equal ids
_LIKELY_TYPO = 0.85


def task_messages(task: Task, row: Mapping[str, str]) -> tuple[Message, ...]:
    """The messages that ask `task` of a row.

    Args:
        task: The task.
        row: Has all inputs of the task; what else it has is left alone.

    Raises:
        RecordError: an input is missing, or all are empty.
    """
    for name in task.inputs:
        if name not in row:
            raise RecordError(f"the input {name!r} of task {task.name!r} is missing. Add it.")
    if not any(row[name].strip() for name in task.inputs):
        raise RecordError(f"{' and '.join(task.inputs)} is empty. Fill it, or remove the row.")
    values = {name: row[name] for name in task.inputs} | _fixed(task)
    user = Message(role="user", content=fill(task.prompt, values))
    if task.system is None:
        return (user,)
    return (Message(role="system", content=fill(task.system, values)), user)


def read_task_prompts(path: Path, task: Task) -> Iterator[Prompt]:
    """The prompts of a task, one for each row of a file.

    Rows have the task's inputs and may have `id`, `split` (`train` or `held_out`; `test`,
    `validation` and `eval` are held out), `group` and the task's reference; further columns are
    left alone. A row without an id gets one made from the hash of what it asks. The schema of an
    extraction is sent with the request unless a template shows it; labels, where a text has one of
    them, stand beside the messages for teachers that tell the probability of each.

    Args:
        path: `.jsonl`, `.csv` or `.parquet`.
        task: What is asked.

    Raises:
        ConfigError: the file is missing or of another type.
        RecordError: a row is wrong; the message names file and line.
    """
    places: dict[str, str] = {}
    unnamed: Counter[str] = Counter()
    schema = None if _shows_schema(task) else task.schema_text or None
    for where, raw, _ in iterate_rows(path):
        try:
            prompt = _prompt(task, raw, schema)
        except RecordError as err:
            raise RecordError(f"{path}, {where}: {err}") from err
        if raw.get("id") in (None, ""):
            unnamed[prompt.id] += 1
            if unnamed[prompt.id] > 1:
                prompt = prompt.model_copy(update={"id": f"{prompt.id}-{unnamed[prompt.id]}"})
        if prompt.id in places:
            raise RecordError(
                f"{path}, {where}: the id {prompt.id!r} is that of {places[prompt.id]} as well. "
                "Make ids unique, or leave them out."
            )
        places[prompt.id] = where
        yield prompt


def input_text(task: Task, message: str) -> str:
    """The inputs in a user message that the task's template made; the whole of any other message.

    Fixed words that all messages share would make them all alike.
    """
    values = unfill(task.prompt, _fixed(task), message)
    return "\n".join(values) if values else message


def _prompt(task: Task, raw: Any, schema: str | None) -> Prompt:
    if not isinstance(raw, dict):
        raise RecordError(f"a {type(raw).__name__}, not an object with fields.")
    _refuse_typos(task, raw)
    messages = task_messages(task, {name: _text(raw, name) for name in task.inputs if name in raw})
    identity = messages_identity(messages)
    if schema is not None:
        identity = content_hash([identity, schema])
    given_id, group = raw.get("id"), raw.get("group")
    return Prompt(
        id=identity[:_ID_HEX_DIGITS] if given_id in (None, "") else _text(raw, "id"),
        messages=messages,
        split=_split(raw.get("split")),
        group=None if group in (None, "") else _text(raw, "group"),
        output_schema=schema,
        reference=_reference(task, raw),
        labels=() if task.multiple else task.labels,
    )


def _refuse_typos(task: Task, raw: dict[str, Any]) -> None:
    """Other columns are welcome, but not one that was meant to be a known one."""
    wanted = [*task.inputs, "id", "split", "group", *filter(None, [task.reference])]
    missing = [name for name in wanted if name not in raw]
    for name in raw.keys() - set(wanted) if missing else ():
        if near := get_close_matches(str(name), missing, n=1, cutoff=_LIKELY_TYPO):
            raise RecordError(f"unknown column {name!r}. Did you mean {near[0]!r}? Rename it.")


def _text(raw: dict[str, Any], name: str) -> str:
    value = raw[name]
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise RecordError(f"{name!r} is {type(value).__name__}, and must be text.")


def _split(given: Any) -> Split:
    if given in (None, ""):
        return "train"
    split = split_named(str(given))
    if split is None:
        raise RecordError(f"the split {str(given)[:40]!r} is neither 'train' nor 'held_out'.")
    return split


def _reference(task: Task, raw: dict[str, Any]) -> str | None:
    value = raw.get(task.reference) if task.reference else None
    if value is None or value == "":
        return None
    if isinstance(value, list) and task.multiple:
        text = ", ".join(map(str, value)) or "[]"
    elif isinstance(value, dict | list) and task.kind == "extraction":
        text = json.dumps(value)
    else:
        text = _text(raw, str(task.reference))
    answer = parse_answer(task, text)
    if answer.text is None:
        raise RecordError(
            f"the reference is no answer to task {task.name!r} ({answer}). Correct it, or leave it "
            "empty."
        )
    return answer.text


def _fixed(task: Task) -> dict[str, str]:
    if task.output_schema is not None:
        return {"schema": json.dumps(task.output_schema, ensure_ascii=False, indent=2)}
    return {"labels": "\n".join(task.labels)}


def _shows_schema(task: Task) -> bool:
    return "schema" in (*slots_of(task.prompt), *slots_of(task.system or ""))
