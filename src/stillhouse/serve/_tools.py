"""Tools: what a call must be, and how it is read from what a student writes.

A call is JSON between `<tool_call>` tags, as in the Hermes format that `with_tools` tells of.
"""

import json
import re
import secrets
from typing import Any

from stillhouse.records import ToolCall
from stillhouse.serve._ask import Ask, RefusedError

_CALL = re.compile(r"<tool_call>\s*(\{.*?\})\s*</tool_call>", re.DOTALL)
OPENING = "<tool_call>"
"""What a call begins with in the text of a student."""


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
