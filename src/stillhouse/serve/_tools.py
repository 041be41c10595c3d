"""Tools: how a student is told of them, and how its calls are read.

A template that knows tools gets them. Others are told in the system message, in the words of the
Hermes format that most open models were taught: a call is JSON between `<tool_call>` tags.
"""

import json
import re
import secrets
from collections.abc import Sequence
from typing import Any

from stillhouse.records import Message, Tool, ToolCall
from stillhouse.serve._ask import Ask, RefusedError

_CALL = re.compile(r"<tool_call>\s*(\{.*?\})\s*</tool_call>", re.DOTALL)
OPENING = "<tool_call>"
"""What a call begins with in the text of a student."""

_TOLD = """\
You may call functions. Their signatures are between <tools> tags:
<tools>
{tools}
</tools>
To call one, answer with its name and arguments as JSON between tags:
<tool_call>
{{"name": "...", "arguments": {{...}}}}
</tool_call>"""


def with_tools(
    messages: Sequence[Message], tools: Sequence[Tool], is_read: bool
) -> tuple[tuple[Message, ...], tuple[Tool, ...]]:
    """The messages and tools to give to a template.

    Args:
        messages: The conversation.
        tools: What may be called.
        is_read: Whether the template knows tools.
    """
    if not tools or is_read:
        return tuple(messages), tuple(tools)
    told = _TOLD.format(tools="\n".join(_signature(tool) for tool in tools))
    first, *rest = messages
    if first.role == "system":
        told = f"{first.content}\n\n{told}"
    else:
        rest = list(messages)
    system = Message(role="system", content=told)
    return (system, *(_as_text(message) for message in rest)), ()


def tool_schema(ask: Ask) -> str:
    """JSON schema of a call that the student has to make.

    Raises:
        RefusedError: no tool is given, or not the one that has to be called.
    """
    wanted = [tool for tool in ask.tools if ask.only_tool in (None, tool.name)]
    if not wanted:
        raise RefusedError(
            400,
            f"'tool_choice' wants {ask.only_tool or 'a call'}, and 'tools' does not have it. "
            "Name one of the tools.",
            param="tool_choice",
        )
    calls: list[dict[str, Any]] = []
    for tool in wanted:
        parameters = json.loads(tool.parameters) or {"type": "object"}
        calls.append(
            {
                "type": "object",
                "properties": {"name": {"const": tool.name}, "arguments": parameters},
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
        )
    return json.dumps(calls[0] if len(calls) == 1 else {"anyOf": calls})


def read_calls(text: str, ask: Ask) -> tuple[str, tuple[ToolCall, ...]]:
    """The calls in an answer, and the text that is left without them.

    What is no call of a tool that was given stays text.
    """
    if not ask.tools:
        return text, ()
    if ask.must_call:
        call = _read_call(text, ask)
        return ("", (call,)) if call else (text, ())
    calls: list[ToolCall] = []

    def take(found: re.Match[str]) -> str:
        call = _read_call(found[1], ask)
        if call is None:
            return found[0]
        calls.append(call)
        return ""

    left = _CALL.sub(take, text)
    return (left.strip() if calls else text), tuple(calls)


def _read_call(text: str, ask: Ask) -> ToolCall | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    names = {tool.name for tool in ask.tools}
    if not isinstance(value, dict) or value.get("name") not in names:
        return None
    arguments = value.get("arguments", {})
    written = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return ToolCall(id=f"call_{secrets.token_hex(12)}", name=value["name"], arguments=written)


def _as_text(message: Message) -> Message:
    """A turn with calls or their results, as a template without tools can show it."""
    if message.role == "tool":
        told = f"<tool_response>\n{message.content}\n</tool_response>"
        return Message(role="user", content=told)
    if message.tool_calls:
        calls = "\n".join(
            f'<tool_call>\n{{"name": {json.dumps(call.name)}, "arguments": {call.arguments}}}\n'
            "</tool_call>"
            for call in message.tool_calls
        )
        return message.model_copy(
            update={"content": f"{message.content}\n{calls}".strip(), "tool_calls": ()}
        )
    return message


def _signature(tool: Tool) -> str:
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": json.loads(tool.parameters),
    }
    return json.dumps({"type": "function", "function": function})
