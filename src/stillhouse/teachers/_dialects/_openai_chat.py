"""OpenAI Chat Completions, and the many hosts that speak it: body out, completion in."""

from collections.abc import Mapping
from typing import Any

from stillhouse.records import Completion, Message, Request
from stillhouse.teachers._dialects._facts import completion_of, outcome_of
from stillhouse.teachers._dialects._json import parse_object
from stillhouse.teachers._dialects._limits import OPENAI_LIMITS, read_limits
from stillhouse.teachers._dialects._openai_chat_answer import read_chat, read_logprobs
from stillhouse.teachers._dialects._openai_chat_stream import ChatAssembler
from stillhouse.teachers._dialects._protocol import (
    LimitReading,
    Outcome,
    Quirks,
    StreamAssembler,
)
from stillhouse.teachers._dialects._sampling import bearer, sampling_fields, seed_of
from stillhouse.teachers._dialects._schemas import is_strict, output_schema, tool_schemas


class OpenAIChat:
    """The dialect `openai_chat`."""

    name = "openai_chat"

    def path(self, model: str, *, stream: bool) -> str:
        """The same for every model; the base URL ends in `/v1` or what the host has for it."""
        return "/chat/completions"

    def headers(self, api_key: str | None) -> dict[str, str]:
        """The key as a bearer token."""
        return bearer(api_key)

    def body(
        self, request: Request, *, model: str, quirks: Quirks, stream: bool = False
    ) -> dict[str, Any]:
        """One choice, everything that the dialect has of `Sampling` stated."""
        body: dict[str, Any] = {
            "model": model,
            "messages": [_message(message, quirks) for message in request.messages],
            quirks.max_tokens_field: request.sampling.max_tokens,
            **sampling_fields(request.sampling, quirks),
        }
        if quirks.seed_field is not None:
            body[quirks.seed_field] = seed_of(request)
        body |= _logprobs_asked(request.sampling.top_logprobs, quirks)
        body |= _effort(request, quirks)
        if request.tools:
            body["tools"] = [_tool(*tool) for tool in tool_schemas(request)]
        schema = output_schema(request, quirks)
        if schema is not None:
            named = {"name": "answer", "schema": schema, "strict": is_strict(schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        if stream:
            body["stream"] = True
            if quirks.stream_options:
                body["stream_options"] = dict(quirks.stream_options)
        return {**body, **quirks.extra}

    def outcome(self, body: bytes) -> Outcome:
        """Finish reason, model, usage and id."""
        return outcome_of(read_chat(parse_object(body)))

    def completion(self, body: bytes, request: Request) -> Completion:
        """The whole answer; reasoning is found wherever a host puts it."""
        data = parse_object(body)
        reading = read_chat(data)
        logprobs = None
        if asked := request.sampling.top_logprobs:
            logprobs = read_logprobs(data, asked, reading)
        return completion_of(reading, request, logprobs)

    def limits(self, headers: Mapping[str, str]) -> tuple[LimitReading, ...]:
        """From `x-ratelimit-*`."""
        return read_limits(headers, OPENAI_LIMITS)

    def assembler(self) -> StreamAssembler:
        """Of chat completion chunks."""
        return ChatAssembler()


def _message(message: Message, quirks: Quirks) -> dict[str, Any]:
    written: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.role == "tool":
        written["tool_call_id"] = message.tool_call_id or ""
    if message.tool_calls:
        written["content"] = message.content or None
        written["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    echoes = quirks.echoes_reasoning
    if message.reasoning and (
        echoes == "always" or (echoes == "with_tool_calls" and message.tool_calls)
    ):
        written[quirks.reasoning_field] = message.reasoning
    return written


def _tool(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    function: dict[str, Any] = {"name": name, "parameters": schema}
    if description:
        function["description"] = description
    return {"type": "function", "function": function}


def _logprobs_asked(top_logprobs: int, quirks: Quirks) -> dict[str, Any]:
    if not top_logprobs:
        return {}
    if quirks.has_integer_logprobs:
        return {"logprobs": top_logprobs}
    return {"logprobs": True, "top_logprobs": top_logprobs}


def _effort(request: Request, quirks: Quirks) -> dict[str, Any]:
    effort = request.sampling.reasoning_effort
    if effort is None:
        return {}
    match quirks.effort_form:
        case "reasoning_effort":
            return {"reasoning_effort": effort}
        case "reasoning":
            return {"reasoning": {"effort": effort}}
        case "thinking_effort":
            if effort == "none":
                return {"thinking": {"type": "disabled"}}
            return {"thinking": {"type": "enabled"}, "reasoning_effort": effort}
        case "enable_thinking":
            return {"enable_thinking": effort != "none"}
