"""Values that fit a JSON Schema, and OpenAI's rules for strict schemas."""

from typing import Any
from zlib import crc32

from tests.mock_provider.errors import ApiError


def value_of(schema: dict[str, Any], text: str, root: dict[str, Any] | None = None) -> Any:
    """A value that fits `schema`, the same one for the same text.

    Strings are `text`; understood are the keywords that providers take for structured output.
    """
    root = schema if root is None else root
    if "$ref" in schema:
        return value_of(_resolved(schema["$ref"], root), text, root)
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            return value_of(schema[choice][0], text, root)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][crc32(text.encode()) % len(schema["enum"])]
    return _typed(_type_of(schema), schema, text, root)


def check_strict(schema: Any, name: str, context: tuple[str, ...] = ()) -> None:
    """Refuse what OpenAI refuses of a schema with `strict: true`."""
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "object" or "properties" in schema:
        properties = schema.get("properties", {})
        if schema.get("additionalProperties") is not False:
            _refuse(name, context, "'additionalProperties' is required to be supplied and false.")
        missing = sorted(set(properties) - set(schema.get("required", [])))
        if missing:
            _refuse(name, context, f"'required' must hold every key. Missing '{missing[0]}'.")
        for key, part in properties.items():
            check_strict(part, name, (*context, "properties", key))
    check_strict(schema.get("items"), name, (*context, "items"))
    for key in ("anyOf", "oneOf"):
        for part in schema.get(key, []):
            check_strict(part, name, (*context, key))


def _refuse(name: str, context: tuple[str, ...], what: str) -> None:
    message = f"Invalid schema for response_format '{name}': In context={context}, {what}"
    raise ApiError("invalid", message, param="response_format", code="invalid_json_schema")


def _resolved(reference: str, root: dict[str, Any]) -> dict[str, Any]:
    found: Any = root
    for key in reference.removeprefix("#/").split("/"):
        found = found[key]
    return found  # type: ignore[no-any-return]


def _type_of(schema: dict[str, Any]) -> str:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = next(each for each in kind if each != "null")
    return str(kind).lower()


def _typed(kind: str, schema: dict[str, Any], text: str, root: dict[str, Any]) -> Any:
    if kind == "object":
        parts = schema.get("properties", {})
        return {name: value_of(part, text, root) for name, part in parts.items()}
    if kind == "array":
        items = schema.get("items", {"type": "string"})
        return [value_of(items, text, root)] * int(schema.get("minItems", 1))
    if kind in ("integer", "number"):
        return _number(kind, schema, text)
    if kind == "boolean":
        return crc32(text.encode()) % 2 == 0
    return None if kind == "null" else text


def _number(kind: str, schema: dict[str, Any], text: str) -> int | float:
    least = int(schema.get("minimum", 0))
    most = int(schema.get("maximum", least + 9))
    value = least + crc32(text.encode()) % (most - least + 1)
    return value if kind == "integer" else float(value)
