"""OpenAI Responses: body out, completion in."""

from collections.abc import Mapping
from typing import Any

from stillhouse.records import (
    Completion,
    FinishReason,
    Message,
    Request,
    TokenLogprobs,
    ToolCall,
    Usage,
)
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
    list_in,
    object_in,
    objects_in,
    parse_object,
    shown,
    text_in,
)
from stillhouse.teachers._dialects._limits import OPENAI_LIMITS, read_limits
from stillhouse.teachers._dialects._logprobs import entries_to_logprobs
from stillhouse.teachers._dialects._openai_responses_stream import ResponseAssembler
from stillhouse.teachers._dialects._protocol import (
    LimitReading,
    MalformedAnswerError,
    Outcome,
    Quirks,
    StreamAssembler,
)
from stillhouse.teachers._dialects._refusals import words_of
from stillhouse.teachers._dialects._sampling import bearer, sampling_fields
from stillhouse.teachers._dialects._schemas import is_strict, output_schema, tool_schemas

_FINISH_REASON_OF_DETAILS: dict[str, FinishReason] = {
    "max_output_tokens": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
}


class OpenAIResponses:
    """The dialect `openai_responses`. It has no seed."""

    name = "openai_responses"

    def path(self, model: str, *, stream: bool) -> str:
        """The same for every model; the base URL ends in `/v1`."""
        return "/responses"

    def headers(self, api_key: str | None) -> dict[str, str]:
        """The key as a bearer token."""
        return bearer(api_key)

    def body(
        self, request: Request, *, model: str, quirks: Quirks, stream: bool = False
    ) -> dict[str, Any]:
        """One response, not stored at the endpoint unless `quirks.extra` says so."""
        sampling = request.sampling
        instructions, rest = _instructions(request.messages)
        body: dict[str, Any] = {
            "model": model,
            "input": [item for message in rest for item in _items(message)],
            "max_output_tokens": sampling.max_tokens,
            "store": False,
            **sampling_fields(sampling, quirks),
        }
        if instructions:
            body["instructions"] = instructions
        if sampling.top_logprobs:
            body["include"] = ["message.output_text.logprobs"]
            body["top_logprobs"] = sampling.top_logprobs
        if sampling.reasoning_effort is not None:
            body["reasoning"] = _reasoning_asked(sampling.reasoning_effort, quirks)
        if request.tools:
            body["tools"] = [_tool(*tool) for tool in tool_schemas(request)]
        schema = output_schema(request, quirks)
        if schema is not None:
            named = {"name": "answer", "schema": schema, "strict": is_strict(schema)}
            body["text"] = {"format": {"type": "json_schema", **named}}
        if stream:
            body["stream"] = True
            if quirks.stream_options.get("include_obfuscation") is False:
                body["stream_options"] = {"include_obfuscation": False}
        return {**body, **quirks.extra}

    def outcome(self, body: bytes) -> Outcome:
        """Finish reason, model, usage and id."""
        return outcome_of(_read(parse_object(body)))

    def completion(self, body: bytes, request: Request) -> Completion:
        """The whole answer, with the summary of its reasoning where there is one."""
        data = parse_object(body)
        reading = _read(data)
        logprobs = None
        if asked := request.sampling.top_logprobs:
            logprobs = _logprobs(data, asked, reading)
        return completion_of(reading, request, logprobs)

    def limits(self, headers: Mapping[str, str]) -> tuple[LimitReading, ...]:
        """From `x-ratelimit-*`."""
        return read_limits(headers, OPENAI_LIMITS)

    def assembler(self) -> StreamAssembler:
        """Of typed response events."""
        return ResponseAssembler()


def _instructions(messages: tuple[Message, ...]) -> tuple[str, tuple[Message, ...]]:
    """System messages that open the conversation go beside it, later ones stay in their place."""
    opening = 0
    while opening < len(messages) and messages[opening].role == "system":
        opening += 1
    return "\n\n".join(m.content for m in messages[:opening]), messages[opening:]


def _items(message: Message) -> list[dict[str, Any]]:
    """Reasoning stays out: only encrypted items of the endpoint's own can be sent back."""
    if message.role == "tool":
        call_id = message.tool_call_id or ""
        return [{"type": "function_call_output", "call_id": call_id, "output": message.content}]
    calls = [
        {"type": "function_call", "call_id": c.id, "name": c.name, "arguments": c.arguments}
        for c in message.tool_calls
    ]
    if calls and not message.content:
        return calls
    return [{"role": message.role, "content": message.content}, *calls]


