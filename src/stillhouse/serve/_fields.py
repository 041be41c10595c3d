"""Fields of a JSON request, checked; what is not asked for is ignored."""

from typing import Any

import orjson

from stillhouse.serve._ask import RefusedError

MAX_DEPTH = 100
"""Levels of lists and objects in a request. What writes JSON again, such as schemas, recurses."""

MAX_PARTS = 100_000
"""Lists and objects in a request."""

MAX_MODEL_CHARS = 256
"""Of the name of a model, which every event of a stream repeats."""


def read_object(body: bytes) -> dict[str, Any]:
    """A request's JSON object. Of keys that come twice the last one counts.

    Raises:
        RefusedError: the body is none, or nested too deeply.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as err:
        raise RefusedError(400, f"The body is no JSON ({err}). Send a JSON object.") from err
    if not isinstance(value, dict):
        raise RefusedError(400, "The body is no JSON object. Send one.")
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH:  # others cannot be that deep
        _check_depth(value)
    return value


def model_name(fields: dict[str, Any], default: str) -> str:
    """What a request calls the model; any name is taken, for there is one model.

    Raises:
        RefusedError: it is no text, or a long one.
    """
    name = fields.get("model")
    if name is None or name == "":
        return default
    if not isinstance(name, str) or len(name) > MAX_MODEL_CHARS:
        raise wrong("model", name, f"a text of up to {MAX_MODEL_CHARS} characters")
    return name


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
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 1.0 is a whole number in JSON
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


def _check_depth(value: Any) -> None:
    level, num_parts = [value], 1
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _inside(outer)]
        num_parts += len(level)
        if num_parts > MAX_PARTS:  # nobody else is served while they are looked at
            raise RefusedError(400, f"The body has more than {MAX_PARTS:,} lists and objects.")
        if not level:
            return
    raise RefusedError(400, f"The body is nested in more than {MAX_DEPTH} levels. Flatten it.")


def _inside(value: Any) -> list[Any]:
    """The lists and objects in one."""
    items = value.values() if isinstance(value, dict) else value
    return [item for item in items if isinstance(item, dict | list)]
