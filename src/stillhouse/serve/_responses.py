"""OpenAI's Responses, without state: each request brings its whole conversation."""

import json
from collections.abc import AsyncIterator
from time import time
from typing import Any

from stillhouse.records import Message, Tool, ToolCall
from stillhouse.serve._ask import Answering, Ask, RefusedError
from stillhouse.serve._fields import flag, number, part, parts, text, whole_number, wrong
from stillhouse.serve._openai_common import (
    MAX_TOKENS,
    make_tool,
    message_text,
    new_id,
    read_choice,
    read_message,
    read_role,
    read_top_p,
    schema_of,
)
from stillhouse.serve._replies import Reply, deltas, whole
from stillhouse.serve._sse import event

ROLES = ("system", "developer", "user", "assistant")
"""Of the turns that are given."""

TEXTS = ("input_text", "output_text", "text", "refusal")
"""Kinds of parts that are read."""


def read_ask(fields: dict[str, Any]) -> Ask:
    """What a request asks.

    Raises:
        RefusedError: a field is wrong, or asks for what the server would have to remember.
    """
    for name in ("previous_response_id", "conversation", "prompt"):
        if fields.get(name) is not None:
            raise RefusedError(
                400,
                f"'{name}' needs a server that remembers. Send the whole conversation as input.",
                param=name,
            )
    if flag(fields, "background"):
        raise wrong("background", True, "false")
    messages = _input(fields)
    instructions = "" if fields.get("instructions") is None else text(fields, "instructions")
    if instructions:
        messages = [Message(role="system", content=instructions), *messages]
    tools = tuple(
        make_tool(tool.get("name"), tool.get("description"), tool.get("parameters"))
        for tool in parts(fields, "tools")
        if tool.get("type") == "function"
    )
    is_told, must_call, only = read_choice(
        fields.get("tool_choice"), lambda choice: choice.get("name")
    )
    return Ask(
        messages=tuple(messages),
        tools=tools if is_told else (),
        must_call=must_call,
        only_tool=only,
        schema=schema_of(part(fields, "text"), "format", ()),
        max_tokens=whole_number(fields, "max_output_tokens", None, 1, MAX_TOKENS),
        temperature=number(fields, "temperature", 1.0, 0.0, 2.0),
        top_p=read_top_p(fields),
    )


async def answer(answering: Answering, ask: Ask, model: str) -> dict[str, Any]:
    """The whole answer."""
    (reply,) = await whole(answering, ask)
    return _response(new_id("resp_"), ask, model, answering, reply, _items(reply))


async def stream(
    answering: Answering, ask: Ask, model: str, fields: dict[str, Any]
) -> AsyncIterator[bytes]:
    """The answer as server-sent events."""
    events = _Events()
    response_id, item_id = new_id("resp_"), new_id("msg_")
    begun = _response(response_id, ask, model, answering, None, [])
    yield events.made("response.created", response=begun)
    yield events.made("response.in_progress", response=begun)
    reply, is_open = Reply(0), False
    at = {"item_id": item_id, "output_index": 0, "content_index": 0}
    async for delta in deltas(answering, ask):
        reply.num_tokens = delta.num_tokens
        if delta.text and not is_open:
            is_open = True
            item = _message_item(item_id, "", "in_progress")
            yield events.made("response.output_item.added", output_index=0, item=item)
            yield events.made("response.content_part.added", **at, part=_text_part(""))
        if delta.text:
            reply.text += delta.text
            told = {"delta": delta.text, "logprobs": []}
            yield events.made("response.output_text.delta", **at, **told)
        if delta.finish_reason is not None:
            reply.finish_reason, reply.calls = delta.finish_reason, delta.calls
    items = _items(reply, item_id)
    if is_open:
        yield events.made("response.output_text.done", **at, text=reply.text, logprobs=[])
        yield events.made("response.content_part.done", **at, part=_text_part(reply.text))
        yield events.made("response.output_item.done", output_index=0, item=items[0])
    for place, item in enumerate(items):
        if place or not is_open:
            for part_of_call in events.whole_item(place, item):
                yield part_of_call
    ended = _response(response_id, ask, model, answering, reply, items)
    yield events.made(f"response.{ended['status']}", response=ended)


