"""OpenAI Responses: typed items out, typed events in a stream."""

from collections.abc import Iterator
from typing import Any

import orjson

from tests.mock_provider.answers import Ask, Reply, Tool
from tests.mock_provider.dialects import openai_chat, reading
from tests.mock_provider.errors import ApiError
from tests.mock_provider.schemas import check_strict
from tests.mock_provider.tokens import joined, openai_logprob, whole_pieces

FIELDS = reading.names(
    "access_programs background background_options context_management conversation image "
    "include input instructions max_output_tokens max_tool_calls metadata model moderation "
    "parallel_tool_calls previous_response_id prompt prompt_cache_key prompt_cache_options "
    "prompt_cache_retention reasoning safety_identifier service_tier store stream "
    "stream_options temperature text tool_choice tools top_logprobs top_p truncation user"
)
_LOGPROBS = "message.output_text.logprobs"
_TEXTS = ("input_text", "output_text", "text", "refusal")


def read(body: dict[str, Any]) -> Ask:
    """Read a request, or refuse it as OpenAI does."""
    _check(body)
    items = _items(body["input"])
    texts = [_item_text(item) for item in items]
    instructions = body.get("instructions") or ""
    wants_logprobs = _LOGPROBS in (body.get("include") or ())
    return Ask(
        model=reading.known_model(body["model"]),
        text=texts[-1],
        is_tool_result=items[-1].get("type") == "function_call_output",
        prompt_bytes=reading.num_bytes(instructions, *texts),
        num_messages=len(items) + bool(instructions),
        max_tokens=body.get("max_output_tokens"),
        top_logprobs=(body.get("top_logprobs") or 0) if wants_logprobs else None,
        tools=tuple(_tool(tool) for tool in body.get("tools") or ()),
        tool_choice=openai_chat.choice(body.get("tool_choice")),
        schema=_schema((body.get("text") or {}).get("format")),
        wants_reasoning=(body.get("reasoning") or {}).get("effort", "none") not in (None, "none"),
        is_stream=bool(body.get("stream")),
        stream_usage=True,
    )


def answer(ask: Ask, replies: list[Reply], body: dict[str, Any]) -> dict[str, Any]:
    """The response object in one piece."""
    reply = replies[0]
    return {
        **envelope(ask, body),
        "status": _status(reply),
        "completed_at": openai_chat.CREATED + 1,
        "incomplete_details": _incomplete(reply),
        "output": [*_items_out(ask, reply, body)],
        "usage": usage(reply),
    }


def envelope(ask: Ask, body: dict[str, Any]) -> dict[str, Any]:
    """A response that has not begun: what is echoed of the request."""
    return {
        "id": openai_chat.response_id(ask, "resp_"),
        "object": "response",
        "created_at": openai_chat.CREATED,
        "status": "in_progress",
        "background": bool(body.get("background")),
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "metadata": body.get("metadata") or {},
        "model": openai_chat.dated(ask.model),
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": body.get("reasoning") or {"effort": None, "summary": None},
        "service_tier": "default",
        "store": body.get("store", True),
        "temperature": body.get("temperature", 1.0),
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools") or [],
        "top_logprobs": body.get("top_logprobs") or 0,
        "top_p": body.get("top_p", 1.0),
        "truncation": "disabled",
        "usage": None,
        "user": None,
    }


def usage(reply: Reply) -> dict[str, Any]:
    """Usage of a response."""
    counts = reply.counts
    return {
        "input_tokens": counts.prompt,
        "input_tokens_details": {
            "cached_tokens": counts.cached,
            "cache_write_tokens": counts.written,
        },
        "output_tokens": counts.completion,
        "output_tokens_details": {"reasoning_tokens": counts.reasoning},
        "total_tokens": counts.total,
    }


def events(ask: Ask, replies: list[Reply], body: dict[str, Any]) -> Iterator[bytes]:
    """The response as typed, numbered events."""
    whole = answer(ask, replies, body)
    begun = envelope(ask, body)
    for number, event in enumerate(_events(ask, replies[0], whole, begun)):
        yield _event({**event, "sequence_number": number})


