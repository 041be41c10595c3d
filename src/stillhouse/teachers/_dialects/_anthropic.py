"""Anthropic Messages: body out, completion in."""

from collections.abc import Mapping
from typing import Any

from stillhouse.records import Completion, FinishReason, Message, Request, ToolCall, Usage
from stillhouse.teachers._dialects._anthropic_stream import MessageAssembler
from stillhouse.teachers._dialects._facts import (
    Reading,
    check_may_lack_logprobs,
    completion_of,
    name_in,
    outcome_of,
    read_with_usage,
)
from stillhouse.teachers._dialects._json import (
    count_in,
    dump,
    object_in,
    objects_in,
    parse_object,
    shown,
    text_in,
)
from stillhouse.teachers._dialects._limits import ANTHROPIC_LIMITS, read_limits
from stillhouse.teachers._dialects._protocol import (
    LimitReading,
    MalformedAnswerError,
    Outcome,
    Quirks,
    StreamAssembler,
)
from stillhouse.teachers._dialects._refusals import words_of
from stillhouse.teachers._dialects._sampling import sampling_fields
from stillhouse.teachers._dialects._schemas import (
    arguments_of,
    joined_system,
    output_schema,
    tool_schemas,
)

_VERSION = "2023-06-01"
_FINISH_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",  # it wants to go on
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_EFFORTS = {"minimal": "low"}  # the least that the dialect has besides none
_BUDGET_TOKENS = {
    "minimal": 1024,  # the least that is taken
    "low": 2048,
    "medium": 8192,
    "high": 16384,
    "xhigh": 24576,
    "max": 32768,
}


class Anthropic:
    """The dialect `anthropic`. It has neither seeds nor log-probabilities."""

    name = "anthropic"

    def path(self, model: str, *, stream: bool) -> str:
        """The same for every model; the base URL has no version."""
        return "/v1/messages"

    def headers(self, api_key: str | None) -> dict[str, str]:
        """The version, and the key in a header of its own."""
        key = {"x-api-key": api_key} if api_key else {}
        return {"anthropic-version": _VERSION, **key}

    def body(
        self, request: Request, *, model: str, quirks: Quirks, stream: bool = False
    ) -> dict[str, Any]:
        """One message; all system messages go into its `system`."""
        body: dict[str, Any] = {
            "model": model,
            "max_tokens": request.sampling.max_tokens,
            "messages": _turns(request),
            **sampling_fields(request.sampling, quirks),
        }
        if system := joined_system(request.messages):
            body["system"] = system
        if request.tools:
            body["tools"] = [_tool(*tool) for tool in tool_schemas(request)]
        thinking, output_config = _thinking(request.sampling.reasoning_effort, model, quirks)
        schema = output_schema(request, quirks)
        if schema is not None:
            output_config["format"] = {"type": "json_schema", "schema": schema}
        if thinking:
            body["thinking"] = thinking
        if output_config:
            body["output_config"] = output_config
        if stream:
            body["stream"] = True
        return {**body, **quirks.extra}

    def outcome(self, body: bytes) -> Outcome:
        """Finish reason, model, usage and id."""
        return outcome_of(_read(parse_object(body)))

    def completion(self, body: bytes, request: Request) -> Completion:
        """The whole answer, thinking apart from text."""
        reading = _read(parse_object(body))
        if asked := request.sampling.top_logprobs:
            check_may_lack_logprobs(reading, asked)
        return completion_of(reading, request)

    def limits(self, headers: Mapping[str, str]) -> tuple[LimitReading, ...]:
        """From `anthropic-ratelimit-*`."""
        return read_limits(headers, ANTHROPIC_LIMITS)

    def assembler(self) -> StreamAssembler:
        """Of message events."""
        return MessageAssembler()


def _turns(request: Request) -> list[dict[str, Any]]:
    """User and assistant in turn: what follows from one side is one message of several blocks."""
    turns: list[dict[str, Any]] = []
    for message in request.messages:
        if message.role == "system":
            continue
        role = "assistant" if message.role == "assistant" else "user"
        blocks = _blocks(message, request)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    return turns


def _blocks(message: Message, request: Request) -> list[dict[str, Any]]:
    """Thinking stays out: it is taken back only with the endpoint's own signature."""
    if message.role == "tool":
        call_id = message.tool_call_id or ""
        return [{"type": "tool_result", "tool_use_id": call_id, "content": message.content}]
    calls: list[dict[str, Any]] = [
        {"type": "tool_use", "id": c.id, "name": c.name, "input": arguments_of(c, request)}
        for c in message.tool_calls
    ]
    if calls and not message.content:
        return calls
    return [{"type": "text", "text": message.content}, *calls]


def _tool(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    tool: dict[str, Any] = {"name": name, "input_schema": schema}
    return tool | ({"description": description} if description else {})


def _thinking(
    effort: str | None, model: str, quirks: Quirks
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields `thinking` and `output_config`."""
    if effort is None:
        return {}, {}
    if effort == "none":
        return {"type": "disabled"}, {}
    if quirks.has_thinking_budget(model):
        return {"type": "enabled", "budget_tokens": _BUDGET_TOKENS[effort]}, {}
    # Without `summarized` newer models bill the thinking and do not show it.
    return (
        {"type": "adaptive", "display": "summarized"},
        {"effort": _EFFORTS.get(effort, effort)},
    )


def _read(data: dict[str, Any]) -> Reading:
    return read_with_usage(data, "usage", _usage, _reading)


def _reading(data: dict[str, Any], usage: Usage) -> Reading:
    if not isinstance(data.get("content"), list):
        raise MalformedAnswerError(f"no content{words_of(data.get('error'))}")
    stated = data.get("stop_reason")
    reason = _FINISH_REASONS.get(name_in(stated))
    if reason is None:
        raise MalformedAnswerError(f"stop_reason {shown(stated)} is not known")
    blocks = objects_in(data["content"], "content")
    return Reading(
        finish_reason=reason,
        model=name_in(data.get("model")) or "unknown",
        usage=usage,
        response_id=name_in(data.get("id")),
        text=_joined(blocks, "text", "text"),
        reasoning=_joined(blocks, "thinking", "thinking"),
        tool_calls=tuple(_tool_call(block) for block in blocks if block.get("type") == "tool_use"),
    )


def _joined(blocks: list[dict[str, Any]], kind: str, field: str) -> str:
    return "".join(
        text_in(block.get(field), f"content[].{field}")
        for block in blocks
        if block.get("type") == kind
    )


def _tool_call(block: dict[str, Any]) -> ToolCall:
    given = block.get("input")
    # Text where a stream was cut within it: it is no JSON then.
    arguments = given if isinstance(given, str) else dump(given or {}).decode()
    return ToolCall(
        id=text_in(block.get("id"), "tool_use.id"),
        name=text_in(block.get("name"), "tool_use.name"),
        arguments=arguments,
    )


def _usage(usage: dict[str, Any]) -> Usage:
    """What was read from and written to the cache is not in `input_tokens`; here it is."""
    read = count_in(usage.get("cache_read_input_tokens"), "usage.cache_read_input_tokens")
    written = count_in(
        usage.get("cache_creation_input_tokens"), "usage.cache_creation_input_tokens"
    )
    details = object_in(usage.get("output_tokens_details"), "usage.output_tokens_details")
    uncached = count_in(usage.get("input_tokens"), "usage.input_tokens")
    return Usage(
        prompt_tokens=uncached + read + written,
        completion_tokens=count_in(usage.get("output_tokens"), "usage.output_tokens"),
        cached_prompt_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=count_in(details.get("thinking_tokens"), "usage.thinking_tokens"),
    )
