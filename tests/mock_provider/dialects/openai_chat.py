"""OpenAI Chat Completions, as of the API's specification 2.3.0 of August 2026."""

from collections.abc import Iterator
from typing import Any
from zlib import crc32

import orjson

from tests.mock_provider.answers import Ask, Call, Reply, Tool
from tests.mock_provider.dialects import reading
from tests.mock_provider.errors import ApiError
from tests.mock_provider.schemas import check_strict
from tests.mock_provider.tokens import Token, joined, openai_logprob, whole_pieces

FIELDS = reading.names(
    "messages model audio frequency_penalty function_call functions logit_bias logprobs "
    "max_completion_tokens max_tokens metadata modalities moderation n parallel_tool_calls "
    "prediction presence_penalty prompt_cache_key prompt_cache_options prompt_cache_retention "
    "reasoning_effort response_format safety_identifier seed service_tier stop store stream "
    "stream_options temperature tool_choice tools top_logprobs top_p user verbosity "
    "web_search_options"
)
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
CREATED = 1_790_000_000
_FINISH = {
    "stop_sequence": "stop",
    "filter": "content_filter",
    "refusal": "stop",
    "block": "stop",
}


def read(body: dict[str, Any]) -> Ask:
    """Read a request, or refuse it as OpenAI does."""
    _check(body)
    messages = body["messages"]
    texts = [_message_text(message) for message in messages]
    logprobs = body.get("logprobs")
    return Ask(
        model=reading.known_model(body["model"]),
        text=texts[-1],
        is_tool_result=messages[-1].get("role") == "tool",
        prompt_bytes=reading.num_bytes(*texts),
        num_messages=len(messages),
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        stop=stops(body.get("stop")),
        num_choices=body.get("n") or 1,
        top_logprobs=(body.get("top_logprobs") or 0) if logprobs else None,
        tools=tuple(_tool(tool) for tool in body.get("tools") or ()),
        tool_choice=choice(body.get("tool_choice")),
        schema=_schema(body.get("response_format")),
        wants_reasoning=body.get("reasoning_effort", "none") != "none",
        seed=body.get("seed"),
        is_stream=bool(body.get("stream")),
        stream_usage=bool((body.get("stream_options") or {}).get("include_usage")),
    )


def answer(ask: Ask, replies: list[Reply], field: str | None = None) -> dict[str, Any]:
    """The answer in one piece; `field` is where reasoning goes, for hosts that show it."""
    return {
        "id": response_id(ask),
        "object": "chat.completion",
        "created": CREATED,
        "model": dated(ask.model),
        "choices": [_choice(ask, reply, at, field) for at, reply in enumerate(replies)],
        "usage": usage(replies),
        "service_tier": "default",
        "system_fingerprint": "fp_mock",
    }


def events(ask: Ask, replies: list[Reply], field: str | None = None) -> Iterator[bytes]:
    """The answer as server-sent events."""
    for at, reply in enumerate(replies):
        for delta, tokens in _deltas(reply, field):
            yield _chunk(ask, _stream_choice(ask, at, delta, tokens))
        yield _chunk(ask, {"index": at, "delta": {}, "finish_reason": _finish(reply)})
    if ask.stream_usage:
        yield _event({**_envelope(ask), "choices": [], "usage": usage(replies)})
    yield b"data: [DONE]\n\n"