def _events(
    ask: Ask, reply: Reply, whole: dict[str, Any], begun: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(whole["output"]):
        place = {"item_id": item["id"], "output_index": index}
        empty = {**item, **_EMPTY[item["type"]], "status": "in_progress"}
        yield {"type": "response.output_item.added", "output_index": index, "item": empty}
        yield from _ITEM_EVENTS[item["type"]](ask, reply, item, place)
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    yield {"type": f"response.{whole['status']}", "response": whole}


def _reasoning_events(
    ask: Ask, reply: Reply, item: dict[str, Any], place: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    for index, part in enumerate(item["summary"]):
        here = {**place, "summary_index": index}
        start = "response.reasoning_summary"
        empty = {"type": "summary_text", "text": ""}
        yield {"type": f"{start}_part.added", **here, "part": empty}
        half = len(part["text"]) // 2
        for delta in (part["text"][:half], part["text"][half:]):
            yield {"type": f"{start}_text.delta", **here, "delta": delta}
        yield {"type": f"{start}_text.done", **here, "text": part["text"]}
        yield {"type": f"{start}_part.done", **here, "part": part}


def _call_events(
    ask: Ask, reply: Reply, item: dict[str, Any], place: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    start, arguments = "response.function_call_arguments", item["arguments"]
    for at in range(0, len(arguments), 5):
        yield {"type": f"{start}.delta", **place, "delta": arguments[at : at + 5]}
    yield {"type": f"{start}.done", **place, "name": item["name"], "arguments": arguments}


def _message_events(
    ask: Ask, reply: Reply, item: dict[str, Any], place: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    here, part = {**place, "content_index": 0}, item["content"][0]
    is_refusal = part["type"] == "refusal"
    empty = {"type": "refusal", "refusal": ""} if is_refusal else {**part, "text": ""}
    yield {"type": "response.content_part.added", **here, "part": empty}
    start = "response.refusal" if is_refusal else "response.output_text"
    for tokens in whole_pieces(reply.tokens):
        event = {"type": f"{start}.delta", **here, "delta": joined(tokens)}
        yield event if is_refusal else {**event, "logprobs": _logprobs(ask, tokens)}
    if is_refusal:
        yield {"type": f"{start}.done", **here, "refusal": reply.text}
    else:
        logprobs = _logprobs(ask, reply.tokens)
        yield {"type": f"{start}.done", **here, "text": reply.text, "logprobs": logprobs}
    yield {"type": "response.content_part.done", **here, "part": part}


_ITEM_EVENTS = {
    "reasoning": _reasoning_events,
    "function_call": _call_events,
    "message": _message_events,
}
_EMPTY: dict[str, dict[str, Any]] = {
    "reasoning": {"summary": []},
    "function_call": {"arguments": ""},
    "message": {"content": []},
}


def _check(body: dict[str, Any]) -> None:
    reading.only(body, FIELDS, "Unknown parameter: '{}'.")
    reading.need(body, "model", "input")
    reading.within(body.get("temperature"), "temperature", 0, 2)
    reading.within(body.get("top_p"), "top_p", 0, 1)
    reading.within(body.get("top_logprobs"), "top_logprobs", 0, 20)
    reading.within(body.get("max_output_tokens"), "max_output_tokens", 16, 1_000_000)
    effort = (body.get("reasoning") or {}).get("effort")
    reading.one_of(effort, "reasoning.effort", openai_chat.EFFORTS)
    if body.get("background") and body.get("store") is False:
        raise ApiError("invalid", "Background mode requires 'store' to be true.", param="store")


def _items(given: Any) -> list[dict[str, Any]]:
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    if not isinstance(given, list) or not given:
        raise ApiError("invalid", "Invalid 'input': expected text or items.", param="input")
    for item in given:
        kinds = ("message", "function_call", "function_call_output", "reasoning")
        reading.one_of(item.get("type"), "input.type", kinds)
        if item.get("type", "message") == "message":
            roles = ("user", "assistant", "system", "developer")
            reading.one_of(item.get("role", "none"), "input.role", roles)
    return given


def _item_text(item: dict[str, Any]) -> str:
    if item.get("type") == "function_call_output":
        return reading.text_of_parts(item.get("output"), *_TEXTS)
    if item.get("type") == "function_call":
        return str(item.get("arguments", ""))
    return reading.text_of_parts(item.get("content"), *_TEXTS)


def _tool(tool: dict[str, Any]) -> Tool:
    if tool.get("type") != "function" or "name" not in tool:
        message = "Missing required parameter: 'tools[0].name'."
        raise ApiError("invalid", message, param="tools[0].name")
    parameters = tool.get("parameters") or {"type": "object", "properties": {}}
    if tool.get("strict"):
        check_strict(parameters, tool["name"])
    return Tool(tool["name"], parameters)


def _schema(given: dict[str, Any] | None) -> dict[str, Any] | None:
    if not given or given.get("type") == "text":
        return None
    if given.get("type") == "json_object":
        return {"type": "object", "properties": {"title": {"type": "string"}}}
    reading.need(given, "name", "schema")
    if given.get("strict"):
        check_strict(given["schema"], given["name"])
    return given["schema"]  # type: ignore[no-any-return]


def _status(reply: Reply) -> str:
    return "incomplete" if reply.finish in ("length", "filter") else "completed"


def _incomplete(reply: Reply) -> dict[str, str] | None:
    reasons = {"length": "max_output_tokens", "filter": "content_filter"}
    reason = reasons.get(reply.finish)
    return {"reason": reason} if reason else None


def _items_out(ask: Ask, reply: Reply, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    base = openai_chat.response_id(ask, "")
    if reply.reasoning:
        is_shown = (body.get("reasoning") or {}).get("summary") is not None
        summary = [{"type": "summary_text", "text": reply.reasoning}] if is_shown else []
        yield {"id": f"rs_{base}", "type": "reasoning", "summary": summary}
    for at, call in enumerate(reply.calls):
        yield {
            "id": f"fc_{base}{at}",
            "type": "function_call",
            "status": _status(reply),
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments,
        }
    if not reply.calls and (reply.tokens or not reply.reasoning):
        yield {
            "id": f"msg_{base}",
            "type": "message",
            "status": _status(reply),
            "role": "assistant",
            "content": [_part(ask, reply)],
        }


def _part(ask: Ask, reply: Reply) -> dict[str, Any]:
    if reply.finish in ("refusal", "block"):
        return {"type": "refusal", "refusal": reply.text}
    logprobs = _logprobs(ask, reply.tokens)
    return {"type": "output_text", "text": reply.text, "annotations": [], "logprobs": logprobs}


def _logprobs(ask: Ask, tokens: Any) -> list[Any]:
    if ask.top_logprobs is None:
        return []
    return [openai_logprob(token, ask.top_logprobs) for token in tokens]


def _event(event: dict[str, Any]) -> bytes:
    return f"event: {event['type']}\ndata: ".encode() + orjson.dumps(event) + b"\n\n"
