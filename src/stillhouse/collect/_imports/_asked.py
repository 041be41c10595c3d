"""What an application's request asks: `Dialect.body` the other way round.

Tolerant: an application may send anything that its provider takes. What no record of ours holds
(stop sequences, a tool choice, images) stays in the request's own bytes, which are kept beside;
what the prompt is not whole without is named, so that nobody learns from half a prompt.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import ValidationError

from stillhouse.collect._imports._asked_gemini import read_contents, read_declarations
from stillhouse.collect._imports._asked_sampling import read_sampling
from stillhouse.collect._imports._exchange import BadRowError, placeholder
from stillhouse.collect._imports._messages import read_messages, read_output_schema, read_tools
from stillhouse.collect._prompts import ID_HEX_DIGITS, asked_identity
from stillhouse.errors import RecordError
from stillhouse.records import Message, Prompt, Request, Sampling

_UNNAMED = "unnamed"  # until what is asked is known
_READ_PARTS = frozenset(
    (
        "text", "input_text", "output_text", "refusal", "thinking", "redacted_thinking",
        "reasoning", "tool_use",
    )
)  # fmt: skip
_READ_ITEMS = frozenset(("message", "function_call", "function_call_output", "reasoning"))
# Fields that stand for text which the provider keeps and the request does not hold.
_KEPT_ELSEWHERE = ("previous_response_id", "conversation", "prompt", "cachedContent", "container")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as far as it is modelled.

    Attributes:
        model: Who is asked, as the provider names it.
        prompt: Messages, tools and output schema; its id says what is in them.
        sampling: What the request says of it, and the record's defaults where it says nothing.
        lacks: Kinds of parts and fields that the prompt is not whole without, sorted: `image_url`,
            `previous_response_id`. A part is replaced by its kind and hash.
    """

    model: str
    prompt: Prompt
    sampling: Sampling
    lacks: tuple[str, ...] = ()

    def request(self, provider: str, *, sample_index: int) -> Request:
        """The record of this request; equal ones are told apart by `sample_index`."""
        return Request.of(
            self.prompt,
            teacher=f"{provider}:{self.model}",
            sampling=self.sampling,
            sample_index=sample_index,
        )


def request_of(raw: bytes, dialect: str, *, model: str | None = None) -> Asked:
    """What the body of a request asks.

    Args:
        raw: The body as it was sent, without any content encoding.
        dialect: Whose words it is in, a key of `DIALECTS`.
        model: Who is asked, where the path and not the body says it.

    Raises:
        BadRowError: it is no request of the dialect, or holds what no record can.
    """
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as err:
        raise BadRowError("not_json", f"the request is not JSON ({err})") from err
    if not isinstance(body, dict):
        raise BadRowError("malformed", f"the request is a {type(body).__name__}, not an object")
    name = model or body.get("model")
    if not isinstance(name, str) or not name:
        raise BadRowError("malformed", "the request names no model")
    lacks = {field for field in _KEPT_ELSEWHERE if body.get(field)}
    try:
        prompt = _prompt(body, dialect, lacks)
    except ValidationError as err:
        first = err.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BadRowError("malformed", f"{place}: {first['msg']}") from err
    except RecordError as err:
        raise BadRowError("malformed", str(err)) from err
    return Asked(name, prompt, read_sampling(body, dialect), tuple(sorted(lacks)))


def _prompt(body: Mapping[str, Any], dialect: str, lacks: set[str]) -> Prompt:
    if dialect == "gemini":
        messages = read_contents(body, lacks)
        tools, schema = read_declarations(body)
    else:
        messages = _messages(body, lacks)
        tools, schema = read_tools(body.get("tools")), read_output_schema(body)
    prompt = Prompt(id=_UNNAMED, messages=messages, tools=tools, output_schema=schema)
    return prompt.model_copy(update={"id": asked_identity(prompt)[:ID_HEX_DIGITS]})


def _messages(body: Mapping[str, Any], lacks: set[str]) -> tuple[Message, ...]:
    """The messages of a request to OpenAI, Anthropic or who speaks as they do."""
    given = body.get("messages", body.get("input"))
    if given is None and "prompt" in lacks:
        given = ""  # a template that the provider keeps is all of it
    if given is None:
        raise BadRowError("no_prompt", "the request has no messages")
    system = body.get("system") or body.get("instructions")
    first = [{"role": "system", "content": system}] if system else []
    items = given if isinstance(given, list) else [{"role": "user", "content": given}]
    return read_messages(
        [_readable(item, lacks) for item in (*first, *items) if _is_readable(item, lacks)]
    )


def _is_readable(item: Any, lacks: set[str]) -> bool:
    """Whether an item of a conversation is one of ours; others are what built-in tools did."""
    if not isinstance(item, Mapping) or "role" in item:
        return True
    kind = item.get("type", "message")
    if not isinstance(kind, str) or kind in _READ_ITEMS:
        return True
    lacks.add(kind)
    return False


def _readable(item: Any, lacks: set[str]) -> Any:
    """An item with all that is no text replaced."""
    if not isinstance(item, Mapping):
        return item
    place = "output" if item.get("type") == "function_call_output" else "content"
    parts = item.get(place)
    if isinstance(parts, Mapping):
        parts = [parts]
    if not isinstance(parts, list):
        return item
    return {**item, place: [_readable_part(part, lacks) for part in parts]}


def _readable_part(part: Any, lacks: set[str]) -> Any:
    kind = part.get("type", "text") if isinstance(part, Mapping) else "text"
    if not isinstance(kind, str) or kind in _READ_PARTS:
        return part
    if kind == "tool_result":
        return _readable(part, lacks)
    lacks.add(kind)
    return {"type": "text", "text": placeholder(kind, part)}
