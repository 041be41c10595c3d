"""Conversations with tools, for templates that know tools and for those that do not.

A template that knows tools gets them. Others are told in the system message, in the words of the
Hermes format that most open models were taught: a call is JSON between `<tool_call>` tags.
"""

import json
from collections.abc import Sequence

from stillhouse.records import Message, Tool

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
