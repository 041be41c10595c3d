"""What the protocols of OpenAI have in common."""

import json
import secrets
from collections.abc import Sequence
from typing import Any

from stillhouse.records import Message, Tool, ToolCall
from stillhouse.serve._ask import RefusedError, TokenScore
from stillhouse.serve._fields import number, part, text, wrong

MAX_CHOICES = 16
"""Answers to one request."""

MAX_STOPS = 16
MAX_SEED = 2**63 - 1
_LEAST_TOP_P = 1e-6  # below every probability of a likeliest token
MAX_TOKENS = 10**9

_ROLES = {"developer": "system"}
_ERROR_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "server_error",
    502: "server_error",
    503: "server_error",
    504: "server_error",
}


def new_id(prefix: str) -> str:
    """An id that no other answer has."""
    return f"{prefix}{secrets.token_hex(12)}"


def error_body(err: RefusedError) -> dict[str, Any]:
    """An error object."""
    error = {
        "message": err.message,
        "type": _ERROR_TYPES.get(err.status, "invalid_request_error"),
        "param": err.param,
        "code": err.code,
    }
    return {"error": error}


def message_text(content: Any, name: str, kinds: Sequence[str] = ("text",)) -> str:
    """The text of a content, which may come in parts.

    Raises:
        RefusedError: it is of another kind, such as a picture.
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise wrong(name, content, "a text or a list of parts of text")
    texts = []
    for item in content:
        kind = item.get("type") if isinstance(item, dict) else None
        if kind not in kinds:
            raise RefusedError(
                400,
                f"'{name}' has a part of type {kind!r}; this model reads text only.",
                param=name,
            )
        texts.append(text(item, "refusal" if kind == "refusal" else "text"))
    return "".join(texts)


def read_role(given: Any, allowed: Sequence[str]) -> str:
    """The role of a turn.

    Raises:
        RefusedError: there is no such role.
    """
    if not isinstance(given, str) or given not in allowed:
        raise wrong("role", given, f"one of {', '.join(allowed)}")
    return _ROLES.get(given, given)


def make_tool(name: Any, description: Any, parameters: Any) -> Tool:
    """A tool of a request.

    Raises:
        RefusedError: it has no name, or its parameters are no schema.
    """
    if not isinstance(name, str) or not name:
        raise wrong("tools", name, "tools that have a name")
    if parameters is not None and not isinstance(parameters, dict):
        raise wrong("tools", parameters, "parameters that are a JSON schema")
    told = description if isinstance(description, str) else ""
    return Tool(name=name, description=told, parameters=json.dumps(parameters or {}))


def read_choice(given: Any, name_of: Any) -> tuple[bool, bool, str | None]:
    """What `tool_choice` says: whether tools are told, whether one is called, and which.

    Raises:
        RefusedError: it says nothing that is known.
    """
    if given is None or given == "auto":
        return True, False, None
    if given == "none":
        return False, False, None
    if given in ("required", "any"):
        return True, True, None
    only = name_of(given) if isinstance(given, dict) else None
    if not isinstance(only, str):
        raise wrong("tool_choice", given, "auto, none, required or one of the tools")
    return True, True, only


def schema_of(fields: dict[str, Any], name: str, schema_at: Sequence[str]) -> str | None:
    """The JSON schema that a format asks for, as JSON text; None for text.

    Raises:
        RefusedError: the format is not known, or names no schema.
    """
    form = part(fields, name)
    kind = form.get("type", "text")
    if kind == "text":
        return None
    if kind == "json_object":
        return '{"type": "object"}'
    if kind != "json_schema":
        raise wrong(f"{name}.type", kind, "text, json_object or json_schema")
    for key in schema_at:
        form = part(form, key)
    schema = form.get("schema")
    if not isinstance(schema, dict):
        raise wrong(".".join([name, *schema_at, "schema"]), schema, "a JSON schema")
    return json.dumps(schema)


def read_message(role: str, content: str, calls: tuple[ToolCall, ...], call_id: Any) -> Message:
    """One turn of a conversation."""
    of_tool = call_id if role == "tool" and isinstance(call_id, str) else None
    return Message.model_validate(
        {"role": role, "content": content, "tool_calls": calls, "tool_call_id": of_tool}
    )


def score_fields(score: TokenScore) -> dict[str, Any]:
    """A token as chat completions tell it."""
    return {**_token(score), "top_logprobs": [_token(other) for other in score.top]}


def read_top_p(fields: dict[str, Any]) -> float:
    """The mass of the nucleus; 0 keeps the likeliest token.

    Raises:
        RefusedError: it is no number from 0 to 1.
    """
    return max(number(fields, "top_p", 1.0, 0.0, 1.0), _LEAST_TOP_P)


def _token(score: TokenScore) -> dict[str, Any]:
    return {"token": score.text, "logprob": score.logprob, "bytes": list(score.raw)}
