"""Which task a part of the traffic is, told from its answers alone."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import yaml
from pydantic import ValidationError

from stillhouse.pipeline._scan_parts import Part
from stillhouse.tasks import Task, fold

_MOST = 0.9  # of the answers: the others may be refusals and slips
_MAX_LABEL_CHARS = 80
_MAX_LABELS = 300
_LEAST_ANSWERS_A_LABEL = 3.0  # on average: with fewer, a "label" is a short text that repeats
_SEVERAL = 0.1  # of the answers name more than one label in a task with several
_SEPARATORS = re.compile(r"[,;\n]")
_SLOT = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_JSON_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array"}


def propose_task(part: Part, name: str) -> Task:
    """The task that would make such prompts and such answers.

    Few distinct short answers are labels, JSON objects an extraction, and all else is text.
    """
    answers = [one.text.strip() for row in part.rows for one in row.completions if one.text.strip()]
    frame: dict[str, Any] = {
        "name": name,
        "system": None if part.system is None else _escaped(part.system),
        "prompt": f"{_escaped(part.before)}{{text}}{_escaped(part.after)}",
    }
    objects = [found for found in map(_json_object, answers) if found is not None]
    if objects and len(objects) >= _MOST * len(answers):
        return Task(**frame, kind="extraction", schema=_schema_of(objects))
    several, single = (_labels_of(answers, multiple=multiple) for multiple in (True, False))
    # Lists repeat their parts, so there are fewer of these; a label that holds a comma does not.
    is_list = bool(several) and (not single or len(several) < len(single))
    labels = several if is_list else single
    if labels:
        try:
            return Task(**frame, kind="classification", labels=labels, multiple=is_list)
        except ValidationError:
            pass  # spellings that a task could not tell apart
    return Task(**frame, kind="text")


def task_yaml(task: Task) -> str:
    """`task` as the YAML file that `read_task` reads."""
    plain = task.model_dump(mode="python", by_alias=True, exclude_defaults=True)
    ordered = {"name": task.name, "kind": task.kind, **plain}
    return yaml.safe_dump(_plain(ordered), sort_keys=False, allow_unicode=True, width=100)


def _labels_of(answers: Sequence[str], *, multiple: bool) -> tuple[str, ...]:
    """The labels that the answers consist of, most frequent first; empty where they do not."""
    parts = [_parts_of(answer) if multiple else (answer,) for answer in answers]
    if multiple and sum(len(found) > 1 for found in parts) < _SEVERAL * len(parts):
        return ()
    spellings: dict[str, Counter[str]] = {}
    for found in parts:
        for label in found:
            spellings.setdefault(fold(label) or label, Counter())[label] += 1
    known = {key for key, times in spellings.items() if times.total() > 1}
    covered = sum(all((fold(label) or label) in known for label in found) for found in parts)
    if not 2 <= len(known) <= _MAX_LABELS or covered < _MOST * len(parts):
        return ()
    if sum(map(len, parts)) < _LEAST_ANSWERS_A_LABEL * len(known):
        return ()
    common = sorted(known, key=lambda key: (-spellings[key].total(), key))
    labels = [spellings[key].most_common(1)[0][0] for key in common]
    if any(len(label) > _MAX_LABEL_CHARS or "\n" in label for label in labels):
        return ()
    return tuple(labels)


def _parts_of(answer: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in _SEPARATORS.split(answer) if part.strip())


def _json_object(text: str) -> dict[str, Any] | None:
    if not text.startswith(("{", "`")):
        return None
    from stillhouse.tasks import NotJsonError, read_json

    try:
        found = read_json(text)
    except NotJsonError:
        return None
    return found if isinstance(found, dict) else None


def _schema_of(objects: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What all objects have in common: their fields, the types of these, and which never lack."""
    names = dict.fromkeys(name for found in objects for name in found)
    return {
        "type": "object",
        "properties": {
            name: _type_of(found[name] for found in objects if name in found) for name in names
        },
        "required": [name for name in names if all(name in found for found in objects)],
    }


def _type_of(values: Iterable[Any]) -> dict[str, Any]:
    types = dict.fromkeys(_json_type(value) for value in values)
    if {"integer", "number"} <= types.keys():
        del types["integer"]
    return {"type": next(iter(types)) if len(types) == 1 else list(types)}


def _json_type(value: Any) -> str:
    if value is None:
        return "null"
    return _JSON_TYPES.get(type(value), "object")


def _escaped(text: str) -> str:
    """`text` in a template that says just that."""
    return _SLOT.sub(r"{{\1}}", text)


def _plain(value: Any) -> Any:
    """Lists for tuples, which YAML knows no plain form of."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
