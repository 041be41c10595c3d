"""Fields of a JSON request, checked; what is not asked for is ignored."""

from typing import Any

import orjson

from stillhouse.serve._ask import RefusedError


def read_object(body: bytes) -> dict[str, Any]:
    """A request's JSON object.

    Raises:
        RefusedError: the body is none.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as err:
        raise RefusedError(400, f"The body is no JSON ({err}). Send a JSON object.") from err
    if not isinstance(value, dict):
        raise RefusedError(400, "The body is no JSON object. Send one.")
    return value


def number(fields: dict[str, Any], name: str, default: float, low: float, high: float) -> float:
    """A number within its range; `default` where it is absent or null.

    Raises:
        RefusedError: it is none, or out of range.
    """
    value = fields.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise wrong(name, value, f"a number from {low:g} to {high:g}")
    return float(value)


def whole_number(
    fields: dict[str, Any], name: str, default: int | None, low: int, high: int
) -> int | None:
    """A whole number within its range; `default` where it is absent or null.

    Raises:
        RefusedError: it is none, or out of range.
    """
    value = fields.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise wrong(name, value, f"a whole number from {low} to {high}")
    return value


def flag(fields: dict[str, Any], name: str) -> bool:
    """A boolean; False where it is absent or null.

    Raises:
        RefusedError: it is none.
    """
    value = fields.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise wrong(name, value, "true or false")
    return value


def text(fields: dict[str, Any], name: str) -> str:
    """A text that has to be there.

    Raises:
        RefusedError: it is absent, or no text.
    """
    value = fields.get(name)
    if not isinstance(value, str):
        raise wrong(name, value, "a text")
    return value


def texts(fields: dict[str, Any], name: str, most: int) -> tuple[str, ...]:
    """One text or a list of them; none where it is absent or null. Empty ones are left out.

    Raises:
        RefusedError: it is neither, or they are too many.
    """
    value = fields.get(name)
    if value is None:
        return ()
    given = [value] if isinstance(value, str) else value
    if (
        not isinstance(given, list)
        or len(given) > most
        or not all(isinstance(item, str) for item in given)
    ):
        raise wrong(name, value, f"a text or a list of up to {most}")
    return tuple(item for item in given if item)


def part(fields: dict[str, Any], name: str) -> dict[str, Any]:
    """An object; an empty one where it is absent or null.

    Raises:
        RefusedError: it is none.
    """
    value = fields.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise wrong(name, value, "an object")
    return value


def parts(fields: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """A list of objects; an empty one where it is absent or null.

    Raises:
        RefusedError: it is none.
    """
    value = fields.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise wrong(name, value, "a list of objects")
    return value


def wrong(name: str, value: Any, allowed: str) -> RefusedError:
    """The refusal of a field."""
    shown = "absent" if value is None else repr(value)
    if len(shown) > 60:
        shown = f"{shown[:57]}..."
    return RefusedError(400, f"'{name}' is {shown}; give {allowed}.", param=name)