def usage(replies: list[Reply]) -> dict[str, Any]:
    """Usage of a request: one prompt, the completions of all choices."""
    first = replies[0].counts
    completion = sum(reply.counts.completion for reply in replies)
    return {
        "prompt_tokens": first.prompt,
        "completion_tokens": completion,
        "total_tokens": first.prompt + completion,
        "prompt_tokens_details": {
            "cached_tokens": first.cached,
            "cache_write_tokens": first.written,
            "audio_tokens": first.audio,
        },
        "completion_tokens_details": {
            "reasoning_tokens": sum(reply.counts.reasoning for reply in replies),
            "audio_tokens": first.audio,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def response_id(ask: Ask, prefix: str = "chatcmpl-") -> str:
    """An id that is the same for the same prompt."""
    return f"{prefix}{crc32(f'{ask.model} {ask.text} {ask.seed}'.encode()):08x}"


def dated(model: str) -> str:
    """The full name of a model, as the answer gives it."""
    return f"{model}-2026-01-02"


def stops(given: Any) -> tuple[str, ...]:
    """Stop sequences, given as one or as a list."""
    return (given,) if isinstance(given, str) else tuple(given or ())


def choice(given: Any) -> str:
    """`auto`, `none`, `required` or the name of the tool that must be called."""
    if isinstance(given, dict):
        return str((given.get("function") or given).get("name", "required"))
    return given or "auto"


def _check(body: dict[str, Any]) -> None:
    reading.only(body, FIELDS, "Unrecognized request argument supplied: {}")
    reading.need(body, "model", "messages")
    if not isinstance(body["messages"], list) or not body["messages"]:
        message = "Invalid 'messages': empty array. Expected an array with minimum length 1."
        raise ApiError("invalid", message, param="messages", code="empty_array")
    reading.within(body.get("temperature"), "temperature", 0, 2)
    reading.within(body.get("top_p"), "top_p", 0, 1)
    reading.within(body.get("n"), "n", 1, 128)
    reading.within(body.get("top_logprobs"), "top_logprobs", 0, 20)
    reading.within(body.get("seed"), "seed", -(2**63), 2**63 - 1)
    for name in ("max_tokens", "max_completion_tokens"):
        reading.within(body.get(name), name, 1, 1_000_000)
    reading.one_of(body.get("reasoning_effort"), "reasoning_effort", EFFORTS)
    _check_combinations(body)


def _check_combinations(body: dict[str, Any]) -> None:
    if body.get("top_logprobs") is not None and not body.get("logprobs"):
        _refuse("'top_logprobs' is only allowed when 'logprobs' is true.", "top_logprobs")
    if body.get("stream_options") and not body.get("stream"):
        _refuse("'stream_options' is only allowed when 'stream' is enabled.", "stream_options")
    if "max_tokens" in body and "max_completion_tokens" in body:
        _refuse("Setting 'max_tokens' and 'max_completion_tokens' both is not supported.", "max")
    if body.get("tool_choice") is not None and not body.get("tools"):
        _refuse("'tool_choice' is only allowed when 'tools' are specified.", "tool_choice")
    if len(body.get("metadata") or {}) > 16:
        _refuse("Invalid 'metadata': too many properties.", "metadata")
    asked = {call["id"] for message in body["messages"] for call in message.get("tool_calls") or ()}
    for message in body["messages"]:
        reading.one_of(message.get("role"), "messages.role", ROLES)
        if message.get("role") == "tool" and message.get("tool_call_id") not in asked:
            _refuse("messages with role 'tool' must be a response to a preceding message with "
                    "'tool_calls'.", "messages")  # fmt: skip


def _refuse(message: str, param: str) -> None:
    raise ApiError("invalid", message, param=param)


def _message_text(message: dict[str, Any]) -> str:
    return reading.text_of_parts(message.get("content"), "text", "refusal")


def _tool(tool: dict[str, Any]) -> Tool:
    if tool.get("type") != "function" or "name" not in tool.get("function", {}):
        raise ApiError("invalid", "Missing required parameter: 'tools[0].function'.", param="tools")
    function = tool["function"]
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    if function.get("strict"):
        check_strict(parameters, function["name"])
    return Tool(function["name"], parameters)


def _schema(given: dict[str, Any] | None) -> dict[str, Any] | None:
    if not given or given.get("type") == "text":
        return None
    if given.get("type") == "json_object":
        return {"type": "object", "properties": {"title": {"type": "string"}}}
    words = given.get("json_schema") or {}
    reading.need(words, "name", "schema")
    if words.get("strict"):
        check_strict(words["schema"], words["name"])
    return words["schema"]  # type: ignore[no-any-return]


def _choice(ask: Ask, reply: Reply, at: int, field: str | None) -> dict[str, Any]:
    is_refusal = reply.finish in ("refusal", "block")
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if is_refusal or reply.calls else reply.text,
        "refusal": reply.text if is_refusal else None,
        "annotations": [],
    }
    if field and reply.reasoning:
        message[field] = reply.reasoning
    if reply.calls:
        message["tool_calls"] = [_call(call) for call in reply.calls]
    return {
        "index": at,
        "message": message,
        "logprobs": _logprobs(ask, reply.tokens, is_refusal=is_refusal),
        "finish_reason": _finish(reply),
    }


def _call(call: Call) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _finish(reply: Reply) -> str:
    return _FINISH.get(reply.finish, reply.finish)


def _logprobs(
    ask: Ask, tokens: tuple[Token, ...], *, is_refusal: bool = False
) -> dict[str, Any] | None:
    if ask.top_logprobs is None:
        return None
    entries = [openai_logprob(token, ask.top_logprobs) for token in tokens]
    return {
        "content": None if is_refusal else entries,
        "refusal": entries if is_refusal else None,
    }


def _deltas(reply: Reply, field: str | None) -> Iterator[tuple[dict[str, Any], tuple[Token, ...]]]:
    yield {"role": "assistant", "content": None if reply.calls else "", "refusal": None}, ()
    if field and reply.reasoning:
        half = len(reply.reasoning) // 2
        yield {field: reply.reasoning[:half]}, ()
        yield {field: reply.reasoning[half:]}, ()
    name = "refusal" if reply.finish in ("refusal", "block") else "content"
    for tokens in whole_pieces(reply.tokens):
        yield {name: joined(tokens)}, tokens
    for at, call in enumerate(reply.calls):
        function = {"name": call.name, "arguments": ""}
        first = {"index": at, "id": call.id, "type": "function", "function": function}
        yield {"tool_calls": [first]}, ()
        for start in range(0, len(call.arguments), 5):
            piece = {"arguments": call.arguments[start : start + 5]}
            yield {"tool_calls": [{"index": at, "function": piece}]}, ()


def _stream_choice(
    ask: Ask, at: int, delta: dict[str, Any], tokens: tuple[Token, ...]
) -> dict[str, Any]:
    logprobs = _logprobs(ask, tokens, is_refusal="refusal" in delta) if tokens else None
    return {"index": at, "delta": delta, "logprobs": logprobs, "finish_reason": None}


def _envelope(ask: Ask) -> dict[str, Any]:
    return {
        "id": response_id(ask),
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": dated(ask.model),
        "service_tier": "default",
        "system_fingerprint": "fp_mock",
    }


def _chunk(ask: Ask, stream_choice: dict[str, Any]) -> bytes:
    chunk = {**_envelope(ask), "choices": [stream_choice]}
    if ask.stream_usage:
        chunk["usage"] = None
    return _event(chunk)


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"
