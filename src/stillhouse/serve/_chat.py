"""OpenAI's Chat Completions."""

from collections.abc import AsyncIterator
from time import time
from typing import Any

from stillhouse.records import Message, Tool, ToolCall
from stillhouse.serve._ask import Answering, Ask, TokenScore
from stillhouse.serve._fields import flag, number, part, parts, text, texts, whole_number, wrong
from stillhouse.serve._local import MAX_TOP_LOGPROBS
from stillhouse.serve._openai_common import (
    MAX_CHOICES,
    MAX_SEED,
    MAX_STOPS,
    MAX_TOKENS,
    make_tool,
    message_text,
    new_id,
    read_choice,
    read_message,
    read_role,
    read_top_p,
    schema_of,
    score_fields,
)
from stillhouse.serve._replies import Delta, Reply, deltas, whole
from stillhouse.serve._sse import event

ROLES = ("system", "developer", "user", "assistant", "tool")
"""Of the turns of a conversation."""


def read_ask(fields: dict[str, Any]) -> Ask:
    """What a request asks.

    Raises:
        RefusedError: a field is wrong.
    """
    given = parts(fields, "messages")
    if not given:
        raise wrong("messages", fields.get("messages"), "at least one message")
    tools = tuple(_tool(tool) for tool in parts(fields, "tools"))
    is_told, must_call, only = read_choice(
        fields.get("tool_choice"), lambda choice: part(choice, "function").get("name")
    )
    wants_usage(fields)  # said before anything is generated, if it is wrong
    limit = whole_number(fields, "max_tokens", None, 1, MAX_TOKENS)
    return Ask(
        messages=tuple(_message(message) for message in given),
        tools=tools if is_told else (),
        must_call=must_call,
        only_tool=only,
        schema=schema_of(fields, "response_format", ("json_schema",)),
        num_choices=whole_number(fields, "n", 1, 1, MAX_CHOICES) or 1,
        max_tokens=whole_number(fields, "max_completion_tokens", limit, 1, MAX_TOKENS),
        temperature=number(fields, "temperature", 1.0, 0.0, 2.0),
        top_p=read_top_p(fields),
        seed=whole_number(fields, "seed", None, -MAX_SEED, MAX_SEED),
        top_logprobs=_top_logprobs(fields),
        stop=texts(fields, "stop", MAX_STOPS),
    )


async def answer(answering: Answering, ask: Ask, model: str) -> dict[str, Any]:
    """The whole answer."""
    replies = await whole(answering, ask)
    return {
        "id": new_id("chatcmpl-"),
        "object": "chat.completion",
        "created": int(time()),
        "model": model,
        "choices": [_choice(reply, ask) for reply in replies],
        "usage": usage(answering, sum(reply.num_tokens for reply in replies)),
    }


async def stream(
    answering: Answering, ask: Ask, model: str, fields: dict[str, Any]
) -> AsyncIterator[bytes]:
    """The answer as server-sent events."""
    has_usage = wants_usage(fields)
    base: dict[str, Any] = {
        "id": new_id("chatcmpl-"),
        "object": "chat.completion.chunk",
        "created": int(time()),
        "model": model,
    }
    nothing = {"usage": None} if has_usage else {}

    def chunk(index: int, delta: dict[str, Any], **rest: Any) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None, **rest}
        return event({**base, "choices": [choice], **nothing})

    num_tokens = [0] * ask.num_choices
    for index in range(ask.num_choices):
        yield chunk(index, {"role": "assistant", "content": "", "refusal": None})
    async for delta in deltas(answering, ask):
        num_tokens[delta.index] = delta.num_tokens
        if delta.text or delta.scores:
            told = {"logprobs": _logprobs(delta.scores)} if delta.scores else {}
            yield chunk(delta.index, {"content": delta.text}, **told)
        if delta.calls:
            yield chunk(delta.index, {"tool_calls": _called(delta)})
        if delta.finish_reason is not None:
            yield chunk(delta.index, {}, finish_reason=delta.finish_reason)
    if has_usage:
        yield event({**base, "choices": [], "usage": usage(answering, sum(num_tokens))})
    yield b"data: [DONE]\n\n"


def wants_usage(fields: dict[str, Any]) -> bool:
    """Whether a stream is to tell what it took.

    Raises:
        RefusedError: what is said of it is wrong.
    """
    return flag(part(fields, "stream_options"), "include_usage")


def usage(answering: Answering, num_tokens: int) -> dict[str, Any]:
    """What a request took."""
    return {
        "prompt_tokens": answering.num_prompt_tokens,
        "completion_tokens": num_tokens,
        "total_tokens": answering.num_prompt_tokens + num_tokens,
    }


def _message(fields: dict[str, Any]) -> Message:
    role = read_role(fields.get("role"), ROLES)
    content = message_text(fields.get("content"), "messages.content", ("text", "refusal"))
    calls = tuple(_call(call) for call in parts(fields, "tool_calls"))
    return read_message(
        role, content, calls if role == "assistant" else (), fields.get("tool_call_id")
    )


def _call(fields: dict[str, Any]) -> ToolCall:
    function = part(fields, "function")
    return ToolCall(
        id=text(fields, "id"), name=text(function, "name"), arguments=text(function, "arguments")
    )


def _tool(fields: dict[str, Any]) -> Tool:
    function = part(fields, "function")
    return make_tool(function.get("name"), function.get("description"), function.get("parameters"))


def _top_logprobs(fields: dict[str, Any]) -> int | None:
    wanted = whole_number(fields, "top_logprobs", 0, 0, MAX_TOP_LOGPROBS)
    return wanted if flag(fields, "logprobs") else None


def _choice(reply: Reply, ask: Ask) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": reply.text, "refusal": None}
    if reply.calls:
        message["content"] = reply.text or None
        message["tool_calls"] = [_call_fields(call) for call in reply.calls]
    return {
        "index": reply.index,
        "message": message,
        "logprobs": None if ask.top_logprobs is None else _logprobs(reply.scores),
        "finish_reason": reply.finish_reason,
    }


def _logprobs(scores: "list[TokenScore] | tuple[TokenScore, ...]") -> dict[str, Any]:
    return {"content": [score_fields(score) for score in scores], "refusal": None}


def _called(delta: Delta) -> list[dict[str, Any]]:
    return [{"index": place, **_call_fields(call)} for place, call in enumerate(delta.calls)]


def _call_fields(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}
