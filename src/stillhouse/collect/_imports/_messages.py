"""Messages, tools and schemas of a request, in whichever provider's words they were logged."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from stillhouse.collect._imports._exchange import BadRowError, json_text
from stillhouse.records import Message, Role, Tool, ToolCall

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
}
_TEXT_PARTS = ("text", "input_text", "output_text")
_SILENT_PARTS = ("redacted_thinking", "reasoning", "item_reference")


def read_prompt(request: Mapping[str, Any]) -> tuple[Message, ...]:
    """The messages of a request: `system` or `instructions` first where they stand apart.

    Raises:
        BadRowError: there are none, they hold more than text, or end with the assistant's.
    """
    given = request.get("messages")
    if given is None:
        given = request.get("input", request.get("prompt"))
    system = request.get("system") or request.get("instructions")
    first = read_messages([{"role": "system", "content": system}]) if system else ()
    messages = (*first, *read_messages(given))
    if not any(message.content.strip() or message.tool_call_id for message in messages):
        raise BadRowError("no_prompt", "the prompt is empty")
    if messages[-1].role == "assistant":
        raise BadRowError(
            "no_answer", "the last message is the assistant's, and nothing follows it"
        )
    return messages


def read_messages(given: Any) -> tuple[Message, ...]:
    """Messages from a text, a list of them, or a page of a list.

    Raises:
        BadRowError: they are something else.
    """
    if isinstance(given, Mapping) and isinstance(given.get("data"), list):
        given = given["data"]
    if isinstance(given, str):
        return (Message(role="user", content=given),)
    if not isinstance(given, list):
        raise BadRowError("no_prompt", f"messages are {type(given).__name__}, not a list")
    messages: list[Message] = []
    for item in given:
        is_call = isinstance(item, Mapping) and item.get("type") == "function_call"
        for message in _read_item(item):
            if is_call and messages and messages[-1].role == "assistant":
                # The Responses API writes what is one turn elsewhere as items of their own.
                said = messages.pop()
                calls = (*said.tool_calls, *message.tool_calls)
                messages.append(said.model_copy(update={"tool_calls": calls}))
            else:
                messages.append(message)
    return tuple(messages)


def read_tools(given: Any) -> tuple[Tool, ...]:
    """Functions that a teacher might call; a provider's built-in tools are left out."""
    items = [item for item in given if isinstance(item, Mapping)] if isinstance(given, list) else []
    functions = [item.get("function") or item for item in items]
    return tuple(
        Tool(
            name=function["name"],
            description=function.get("description") or "",
            parameters=json_text(function.get("parameters", function.get("input_schema", {}))),
        )
        for function in functions
        if isinstance(function, Mapping) and "name" in function
    )


def read_output_schema(request: Mapping[str, Any]) -> str | None:
    """The JSON Schema that a request asked the answer to follow, in any provider's place for it."""
    places = (
        _path(request, "response_format", "json_schema", "schema"),
        _path(request, "text", "format", "schema"),
        _path(request, "output_config", "format", "schema"),
    )
    return next((json_text(schema) for schema in places if schema), None)


def _path(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _read_item(item: Any) -> Iterator[Message]:
    if not isinstance(item, Mapping):
        raise BadRowError("malformed", f"a message is {type(item).__name__}, not an object")
    match item.get("type"):
        case "function_call":
            call = _call(item.get("call_id"), item.get("name"), item.get("arguments"))
            yield Message(role="assistant", content="", tool_calls=(call,))
        case "function_call_output":
            yield _tool_result(item.get("call_id"), item.get("output"))
        case kind if kind in _SILENT_PARTS:
            return
        case _:
            yield from _read_message(item)


def _read_message(item: Mapping[str, Any]) -> Iterator[Message]:
    given = item.get("role")
    role = _ROLES.get(given) if isinstance(given, str) else None
    if role is None:
        raise BadRowError("unknown_role", f"the role {given!r:.40} is not known")
    if role == "tool":
        call_id = item.get("tool_call_id") or item.get("name")
        yield _tool_result(call_id, item.get("content"))
        return
    content = item.get("content")
    parts = _parts(content)
    yield from (
        _tool_result(part.get("tool_use_id"), part.get("content"))
        for part in parts
        if part.get("type") == "tool_result"
    )
    text = _text(parts)
    calls = (*_old_calls(item), *_block_calls(parts)) if role == "assistant" else ()
    if text or calls or not any(part.get("type") == "tool_result" for part in parts):
        yield Message(
            role=role, content=text, tool_calls=calls, reasoning=_reasoning(item, parts) or None
        )


def _parts(content: Any) -> list[Mapping[str, Any]]:
    """The parts of a message's content, each with a `type`."""
    if content is None:
        return []
    if not isinstance(content, list):
        content = [content]
    return [_part(part) for part in content]


def _part(part: Any) -> Mapping[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if not isinstance(part, Mapping) or not isinstance(part.get("type", ""), str):
        raise BadRowError("malformed", f"a part of a message is {type(part).__name__}, not text")
    return part


def _text(parts: Iterable[Mapping[str, Any]]) -> str:
    return "".join(_part_text(part) for part in parts)


def _part_text(part: Mapping[str, Any]) -> str:
    kind = part.get("type", "text")
    if kind in _TEXT_PARTS:
        return _as_text(part.get("text"), "text")
    if kind == "refusal":
        return _as_text(part.get("refusal"), "refusal")
    if kind in ("thinking", "tool_use", "tool_result", *_SILENT_PARTS):
        return ""
    raise BadRowError("not_text", f"a message holds {kind!r:.40}, and only text can be imported")


def _reasoning(item: Mapping[str, Any], parts: Iterable[Mapping[str, Any]]) -> str:
    thoughts = [part.get("thinking") for part in parts if part.get("type") == "thinking"]
    thoughts += [item.get("reasoning_content"), item.get("reasoning")]
    return "".join(thought for thought in thoughts if isinstance(thought, str))


def _old_calls(item: Mapping[str, Any]) -> Iterator[ToolCall]:
    given = item.get("tool_calls") or ()
    if not isinstance(given, Sequence):
        raise BadRowError("malformed", f"tool_calls are {type(given).__name__}, not a list")
    for call in given:
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping):
            raise BadRowError("malformed", "a tool call has no function")
        yield _call(call.get("id"), function.get("name"), function.get("arguments"))
    function = item.get("function_call")
    if isinstance(function, Mapping):
        yield _call("", function.get("name"), function.get("arguments"))


def _block_calls(parts: Iterable[Mapping[str, Any]]) -> Iterator[ToolCall]:
    for part in parts:
        if part.get("type") == "tool_use":
            yield _call(part.get("id"), part.get("name"), part.get("input"))


def _call(call_id: Any, name: Any, arguments: Any) -> ToolCall:
    written = arguments if isinstance(arguments, str) else json_text(arguments or {})
    return ToolCall(
        id=_as_text(call_id, "id of a tool call"), name=_as_text(name, "tool"), arguments=written
    )


def _tool_result(call_id: Any, content: Any) -> Message:
    text = _text(_parts(content))
    return Message(role="tool", content=text, tool_call_id=_as_text(call_id, "tool_call_id"))


def _as_text(value: Any, place: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadRowError("malformed", f"{place} is {type(value).__name__}, not text")
    return value
