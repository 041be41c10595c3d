"""Check settings against their model, and say in the user's terms what is wrong with them."""

import types
from collections.abc import Iterator, Sequence
from datetime import date
from difflib import get_close_matches
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from stillhouse.errors import ConfigError

M = TypeVar("M", bound=BaseModel)
Location = tuple[int | str, ...]

_MAX_NAMES = 10
_MAX_VALUE_CHARS = 60
_ANY_NAME = "NAME"


def check_settings(model: type[M], data: dict[str, Any], *, where: str) -> M:
    """`data` as a `model`.

    Args:
        model: What the settings must fit.
        data: Plain data, as read from YAML or from flags.
        where: How the message begins: a file, a stage.

    Raises:
        ConfigError: a key is unknown, missing or has a wrong value. The message gives its dotted
            path, what was given and what is allowed, and counts further mistakes.
    """
    try:
        return model.model_validate(data)
    except ValidationError as err:
        raise ConfigError(f"{where}: {_message(model, data, err)}") from err


def _message(model: type[BaseModel], data: dict[str, Any], err: ValidationError) -> str:
    by_path: dict[Location, list[ErrorDetails]] = {}
    for error in err.errors(include_url=False):
        by_path.setdefault(_data_path(data, error), []).append(error)
    # A misspelt key often causes the others: the right one is then missing.
    path = min(by_path, key=lambda p: by_path[p][0]["type"] != "extra_forbidden")
    text = _describe(model, path, by_path[path])
    others = len(by_path) - 1
    return text if not others else f"{text} ({others} more to correct after that.)"


def _describe(model: type[BaseModel], path: Location, errors: list[ErrorDetails]) -> str:
    name = _dotted(path)
    first = errors[0]
    if first["type"] == "extra_forbidden":
        return f"{name} is not a setting.{_hint(model, path)}"
    if first["type"] == "missing":
        return f"{name} is missing. Add it."
    if first["type"] == "value_error" and not name:
        return f"{first['ctx']['error']}."
    allowed = " or ".join(dict.fromkeys(_requirement(error) for error in errors))
    subject = f"{name} is {_shown(first['input'])}; it" if name else "it"
    return f"{subject} {allowed}."


def _requirement(error: ErrorDetails) -> str:
    if error["type"] == "value_error":
        return f"is not possible: {error['ctx']['error']}"
    if error["type"] in ("model_type", "model_attributes_type", "dict_type"):
        return "must hold settings as 'name: value'"
    if error["type"] == "string_type":
        can_be_quoted = isinstance(error["input"], int | float | date)
        return "must be text; put it in quotes" if can_be_quoted else "must be text"
    message = error["msg"].split(", unable to parse")[0]
    for lead in ("Input should ", "String should ", "Dictionary should ", "Tuple should "):
        message = message.replace(lead, "must ")
    return message


def _dotted(path: Location) -> str:
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).removeprefix(".")


def _shown(value: Any) -> str:
    if isinstance(value, date):
        return f"the date {value.isoformat()}"
    text = repr(value)
    return text if len(text) <= _MAX_VALUE_CHARS else f"{text[:_MAX_VALUE_CHARS]}..."


def _data_path(data: Any, error: ErrorDetails) -> Location:
    """The part of an error's location that is in the data; pydantic adds names of union members."""
    loc = error["loc"]
    found: list[int | str] = []
    for part in loc:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            if error["type"] == "missing" and part == loc[-1]:
                found.append(part)
            break
        found.append(part)
    return tuple(found)


def _hint(model: type[BaseModel], path: Location) -> str:
    """What the unknown key at `path` may have meant, and what is valid there."""
    key = str(path[-1])
    owner = _model_at(model, path[:-1]) or model
    names = [field.alias or name for name, field in owner.model_fields.items()]
    near = get_close_matches(key, names, n=1)
    homes = [] if near else [place for place in _places(model) if place.split(".")[-1] == key]
    meant = near[0] if near else " or ".join(homes)
    hint = f" Did you mean {meant}?" if meant else ""
    shown = ", ".join(names[:_MAX_NAMES])
    cut = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return f"{hint} Settings there: {shown}{cut}."


def _places(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield prefix + name
        for inner, is_mapping in _models_in(field.annotation):
            between = f"{name}.{_ANY_NAME}." if is_mapping else f"{name}."
            yield from _places(inner, prefix + between)


def _model_at(model: type[BaseModel], path: Sequence[int | str]) -> type[BaseModel] | None:
    current: type[BaseModel] | None = model
    parts = list(path)
    while parts and current is not None:
        field = current.model_fields.get(str(parts.pop(0)))
        inner = list(_models_in(field.annotation)) if field else []
        current = inner[0][0] if inner else None
        if inner and inner[0][1] and parts:
            parts.pop(0)  # the name that the user gave to an entry of a mapping
    return current


def _models_in(annotation: Any) -> Iterator[tuple[type[BaseModel], bool]]:
    """The models that a field holds, each with whether they are the values of a mapping."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, False
    elif get_origin(annotation) is dict:
        for inner, _ in _models_in(get_args(annotation)[1]):
            yield inner, True
    elif get_origin(annotation) in (Union, types.UnionType):
        for option in get_args(annotation):
            yield from _models_in(option)
