"""Requests and answers that the tests of the wire dialects share."""

import json
from typing import Any

from stillhouse.records import Message, Prompt, Request, Sampling, Tool, ToolCall
from stillhouse.teachers._dialects import DIALECTS, SseParser, StreamAssembler

CLOSED_SCHEMA = (
    '{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],'
    '"additionalProperties":false}'
)
WEATHER = Tool(name="weather", description="Of a city", parameters='{"type":"object"}')
ASKED = (Message(role="system", content="Be brief."), Message(role="user", content="Hi"))
TOOL_TURNS = (
    Message(role="system", content="Be brief."),
    Message(role="user", content="Weather in Bern?"),
    Message(
        role="assistant",
        content="",
        reasoning="I must look.",
        tool_calls=(
            ToolCall(id="c1", name="weather", arguments='{"city":"Bern"}'),
            ToolCall(id="c2", name="weather", arguments='{"city":"Thun"}'),
        ),
    ),
    Message(role="tool", tool_call_id="c1", content='{"sky":"clear"}'),
    Message(role="tool", tool_call_id="c2", content="rain"),
    Message(role="user", content="And tomorrow?"),
)


def a_request(
    *messages: Message, tools: tuple[Tool, ...] = (), schema: str | None = None, **sampling: Any
) -> Request:
    prompt = Prompt(id="p", messages=messages or ASKED, tools=tools, output_schema=schema)
    return Request.of(prompt, teacher="x:m", sampling=Sampling(**sampling), sample_index=1)


def raw(data: Any) -> bytes:
    return data if isinstance(data, bytes) else json.dumps(data).encode()


def read(dialect: str, data: Any, **sampling: Any) -> Any:
    """The completion in `data`, which must agree with the facts that are read at once."""
    body, request = raw(data), a_request(**sampling)
    completion = DIALECTS[dialect].completion(body, request)
    outcome = DIALECTS[dialect].outcome(body)
    assert (outcome.finish_reason, outcome.model) == (completion.finish_reason, completion.model)
    assert outcome.usage == completion.usage
    assert (completion.request_id, completion.prompt_id) == (request.id, "p")
    assert (completion.sample_index, completion.teacher) == (1, "x:m")
    return completion


def sse(*events: Any) -> bytes:
    """Events as bytes: a dict as data, a pair as name and data, text as it is."""
    lines: list[str] = []
    for event in events:
        if isinstance(event, tuple):
            lines.append(f"event: {event[0]}\ndata: {json.dumps(event[1])}\n\n")
        elif isinstance(event, dict):
            lines.append(f"data: {json.dumps(event)}\n\n")
        else:
            lines.append(event)
    return "".join(lines).encode()


def assembled(dialect: str, stream: bytes) -> StreamAssembler:
    assembler, parser = DIALECTS[dialect].assembler(), SseParser()
    for event in parser.feed(stream):
        assembler.feed(event)
    return assembler


def whole(dialect: str, stream: bytes) -> dict[str, Any]:
    assembler = assembled(dialect, stream)
    assert assembler.is_complete
    result: dict[str, Any] = json.loads(assembler.result())
    return result
