"""Reading JSON that others wrote: a surprise is a `MalformedAnswerError` that names its place."""

from typing import Any

import orjson

from stillhouse.teachers._dialects._protocol import MalformedAnswerError

_MAX_COUNT = 2**53  # far above any number of tokens, and safe to add up and to store


def parse_object(raw: bytes | str) -> dict[str, Any]:
    """The JSON object in `raw`."""
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError as err:
        raise MalformedAnswerError(f"not JSON ({err}), {len(raw)} bytes") from err
    if not isinstance(data, dict):
        raise MalformedAnswerError(f"a JSON {type(data).__name__}, not an object")
    return data


def dump(value: Any) -> bytes:
    """JSON text of what was read as JSON before."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError as err:
        # What may be read is nested up to 1,024 deep, what may be written up to 254.
        raise MalformedAnswerError(f"cannot be written as JSON ({err})") from err


def object_in(value: Any, place: str) -> dict[str, Any]:
    """`value` as an object; a missing one is empty."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise MalformedAnswerError(f"{place} is {type(value).__name__}, not an object")
    return value


def list_in(value: Any, place: str) -> list[Any]:
    """`value` as a list; a missing one is empty."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise MalformedAnswerError(f"{place} is {type(value).__name__}, not a list")
    return value


def objects_in(value: Any, place: str) -> list[dict[str, Any]]:
    """`value` as a list of objects; a missing one is empty."""
    values = list_in(value, place)
    for index, item in enumerate(values):
        if not isinstance(item, dict):
            raise MalformedAnswerError(f"{place}[{index}] is {type(item).__name__}, not an object")
    return values


def text_in(value: Any, place: str) -> str:
    """`value` as text; a missing one is empty."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise MalformedAnswerError(f"{place} is {type(value).__name__}, not text")
    return value


def count_in(value: Any, place: str) -> int:
    """`value` as a count; a missing one is 0."""
    if value is None:
        return 0
    if isinstance(value, float) and value.is_integer():  # some hosts write 12.0
        value = int(value)
    if type(value) is not int or not 0 <= value <= _MAX_COUNT:
        raise MalformedAnswerError(f"{place} is {shown(value)}, not a count")
    return value


def shown(value: Any) -> str:
    """`value` as a message may quote it: scalars as they are, of anything larger its type."""
    if value is None or isinstance(value, str | int | float):
        return f"{value!r:.40}"
    return type(value).__name__
