"""What a row of a foreign export comes down to: a prompt, and the answer in a dialect we read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from stillhouse.records import Message, Sampling, Split, Tool, content_hash
from stillhouse.runlog import Answer

ReadRow = Mapping[str, Any]
_UPPER = re.compile("[A-Z]")
_REASONS = {"tool_use": "tool_calls", "max_output_tokens": "length", "refusal": "content_filter"}


class BadRowError(ValueError):
    """A row that is not what its format promises.

    Attributes:
        reason: One word for the counts.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class NoAnswerError(Exception):
    """A sound row that records no answer: a failed call, a span, a running eval.

    Attributes:
        reason: One word for the counts.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer as our own ledger keeps it.

    Attributes:
        answer: With its usage, cost and duration.
        teacher: Who was asked.
        sampling: How.
    """

    answer: Answer
    teacher: str
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class Exchange:
    """One prompt and one answer to it.

    Attributes:
        messages: The prompt.
        body: The answer as the endpoint would have sent it.
        dialect: Whose words `body` is in, a key of `DIALECTS`.
        tools: What the teacher might call.
        output_schema: JSON Schema that the answer had to follow, as JSON text.
        labels: What the teacher was to choose from.
        seconds: How long the call took, 0 where the row does not say.
        split: Which side of the split the row is on.
        group: What the prompt is about.
        reference: What a person says is the right answer.
        kept: The answer where it is from a ledger; then `body` and `dialect` do not count.
    """

    messages: tuple[Message, ...]
    body: dict[str, Any]
    dialect: str = "openai_chat"
    tools: tuple[Tool, ...] = ()
    output_schema: str | None = None
    labels: tuple[str, ...] = ()
    seconds: float = 0.0
    split: Split = "train"
    group: str | None = None
    reference: str | None = None
    kept: Kept | None = None


def chat_body(
    message: Mapping[str, Any],
    *,
    model: str | None,
    finish_reason: Any = None,
    usage: Mapping[str, Any] | None = None,
    created: Any = None,
) -> dict[str, Any]:
    """An answer that is no body of any endpoint, put as a chat completion.

    Args:
        message: The assistant's, with `content` and whatever else it has.
        model: What answered.
        finish_reason: In the words of any provider; "stop" where the row does not say.
        usage: In the terms of Chat Completions.
        created: Seconds since 1970, or a time as text.
    """
    reason = str(finish_reason or "stop").lower().replace("-", "_")
    return {
        "model": model,
        "choices": [
            {"index": 0, "message": dict(message), "finish_reason": _REASONS.get(reason, reason)}
        ],
        "usage": {name: value for name, value in (usage or {}).items() if value is not None},
        "created": created,
    }


def field_of(value: Mapping[str, Any], name: str) -> Any:
    """What is under `name` (camelCase), or under its snake_case form; None where nothing is."""
    if name in value:
        return value[name]
    return value.get(_UPPER.sub(lambda match: f"_{match[0].lower()}", name))


def object_at(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The object under `name`; a missing one is empty.

    Raises:
        BadRowError: it is something else.
    """
    value = row.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRowError("malformed", f"{name} is {type(value).__name__}, not an object")
    return value


def parsed(value: Any) -> Any:
    """`value`, or what it says where it is JSON text of an object or a list."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value  # text that begins with a bracket
    return value


def json_text(value: Any) -> str:
    """`value` as JSON text."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError as err:
        raise BadRowError("malformed", f"cannot be written as JSON ({err})") from err


def placeholder(kind: str, part: Any) -> str:
    """What stands for a part that is no text: two different images stay two different prompts."""
    return f"[{kind} {content_hash(json_text(part))[:16]}]"
