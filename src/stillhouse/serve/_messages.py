"""Anthropic's Messages."""

import json
from collections.abc import AsyncIterator
from typing import Any

from stillhouse.records import Message, ToolCall
from stillhouse.serve._ask import Answering, Ask, RefusedError
from stillhouse.serve._fields import number, parts, text, texts, whole_number, wrong
from stillhouse.serve._openai_common import (
    MAX_STOPS,
    MAX_TOKENS,
    make_tool,
    message_text,
    new_id,
    read_choice,
    read_message,
    read_role,
    read_top_p,
)
from stillhouse.serve._replies import deltas, whole
from stillhouse.serve._sse import event

_ERROR_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    502: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
}
_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


def error_body(err: RefusedError) -> dict[str, Any]:
    """An error object."""
    kind = _ERROR_TYPES.get(err.status, "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": err.message}}


def read_ask(fields: dict[str, Any]) -> Ask:
    """What a request asks.

    Raises:
        RefusedError: a field is wrong.
    """
    given = parts(fields, "messages")
    if not given:
        raise wrong("messages", fields.get("messages"), "at least one message")
    system = message_text(fields.get("system"), "system")
    messages = [Message(role="system", content=system)] if system else []
    for turn in given:
        messages += _turn(turn)
    tools = tuple(
        make_tool(tool.get("name"), tool.get("description"), tool.get("input_schema"))
        for tool in parts(fields, "tools")
    )
    is_told, must_call, only = read_choice(_choice(fields), lambda choice: choice.get("name"))
    limit = whole_number(fields, "max_tokens", None, 1, MAX_TOKENS)
    if limit is None:
        raise wrong("max_tokens", None, "a whole number of at least 1")
    return Ask(
        messages=tuple(messages),
        tools=tools if is_told else (),
        must_call=must_call,
        only_tool=only,
        max_tokens=limit,
        temperature=number(fields, "temperature", 1.0, 0.0, 1.0),
        top_p=read_top_p(fields),
        stop=texts(fields, "stop_sequences", MAX_STOPS),
    )


async def answer(answering: Answering, ask: Ask, model: str) -> dict[str, Any]:
    """The whole answer."""
    (reply,) = await whole(answering, ask)
    content: list[dict[str, Any]] = []
    if reply.text or not reply.calls:
        content.append({"type": "text", "text": reply.text, "citations": None})
    content += [_use(call, _arguments(call)) for call in reply.calls]
    return {
        **_base(model, answering),
        "content": content,
        "stop_reason": _REASONS.get(reply.finish_reason, "end_turn"),
        "usage": {
            "input_tokens": answering.num_prompt_tokens,
            "output_tokens": reply.num_tokens,
        },
    }


async def stream(
    answering: Answering, ask: Ask, model: str, fields: dict[str, Any]
) -> AsyncIterator[bytes]:
    """The answer as server-sent events."""
    message = {**_base(model, answering), "content": [], "stop_reason": None}
    yield event({"type": "message_start", "message": message}, "message_start")
    place, is_text_open, num_tokens, reason = 0, False, 0, "end_turn"
    async for delta in deltas(answering, ask):
        num_tokens = delta.num_tokens
        if delta.text:
            if not is_text_open:
                yield _started(place, {"type": "text", "text": "", "citations": None})
                is_text_open = True
            yield _changed(place, {"type": "text_delta", "text": delta.text})
        if delta.finish_reason is not None:
            reason = _REASONS.get(delta.finish_reason, "end_turn")
        if delta.calls and is_text_open:
            yield _stopped(place)
            place, is_text_open = place + 1, False
        for call in delta.calls:
            yield _started(place, _use(call, {}))
            yield _changed(place, {"type": "input_json_delta", "partial_json": call.arguments})
            yield _stopped(place)
            place += 1
    if is_text_open:
        yield _stopped(place)
    told = {
        "type": "message_delta",
        "delta": {"stop_reason": reason, "stop_sequence": None},
        "usage": {"input_tokens": answering.num_prompt_tokens, "output_tokens": num_tokens},
    }
    yield event(told, "message_delta")
    yield event({"type": "message_stop"}, "message_stop")


def _base(model: str, answering: Answering) -> dict[str, Any]:
    return {
        "id": new_id("msg_"),
        "type": "message",
        "role": "assistant",
        "model": model,
        "stop_sequence": None,
        "usage": {"input_tokens": answering.num_prompt_tokens, "output_tokens": 0},
    }


def _choice(fields: dict[str, Any]) -> Any:
    choice = fields.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") in ("auto", "any", "none"):
        return choice["type"]
    return choice


def _turn(fields: dict[str, Any]) -> list[Message]:
    """A turn; results of tools in it are turns of their own."""
    role = read_role(fields.get("role"), ("user", "assistant"))
    content = fields.get("content")
    if not isinstance(content, list):
        return [read_message(role, message_text(content, "messages.content"), (), None)]
    results, calls, texts_ = [], [], []
    for block in parts(fields, "content"):
        if block.get("type") == "tool_result":
            told = message_text(block.get("content"), "messages.content.tool_result")
            results.append(read_message("tool", told, (), text(block, "tool_use_id")))
        elif block.get("type") == "tool_use":
            arguments = json.dumps(block.get("input", {}))
            calls.append(
                ToolCall(id=text(block, "id"), name=text(block, "name"), arguments=arguments)
            )
        else:
            texts_.append(message_text([block], "messages.content"))
    said = "".join(texts_)
    if results and not said:
        return results
    return [*results, read_message(role, said, tuple(calls) if role == "assistant" else (), None)]


def _arguments(call: ToolCall) -> Any:
    """The arguments as an object, which a model may have failed to write."""
    try:
        value = json.loads(call.arguments)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _use(call: ToolCall, arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": arguments}


def _started(place: int, block: dict[str, Any]) -> bytes:
    told = {"type": "content_block_start", "index": place, "content_block": block}
    return event(told, "content_block_start")


def _changed(place: int, delta: dict[str, Any]) -> bytes:
    return event(
        {"type": "content_block_delta", "index": place, "delta": delta}, "content_block_delta"
    )


def _stopped(place: int) -> bytes:
    return event({"type": "content_block_stop", "index": place}, "content_block_stop")