def _tool(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    # Strict is the default here and would change a schema that does not fit it.
    tool: dict[str, Any] = {"type": "function", "name": name, "parameters": schema, "strict": False}
    return tool | ({"description": description} if description else {})


def _reasoning_asked(effort: str, quirks: Quirks) -> dict[str, Any]:
    asked = {"effort": effort}
    if quirks.reasoning_summary is not None and effort != "none":
        asked["summary"] = quirks.reasoning_summary
    return asked


def _read(data: dict[str, Any]) -> Reading:
    return read_with_usage(data, "usage", _usage, _reading)


def _reading(data: dict[str, Any], usage: Usage) -> Reading:
    items = objects_in(data.get("output"), "output")
    texts, refusals = _texts(items)
    calls = tuple(_tool_call(item) for item in items if item.get("type") == "function_call")
    reason = _finish_reason(data, has_calls=bool(calls), is_refused=bool(refusals))
    return Reading(
        finish_reason=reason,
        model=name_in(data.get("model")) or "unknown",
        usage=usage,
        response_id=name_in(data.get("id")),
        text=texts or refusals,
        reasoning=_thought(items),
        tool_calls=calls,
        created=data.get("created_at"),
    )


def _finish_reason(data: dict[str, Any], *, has_calls: bool, is_refused: bool) -> FinishReason:
    status = data.get("status")
    if status == "completed":
        if is_refused:
            return "content_filter"
        return "tool_calls" if has_calls else "stop"
    if status == "incomplete":
        details = object_in(data.get("incomplete_details"), "incomplete_details")
        reason = _FINISH_REASON_OF_DETAILS.get(name_in(details.get("reason")))
        if reason is None:
            raise MalformedAnswerError(
                f"incomplete_details.reason {shown(details.get('reason'))} is not known"
            )
        return reason
    raise MalformedAnswerError(
        f"status {shown(status)} is no end of a response{words_of(data.get('error'))}"
    )


def _texts(items: list[dict[str, Any]]) -> tuple[str, str]:
    texts: list[str] = []
    refusals: list[str] = []
    for item in items:
        if item.get("type") != "message":
            continue
        for part in objects_in(item.get("content"), "output[].content"):
            if part.get("type") == "refusal":
                refusals.append(text_in(part.get("refusal"), "content[].refusal"))
            else:
                texts.append(text_in(part.get("text"), "content[].text"))
    return "".join(texts), "".join(refusals)


def _thought(items: list[dict[str, Any]]) -> str:
    """What the endpoint tells of its reasoning: the text of open models, else the summary."""
    thoughts: list[str] = []
    for item in items:
        if item.get("type") == "reasoning":
            parts = list_in(item.get("content"), "reasoning.content") or list_in(
                item.get("summary"), "reasoning.summary"
            )
            thoughts += [
                text_in(part.get("text"), "reasoning[].text")
                for part in objects_in(parts, "reasoning")
            ]
    return "\n\n".join(thought for thought in thoughts if thought)


def _tool_call(item: dict[str, Any]) -> ToolCall:
    return ToolCall(
        id=text_in(item.get("call_id"), "call_id") or text_in(item.get("id"), "id"),
        name=text_in(item.get("name"), "function_call.name"),
        arguments=text_in(item.get("arguments"), "function_call.arguments"),
    )


def _usage(usage: dict[str, Any]) -> Usage:
    if not usage:
        return Usage()
    given = object_in(usage.get("input_tokens_details"), "usage.input_tokens_details")
    written = object_in(usage.get("output_tokens_details"), "usage.output_tokens_details")
    audio = count_in(given.get("audio_tokens"), "usage.audio_tokens")
    return Usage(
        prompt_tokens=count_in(usage.get("input_tokens"), "usage.input_tokens"),
        completion_tokens=count_in(usage.get("output_tokens"), "usage.output_tokens"),
        cached_prompt_tokens=count_in(given.get("cached_tokens"), "usage.cached_tokens"),
        cache_write_tokens=count_in(given.get("cache_write_tokens"), "usage.cache_write_tokens"),
        reasoning_tokens=count_in(written.get("reasoning_tokens"), "usage.reasoning_tokens"),
        audio_tokens=audio + count_in(written.get("audio_tokens"), "usage.audio_tokens"),
    )


def _logprobs(data: dict[str, Any], asked: int, reading: Reading) -> TokenLogprobs | None:
    place = "output_text.logprobs"
    entries: list[Any] = []
    for item in data.get("output") or []:
        if item.get("type") == "message":
            for part in item.get("content") or []:
                entries += list_in(part.get("logprobs"), place)
    if entries:
        return entries_to_logprobs(entries, asked, place)
    check_may_lack_logprobs(reading, asked)
    return None
