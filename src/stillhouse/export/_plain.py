"""Conversations as those who know nothing of stillhouse write them: in the form of OpenAI's API."""

import json
from typing import Any

from stillhouse.records import Message, Tool


def plain_message(message: Message, *, parsed: bool) -> dict[str, Any]:
    """One turn.

    Args:
        message: The turn.
        parsed: Whether arguments of calls are objects, which templates expect, and not JSON text,
            which servers do.
    """
    found: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        found["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {
                    "name": call.name,
                    "arguments": json.loads(call.arguments) if parsed else call.arguments,
                },
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        found["tool_call_id"] = message.tool_call_id
    return found


def plain_tool(tool: Tool) -> dict[str, Any]:
    """A tool that may be called."""
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": json.loads(tool.parameters),
    }
    return {"type": "function", "function": function}
