"""What all four dialects check of a request before they read it."""

from collections.abc import Collection, Iterable
from typing import Any

import orjson

from tests.mock_provider.errors import ApiError

MISSING_MODEL = "missing-model"
"""A model that no provider of the mock has."""


def names(words: str) -> frozenset[str]:
    """The names in a text, separated by blanks."""
    return frozenset(words.split())


def json_object(body: bytes) -> dict[str, Any]:
    """The body as a JSON object, or a 400."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as err:
        raise ApiError("invalid", f"We could not parse the JSON body of your request: {err}") from (
            err
        )
    if not isinstance(value, dict):
        raise ApiError("invalid", "The body of a request must be a JSON object.")
    return value


def need(body: dict[str, Any], *names: str) -> None:
    """Refuse a body without these fields."""
    for name in names:
        if body.get(name) is None:
            message = f"Missing required parameter: '{name}'."
            raise ApiError("invalid", message, param=name, code="missing_required_parameter")


def only(body: dict[str, Any], known: Collection[str], wording: str) -> None:
    """Refuse a body with other fields; `wording` has a place for the name."""
    for name in body:
        if name not in known:
            raise ApiError("invalid", wording.format(name), param=name, code="unknown_parameter")


def within(value: Any, name: str, least: float, most: float) -> None:
    """Refuse a number outside its range; a field that is not given is fine."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        message = f"Invalid type for '{name}': expected a number, got {type(value).__name__}."
        raise ApiError("invalid", message, param=name, code="invalid_type")
    if not least <= value <= most:
        message = f"Invalid '{name}': {value} is not between {least} and {most}."
        raise ApiError("invalid", message, param=name, code="value_out_of_range")


def one_of(value: Any, name: str, allowed: Iterable[str]) -> None:
    """Refuse any other value; a field that is not given is fine."""
    if value is not None and value not in allowed:
        message = f"Invalid value: '{value}'. Supported values are: {sorted(allowed)}."
        raise ApiError("invalid", message, param=name, code="invalid_value")


def known_model(model: Any) -> str:
    """The model's name, or a 404 for the one that is missing."""
    if not isinstance(model, str) or not model:
        raise ApiError("invalid", "you must provide a model parameter", param="model")
    if model == MISSING_MODEL:
        raise ApiError("missing", f"The model `{model}` does not exist or you do not have access.")
    return model


def text_of_parts(content: Any, *text_types: str) -> str:
    """The text of a message's content, which is text or a list of parts."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise ApiError("invalid", f"Invalid type for 'content': {type(content).__name__}.")
    texts = [part for part in content if isinstance(part, dict) and part.get("type") in text_types]
    return "".join(str(part.get("text", "")) for part in texts)


def num_bytes(*texts: str) -> int:
    """UTF-8 length of texts."""
    return sum(len(text.encode()) for text in texts)