class _Events:
    def __init__(self) -> None:
        self._number = 0

    def made(self, kind: str, **fields: Any) -> bytes:
        told = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        return event(told, kind)

    def whole_item(self, place: int, item: dict[str, Any]) -> list[bytes]:
        """An item that comes at once, such as a call."""
        made = [self.made("response.output_item.added", output_index=place, item=item)]
        if item["type"] == "function_call":
            at = {"item_id": item["id"], "output_index": place}
            kind = "response.function_call_arguments"
            made.append(self.made(f"{kind}.delta", **at, delta=item["arguments"]))
            done = {"arguments": item["arguments"], "name": item["name"]}
            made.append(self.made(f"{kind}.done", **at, **done))
        made.append(self.made("response.output_item.done", output_index=place, item=item))
        return made


def _input(fields: dict[str, Any]) -> list[Message]:
    given = fields.get("input")
    if isinstance(given, str) and given:
        return [Message(role="user", content=given)]
    items = parts(fields, "input") if isinstance(given, list) else []
    if not items:
        raise wrong("input", given, "a text or a list of items")
    return [_item(item) for item in items]


def _item(item: dict[str, Any]) -> Message:
    kind = item.get("type", "message")
    if kind == "function_call":
        call = ToolCall(
            id=text(item, "call_id"), name=text(item, "name"), arguments=text(item, "arguments")
        )
        return read_message("assistant", "", (call,), None)
    if kind == "function_call_output":
        told = message_text(item.get("output"), "input.output", TEXTS)
        return read_message("tool", told, (), text(item, "call_id"))
    if kind != "message":
        raise wrong("input.type", kind, "message, function_call or function_call_output")
    role = read_role(item.get("role"), ROLES)
    return read_message(role, message_text(item.get("content"), "input.content", TEXTS), (), None)


def _items(reply: Reply, item_id: str | None = None) -> list[dict[str, Any]]:
    items = []
    if reply.text or not reply.calls:
        items.append(_message_item(item_id or new_id("msg_"), reply.text, "completed"))
    for call in reply.calls:
        items.append(
            {
                "id": new_id("fc_"),
                "type": "function_call",
                "status": "completed",
                "call_id": call.id,
                "name": call.name,
                "arguments": call.arguments,
            }
        )
    return items


def _message_item(item_id: str, said: str, status: str) -> dict[str, Any]:
    content = [] if status == "in_progress" else [_text_part(said)]
    return {
        "id": item_id,
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": content,
    }


def _text_part(said: str) -> dict[str, Any]:
    return {"type": "output_text", "text": said, "annotations": [], "logprobs": []}


def _response(
    response_id: str,
    ask: Ask,
    model: str,
    answering: Answering,
    reply: Reply | None,
    items: list[dict[str, Any]],
) -> dict[str, Any]:
    is_cut = reply is not None and reply.finish_reason == "length"
    status = "in_progress" if reply is None else "incomplete" if is_cut else "completed"
    return {
        "id": response_id,
        "object": "response",
        "created_at": int(time()),
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "instructions": None,
        "metadata": {},
        "model": model,
        "output": items,
        "parallel_tool_calls": True,
        "temperature": ask.temperature,
        "top_p": ask.top_p,
        "max_output_tokens": ask.max_tokens,
        "tool_choice": "required" if ask.must_call else "auto",
        "tools": [_tool_fields(tool) for tool in ask.tools],
        "usage": None if reply is None else _usage(answering, reply.num_tokens),
    }


def _tool_fields(tool: Tool) -> dict[str, Any]:
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": json.loads(tool.parameters),
        "strict": False,
    }


def _usage(answering: Answering, num_tokens: int) -> dict[str, Any]:
    return {
        "input_tokens": answering.num_prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": num_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": answering.num_prompt_tokens + num_tokens,
    }
