"""Words to write JSON schemas with, in the draft of OpenAPI 3.1."""

from collections.abc import Mapping, Sequence
from typing import Any

Schema = dict[str, Any]

ANYTHING: Schema = {}
NOTHING: Schema = {"type": "null"}
TEXT: Schema = {"type": "string"}
SOME_TEXT: Schema = {"type": "string", "minLength": 1}
FLAG: Schema = {"type": "boolean"}
NUMBER: Schema = {"type": "number"}
COUNT: Schema = {"type": "integer", "minimum": 0}
OBJECT: Schema = {"type": "object"}


def ref(name: str) -> Schema:
    """A schema of the document's components."""
    return {"$ref": f"#/components/schemas/{name}"}


def given(required: Mapping[str, Schema], optional: Mapping[str, Schema]) -> Schema:
    """An object of a request: fields that are not known are ignored, null ones count as absent."""
    fields = {name: either(schema, NOTHING) for name, schema in optional.items()}
    return {"type": "object", "properties": {**required, **fields}, "required": [*required]}


def told(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """An object of an answer: these fields and no others."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": [*required],
        "additionalProperties": False,
    }


def const(value: Any) -> Schema:
    """One value."""
    return {"const": value}


def one_of(values: Sequence[Any]) -> Schema:
    """One of some values."""
    return {"enum": [*values]}


def either(*schemas: Schema) -> Schema:
    """What fits one of some schemas; those without conditions stay as they are."""
    return {} if {} in schemas else {"anyOf": [*schemas]}


def maybe(schema: Schema) -> Schema:
    """What may be null."""
    return either(schema, NOTHING)


def listed(items: Schema, least: int = 0, most: int | None = None) -> Schema:
    """A list."""
    limits = {} if most is None else {"maxItems": most}
    return {"type": "array", "items": items, "minItems": least, **limits}


def number(low: float, high: float) -> Schema:
    """A number within a range."""
    return {"type": "number", "minimum": low, "maximum": high}


def whole(low: int, high: int) -> Schema:
    """A whole number within a range."""
    return {"type": "integer", "minimum": low, "maximum": high}
