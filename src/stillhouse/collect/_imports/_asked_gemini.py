"""Contents and declarations of a Gemini request, in either spelling of its fields."""

from collections.abc import Iterator, Mapping
from typing import Any

from stillhouse.collect._imports._exchange import BadRowError, field_of, json_text, placeholder
from stillhouse.records import Message, Role, Tool, ToolCall

_ROLES: dict[str, Role] = {"user": "user", "model": "assistant", "function": "user"}
_NO_DATA = frozenset(("thought", "thoughtSignature", "thought_signature", "partMetadata"))


def read_contents(body: Mapping[str, Any], lacks: set[str]) -> tuple[Message, ...]:
    """The messages of a request.

    Args:
        body: The request.
        lacks: Takes the kinds of parts that are no text.

    Raises:
        BadRowError: there are none, or they are something else.
    """
    system = field_of(body, "systemInstruction")
    messages: list[Message] = []
    if system:
        text = "".join(_text(part, lacks) for part in _parts(system))
        messages.append(Message(role="system", content=text))
    given = body.get("contents")
    contents = given if isinstance(given, list) else [given]
    if not given:
        raise BadRowError("no_prompt", "the request has no contents")
    for content in contents:
        messages += _messages(content, lacks)
    return tuple(messages)


def read_declarations(body: Mapping[str, Any]) -> tuple[tuple[Tool, ...], str | None]:
    """The functions that may be called, and the JSON Schema that the answer must follow."""
    given = body.get("tools")
    groups = given if isinstance(given, list) else [given]
    declared = [
        function
        for group in groups
        if isinstance(group, Mapping)
        for function in field_of(group, "functionDeclarations") or ()
        if isinstance(function, Mapping)
    ]
    tools = tuple(
        Tool(
            name=function.get("name", ""),
            description=function.get("description") or "",
            parameters=json_text(
                field_of(function, "parametersJsonSchema") or function.get("parameters") or {}
            ),
        )
        for function in declared
    )
    config = field_of(body, "generationConfig")
    config = config if isinstance(config, Mapping) else {}
    schema = field_of(config, "responseJsonSchema") or field_of(config, "responseSchema")
    return tools, json_text(schema) if schema else None


def _messages(content: Any, lacks: set[str]) -> Iterator[Message]:
    """Results of tools first, each a message of its own; then what was said, if anything was."""
    parts = _parts(content)
    given = content.get("role", "user") if isinstance(content, Mapping) else "user"
    role = _ROLES.get(given) if isinstance(given, str) else None
    if role is None:
        raise BadRowError("unknown_role", f"the role {given!r:.40} is not known")
    results = [part for part in parts if field_of(part, "functionResponse")]
    yield from (_result(field_of(part, "functionResponse")) for part in results)
    said = [part for part in parts if not field_of(part, "functionResponse")]
    if not said and results:
        return
    calls = tuple(_call(field_of(part, "functionCall")) for part in said if _is_call(part))
    texts = [part for part in said if not _is_call(part)]
    thoughts = "".join(_text(part, lacks) for part in texts if part.get("thought") is True)
    yield Message(
        role=role,
        content="".join(_text(part, lacks) for part in texts if part.get("thought") is not True),
        tool_calls=calls,
        reasoning=thoughts or None,
    )


def _parts(content: Any) -> list[Mapping[str, Any]]:
    if isinstance(content, str):
        return [{"text": content}]
    if not isinstance(content, Mapping):
        raise BadRowError("malformed", f"a content is {type(content).__name__}, not an object")
    given = content.get("parts", [content] if "text" in content else [])
    parts = given if isinstance(given, list) else [given]
    for part in parts:
        if not isinstance(part, Mapping):
            raise BadRowError("malformed", f"a part is {type(part).__name__}, not an object")
    return parts


def _text(part: Mapping[str, Any], lacks: set[str]) -> str:
    text = part.get("text")
    if isinstance(text, str):
        return text
    kinds = sorted(name for name in part if name not in _NO_DATA)
    if not kinds:
        return ""
    lacks.add(kinds[0])
    return placeholder(kinds[0], part)


def _is_call(part: Mapping[str, Any]) -> bool:
    return isinstance(field_of(part, "functionCall"), Mapping)


def _call(call: Mapping[str, Any]) -> ToolCall:
    return ToolCall(
        id=call.get("id") or "",
        name=call.get("name") or "",
        arguments=json_text(call.get("args") or {}),
    )


def _result(answer: Any) -> Message:
    if not isinstance(answer, Mapping):
        raise BadRowError("malformed", "a functionResponse is no object")
    response = answer.get("response")
    # Text can only be sent inside of an object.
    is_wrapped = isinstance(response, Mapping) and list(response) == ["result"]
    inner = response["result"] if is_wrapped and isinstance(response, Mapping) else None
    text = inner if isinstance(inner, str) else json_text(response)
    return Message(
        role="tool", content=text, tool_call_id=answer.get("id") or answer.get("name") or ""
    )
