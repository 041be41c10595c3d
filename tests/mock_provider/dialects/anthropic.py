"""Anthropic Messages."""

from collections.abc import Iterator
from typing import Any

import orjson

from tests.mock_provider.answers import Ask, Reply, Tool
from tests.mock_provider.dialects import openai_chat, reading
from tests.mock_provider.errors import ApiError
from tests.mock_provider.tokens import joined, tokenize, whole_pieces

FIELDS = reading.names(
    "max_tokens messages model cache_control container diagnostics inference_geo metadata "
    "output_config output_format service_tier speed stop_sequences stream system temperature "
    "thinking tool_choice tools top_k top_p user_profile_id workspace_id"
)
_CHOICES = {"any": "required", "auto": "auto", "none": "none", None: "auto"}
_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "filter": "refusal",
    "block": "refusal",
}


def read(body: dict[str, Any]) -> Ask:
    """Read a request, or refuse it as Anthropic does."""
    _check(body)
    messages = body["messages"]
    texts = [_message_text(message) for message in messages]
    system = reading.text_of_parts(body.get("system"), "text")
    return Ask(
        model=reading.known_model(body["model"]),
        text=texts[-1],
        is_tool_result=_has_tool_result(messages[-1]),
        prompt_bytes=reading.num_bytes(system, *texts),
        num_messages=len(messages) + bool(system),
        max_tokens=body["max_tokens"],
        stop=tuple(body.get("stop_sequences") or ()),
        tools=tuple(_tool(tool) for tool in body.get("tools") or ()),
        tool_choice=_choice(body.get("tool_choice")),
        schema=_schema(body),
        wants_reasoning=(body.get("thinking") or {}).get("type") in ("enabled", "adaptive"),
        is_stream=bool(body.get("stream")),
        stream_usage=True,
    )


def answer(ask: Ask, replies: list[Reply]) -> dict[str, Any]:
    """The message in one piece."""
    reply = replies[0]
    reason = _STOP_REASONS.get(reply.finish, reply.finish)
    return {
        "id": openai_chat.response_id(ask, "msg_"),
        "type": "message",
        "role": "assistant",
        "model": openai_chat.dated(ask.model),
        "content": list(_blocks(reply)),
        "stop_reason": reason,
        "stop_sequence": reply.stopped_by,
        "stop_details": {"type": "refusal"} if reason == "refusal" else None,
        "usage": usage(reply),
    }


def usage(reply: Reply) -> dict[str, Any]:
    """Usage of a message: `input_tokens` leaves out what the cache read or wrote."""
    counts = reply.counts
    return {
        "input_tokens": counts.prompt - counts.cached - counts.written,
        "cache_creation_input_tokens": counts.written,
        "cache_read_input_tokens": counts.cached,
        "cache_creation": {
            "ephemeral_5m_input_tokens": counts.written,
            "ephemeral_1h_input_tokens": 0,
        },
        "output_tokens": counts.completion,
        "output_tokens_details": {"thinking_tokens": counts.reasoning},
        "service_tier": "standard",
    }


def events(ask: Ask, replies: list[Reply]) -> Iterator[bytes]:
    """The message as events; usage is cumulative and complete only in `message_delta`."""
    whole = answer(ask, replies)
    started = {**whole, "content": [], "stop_reason": None, "stop_details": None}
    started["usage"] = {**whole["usage"], "output_tokens": 1, "output_tokens_details": None}
    yield _event({"type": "message_start", "message": {**started, "stop_sequence": None}})
    yield _event({"type": "ping"})
    for index, block in enumerate(whole["content"]):
        start = {"type": "content_block_start", "index": index, "content_block": _empty(block)}
        yield _event(start)
        for delta in _deltas(block):
            yield _event({"type": "content_block_delta", "index": index, "delta": delta})
        yield _event({"type": "content_block_stop", "index": index})
    ends = {name: whole[name] for name in ("stop_reason", "stop_sequence", "stop_details")}
    used = {key: value for key, value in whole["usage"].items() if key in _DELTA_USAGE}
    yield _event({"type": "message_delta", "delta": ends, "usage": used})
    yield _event({"type": "message_stop"})


_DELTA_USAGE = frozenset(
    ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens",
     "output_tokens_details")
)  # fmt: skip


