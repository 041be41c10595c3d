"""JSON Schemas of a request, which are kept as text, as the values that a body holds."""

from typing import Any

import orjson

from stillhouse.errors import ConfigError, RecordError
from stillhouse.records import Message, Request, ToolCall
from stillhouse.teachers._dialects._protocol import Quirks


def output_schema(request: Request, quirks: Quirks) -> dict[str, Any] | None:
    """The schema that the answer must follow, None where any answer will do.

    Raises:
        ConfigError: the host cannot hold an answer to one.
        RecordError: it is not a JSON object.
    """
    if request.output_schema is None:
        return None
    if not quirks.has_output_schema:
        raise ConfigError(
            "output_schema is set but this provider takes no JSON Schema. Remove it and say in the "
            "prompt what the answer must look like, or use another provider."
        )
    return _json_object(request.output_schema, "output_schema", request)


def tool_schemas(request: Request) -> list[tuple[str, str, dict[str, Any]]]:
    """Name, description and schema of the arguments of each tool.

    Raises:
        RecordError: a schema is not a JSON object.
    """
    return [
        (
            tool.name,
            tool.description,
            _json_object(tool.parameters, f"parameters of tool {tool.name!r}", request),
        )
        for tool in request.tools
    ]


def arguments_of(call: ToolCall, request: Request) -> dict[str, Any]:
    """The arguments of an earlier call, for the dialects that take them as an object.

    Raises:
        RecordError: the model had not written a JSON object.
    """
    return _json_object(call.arguments or "{}", f"arguments of tool call {call.id!r}", request)


def joined_system(messages: tuple[Message, ...]) -> str:
    """All system messages, for the dialects that have one place for them."""
    return "\n\n".join(message.content for message in messages if message.role == "system")


def is_strict(schema: dict[str, Any]) -> bool:
    """Whether every object of the schema is closed and needs all its properties.

    Only such schemas are taken by OpenAI's `strict` mode, which alone guarantees the answer.
    """
    waiting: list[Any] = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if not _is_closed(part):
                return False
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
    return True


def _is_closed(schema: dict[str, Any]) -> bool:
    properties, kind = schema.get("properties"), schema.get("type")
    is_object = kind == "object" or (isinstance(kind, list) and "object" in kind)
    if not is_object and not isinstance(properties, dict):
        return True
    required = schema.get("required")
    return (
        schema.get("additionalProperties") is False
        and isinstance(required, list)
        and isinstance(properties, dict)
        and all(name in required for name in properties)
    )


def _json_object(text: str, what: str, request: Request) -> dict[str, Any]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as err:
        raise RecordError(f"Prompt {request.prompt_id!r}: the {what} is not JSON ({err}).") from err
    if not isinstance(value, dict):
        raise RecordError(
            f"Prompt {request.prompt_id!r}: the {what} is a JSON {type(value).__name__}; "
            "give an object."
        )
    return value
