"""JSON answers: read strictly, checked against the task's schema, written in one way."""

import json
import math
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import jsonschema
from jsonschema.exceptions import SchemaError
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from stillhouse.errors import RecordError
from stillhouse.records import canonical_json

_FENCED = re.compile(r"```[A-Za-z0-9_+-]*[ \t]*\n(.*)\n[ \t]*```", re.DOTALL)
_LARGEST_EXACT = 2**53


class NotJsonError(ValueError):
    """A text that is no JSON which UTF-8 and 64 bits can carry."""


def read_json(text: str) -> Any:
    """The value of JSON text, which may stand in a ``` fence with space around it.

    Raises:
        NotJsonError: it is no JSON, holds NaN, an infinity or a key twice, or is nested deeper
            than Python reads.
    """
    text = text.strip()
    fenced = _FENCED.fullmatch(text)
    try:
        return json.loads(
            fenced[1] if fenced else text,
            parse_constant=_refuse_constant,
            parse_float=_number,
            object_pairs_hook=_object,
        )
    except json.JSONDecodeError as err:
        raise NotJsonError(f"{err.msg} at character {err.pos + 1}") from err
    except RecursionError as err:
        raise NotJsonError("it is nested too deeply") from err
    except ValueError as err:  # NotJsonError among them, and integers of thousands of digits
        raise NotJsonError(str(err)) from err


def json_text(value: Any) -> str:
    """The canonical text of `value`.

    Raises:
        NotJsonError: it holds a lone surrogate or an integer over 64 bits.
    """
    try:
        return canonical_json(value).decode()
    except RecordError as err:
        raise NotJsonError("it holds a lone surrogate, or an integer over 64 bits") from err


def _refuse_constant(name: str) -> Any:
    raise NotJsonError(f"{name} is no JSON number")


def _number(digits: str) -> int | float:
    """12.0 is 12: to JSON and its schemas they are one number, and they are to be one answer."""
    value = float(digits)
    if not math.isfinite(value):
        raise NotJsonError(f"{digits[:40]} is too large a number")
    return int(value) if value.is_integer() and abs(value) <= _LARGEST_EXACT else value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise NotJsonError(f"the key {twice!r} is given twice")
    return found


def check_schema(schema: dict[str, Any]) -> None:
    """Refuse a schema that no answer could be checked against.

    Raises:
        ValueError: it is no JSON Schema, or refers to what is not in it.
    """
    validator_class = validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        validator_class.check_schema(schema)
    except SchemaError as err:
        where = "".join(f"[{part!r}]" for part in err.absolute_path)
        raise ValueError(f"schema{where} is no JSON Schema: {_short(err.message)}") from err
    except RecursionError as err:
        raise ValueError("schema is nested too deeply") from err
    resolver = _registry(schema).resolver()
    for reference in _references(schema):
        try:
            if not reference.startswith("#"):
                raise ValueError(
                    f"schema refers to {reference!r}, which is another document. Copy it into "
                    "'$defs' and refer to '#/$defs/NAME'"
                )
            resolver.lookup(reference)
        except Unresolvable as err:
            raise ValueError(f"schema refers to {reference!r}, which is not in it") from err


def schema_problem(value: Any, schema_text: str) -> str | None:
    """What is wrong with `value`, None where it follows the schema.

    Args:
        value: Plain JSON data.
        schema_text: A schema that `check_schema` has passed, as JSON text.
    """
    try:
        error = next(iter(_validator(schema_text).iter_errors(value)), None)
    except RecursionError:
        return "it, or the schema, is nested too deeply"
    return None if error is None else f"{error.json_path}: {_short(error.message)}"


@lru_cache(maxsize=16)  # a run has one task, and asks for it with every answer
def _validator(schema_text: str) -> Validator:
    schema = json.loads(schema_text)
    validator_class = validator_for(schema, default=jsonschema.Draft202012Validator)
    # With a registry of its own the library never fetches a schema from the network.
    return validator_class(schema, registry=_registry(schema))


def _registry(schema: dict[str, Any]) -> Registry[Any]:
    resource = Resource.from_contents(schema, default_specification=DRAFT202012)
    registry: Registry[Any] = Registry().with_resource("", resource)
    return registry


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for name, value in schema.items():
            if name in ("$ref", "$dynamicRef") and isinstance(value, str):
                yield value
            else:
                yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _short(message: str) -> str:
    return message if len(message) <= 120 else f"{message[:60]}...{message[-57:]}"