def _check(body: dict[str, Any]) -> None:
    reading.only(body, FIELDS, "{}: Extra inputs are not permitted")
    for name in ("model", "max_tokens", "messages"):
        if body.get(name) is None:
            raise ApiError("invalid", f"{name}: Field required")
    if not isinstance(body["messages"], list) or not body["messages"]:
        raise ApiError("invalid", "messages: at least one message is required")
    reading.within(body["max_tokens"], "max_tokens", 0, 1_000_000)
    reading.within(body.get("temperature"), "temperature", 0, 1)
    reading.within(body.get("top_p"), "top_p", 0, 1)
    _check_thinking(body)
    for message in body["messages"]:
        if message.get("role") not in ("user", "assistant"):
            given = message.get("role")
            raise ApiError("invalid", f'messages: Unexpected role "{given}". Use the top-level '
                           "`system` parameter for system prompts.")  # fmt: skip
        if not message.get("content"):
            raise ApiError("invalid", "messages: all messages must have non-empty content")
    _check_tool_results(body["messages"])


def _check_thinking(body: dict[str, Any]) -> None:
    thinking = body.get("thinking") or {}
    reading.one_of(thinking.get("type"), "thinking.type", ("enabled", "adaptive", "disabled"))
    if thinking.get("type") != "enabled":
        return
    budget = thinking.get("budget_tokens", 0)
    if budget < 1024:
        raise ApiError("invalid", "thinking.enabled.budget_tokens: must be at least 1024")
    if budget >= body["max_tokens"]:
        raise ApiError("invalid", "`max_tokens` must be greater than `thinking.budget_tokens`.")
    if body.get("temperature", 1) != 1:
        raise ApiError("invalid", "`temperature` may only be set to 1 when thinking is enabled.")


def _check_tool_results(messages: list[dict[str, Any]]) -> None:
    asked: set[str] = set()
    for message in messages:
        for block in message["content"] if isinstance(message["content"], list) else ():
            if block.get("type") == "tool_use":
                asked.add(block["id"])
            if block.get("type") == "tool_result" and block.get("tool_use_id") not in asked:
                raise ApiError("invalid", "messages: unexpected `tool_use_id` found in "
                               f"`tool_result` blocks: {block.get('tool_use_id')}")  # fmt: skip


def _message_text(message: dict[str, Any]) -> str:
    content = message["content"]
    if isinstance(content, list) and content[-1].get("type") == "tool_result":
        return reading.text_of_parts(content[-1].get("content"), "text")
    return reading.text_of_parts(content, "text")


def _has_tool_result(message: dict[str, Any]) -> bool:
    content = message["content"]
    return isinstance(content, list) and any(b.get("type") == "tool_result" for b in content)


def _tool(tool: dict[str, Any]) -> Tool:
    for name in ("name", "input_schema"):
        if name not in tool:
            raise ApiError("invalid", f"tools.0.custom.{name}: Field required")
    return Tool(tool["name"], tool["input_schema"])


def _choice(given: dict[str, Any] | None) -> str:
    kind = (given or {}).get("type")
    return str((given or {})["name"]) if kind == "tool" else _CHOICES[kind]


def _schema(body: dict[str, Any]) -> dict[str, Any] | None:
    given = (body.get("output_config") or {}).get("format") or body.get("output_format")
    if not given:
        return None
    if given.get("type") != "json_schema" or "schema" not in given:
        raise ApiError("invalid", "output_config.format: schema: Field required")
    return given["schema"]  # type: ignore[no-any-return]


def _blocks(reply: Reply) -> Iterator[dict[str, Any]]:
    if reply.reasoning:
        yield {"type": "thinking", "thinking": reply.reasoning, "signature": "c2lnbmVk"}
    if reply.text and reply.finish != "block":
        yield {"type": "text", "text": reply.text, "citations": None}
    # A call whose arguments were cut has no `input` to give: Anthropic leaves it out.
    for call in reply.calls if reply.finish == "tool_calls" else ():
        value = orjson.loads(call.arguments)
        yield {"type": "tool_use", "id": f"toolu_{call.id}", "name": call.name, "input": value}


def _empty(block: dict[str, Any]) -> dict[str, Any]:
    emptied = {"thinking": {"thinking": "", "signature": ""}, "text": {"text": ""}}
    return {**block, **emptied.get(block["type"], {"input": {}})}


def _deltas(block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if block["type"] == "text":
        for tokens in whole_pieces(tokenize(block["text"])):
            yield {"type": "text_delta", "text": joined(tokens)}
    elif block["type"] == "thinking":
        half = len(block["thinking"]) // 2
        for piece in (block["thinking"][:half], block["thinking"][half:]):
            yield {"type": "thinking_delta", "thinking": piece}
        yield {"type": "signature_delta", "signature": block["signature"]}
    else:
        written = orjson.dumps(block["input"]).decode()
        yield {"type": "input_json_delta", "partial_json": ""}
        for at in range(0, len(written), 5):
            yield {"type": "input_json_delta", "partial_json": written[at : at + 5]}


def _event(event: dict[str, Any]) -> bytes:
    return f"event: {event['type']}\ndata: ".encode() + orjson.dumps(event) + b"\n\n"
