"""Gemini generateContent: body out, completion in."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import orjson

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
from stillhouse.teachers._dialects._gemini_logprobs import read_logprobs
from stillhouse.teachers._dialects._gemini_stream import GeminiAssembler
from stillhouse.teachers._dialects._json import (
    count_in,
    dump,
    object_in,
    objects_in,
    parse_object,
    shown,
    text_in,
)
from stillhouse.teachers._dialects._protocol import (
    LimitReading,
    MalformedAnswerError,
    Outcome,
    Quirks,
    StreamAssembler,
)
from stillhouse.teachers._dialects._refusals import words_of
from stillhouse.teachers._dialects._sampling import sampling_fields, seed_of
from stillhouse.teachers._dialects._schemas import (
    arguments_of,
    joined_system,
    output_schema,
    tool_schemas,
)

_FINISH_REASONS: dict[str, FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
}
_LEVELS = {"max": "xhigh"}
_BUDGET_TOKENS = {
    "minimal": 512,  # the least that all models with a budget take
    "low": 2048,
    "medium": 8192,
    "high": 16384,
    "xhigh": 24576,
    "max": 24576,  # the most that all of them take
}
# What Google documents for calls whose signature is not at hand; newer models want one.
_NO_SIGNATURE = "skip_thought_signature_validator"


class Gemini:
    """The dialect `gemini`: the one hosted API that gives token ids."""

    name = "gemini"

    def path(self, model: str, *, stream: bool) -> str:
        """The model is part of it; the base URL has no version."""
        # "tunedModels/x" names its collection itself.
        where = model if "/" in model else f"models/{model}"
        call = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return f"/v1beta/{quote(where)}:{call}"

    def headers(self, api_key: str | None) -> dict[str, str]:
        """The key in a header of its own, never in the URL."""
        return {"x-goog-api-key": api_key} if api_key else {}

    def body(
        self, request: Request, *, model: str, quirks: Quirks, stream: bool = False
    ) -> dict[str, Any]:
        """One candidate; all system messages go into `systemInstruction`."""
        has_budget = quirks.has_thinking_budget(model)
        body: dict[str, Any] = {
            "contents": _contents(request, signs=not has_budget),
            "generationConfig": _generation(request, quirks, has_budget=has_budget),
        }
        if system := joined_system(request.messages):
            body["systemInstruction"] = {"parts": [{"text": system}]}
        if request.tools:
            declared = [_tool(*tool) for tool in tool_schemas(request)]
            body["tools"] = [{"functionDeclarations": declared}]
        return {**body, **quirks.extra}

    def outcome(self, body: bytes) -> Outcome:
        """Finish reason, model, usage and id."""
        return outcome_of(_read(parse_object(body)))

    def completion(self, body: bytes, request: Request) -> Completion:
        """The whole answer, thoughts apart from text."""
        data = parse_object(body)
        reading = _read(data)
        logprobs = None
        if asked := request.sampling.top_logprobs:
            logprobs = _logprobs(data, asked, reading)
        return completion_of(reading, request, logprobs)

    def limits(self, headers: Mapping[str, str]) -> tuple[LimitReading, ...]:
        """Nothing: the dialect has no such headers."""
        return ()

    def assembler(self) -> StreamAssembler:
        """Of partial responses."""
        return GeminiAssembler()


def _contents(request: Request, *, signs: bool) -> list[dict[str, Any]]:
    """User and model in turn: what follows from one side is one content of several parts."""
    contents: list[dict[str, Any]] = []
    tools: dict[str, str] = {}  # call id to name, which the result must repeat
    for message in request.messages:
        if message.role == "system":
            continue
        tools |= {call.id: call.name for call in message.tool_calls}
        role = "model" if message.role == "assistant" else "user"
        if message.role == "tool":
            parts = [_result_part(message, tools)]
        else:
            parts = _parts(message, request, signs=signs)
        if contents and contents[-1]["role"] == role:
            contents[-1]["parts"] += parts
        else:
            contents.append({"role": role, "parts": parts})
    return contents


def _parts(message: Message, request: Request, *, signs: bool) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = []
    for call in message.tool_calls:
        written: dict[str, Any] = {"name": call.name, "args": arguments_of(call, request)}
        if call.id:
            written["id"] = call.id
        signature = {"thoughtSignature": _NO_SIGNATURE} if signs else {}
        calls.append({"functionCall": written, **signature})
    if calls and not message.content:
        return calls
    return [{"text": message.content}, *calls]


def _result_part(message: Message, tools: dict[str, str]) -> dict[str, Any]:
    call_id = message.tool_call_id or ""
    answer: dict[str, Any] = {
        "name": tools.get(call_id, call_id),
        "response": _object_or_result(message.content),
    }
    return {"functionResponse": answer | ({"id": call_id} if call_id else {})}


def _object_or_result(content: str) -> dict[str, Any]:
    """A tool's result must be an object here; any other text is put into one."""
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        value = None
    return value if isinstance(value, dict) else {"result": content}


def _tool(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    tool: dict[str, Any] = {"name": name, "parametersJsonSchema": schema}
    return tool | ({"description": description} if description else {})


def _generation(request: Request, quirks: Quirks, *, has_budget: bool) -> dict[str, Any]:
    sampling = request.sampling
    config: dict[str, Any] = {
        **sampling_fields(sampling, quirks, top_p_field="topP"),
        "maxOutputTokens": sampling.max_tokens,
        "seed": seed_of(request),
    }
    if sampling.top_logprobs:
        config |= {"responseLogprobs": True, "logprobs": sampling.top_logprobs}
    if sampling.reasoning_effort is not None:
        config["thinkingConfig"] = _thinking(sampling.reasoning_effort, has_budget=has_budget)
    schema = output_schema(request, quirks)
    if schema is not None:
        # Not `responseSchema`, which is a dialect of JSON Schema of its own.
        config |= {"responseMimeType": "application/json", "responseJsonSchema": schema}
    return config


def _thinking(effort: str, *, has_budget: bool) -> dict[str, Any]:
    if effort == "none":
        return {"thinkingBudget": 0}
    if has_budget:
        return {"includeThoughts": True, "thinkingBudget": _BUDGET_TOKENS[effort]}
    return {"includeThoughts": True, "thinkingLevel": _LEVELS.get(effort, effort)}


def _read(data: dict[str, Any]) -> Reading:
    return read_with_usage(data, "usageMetadata", _usage, _reading)


def _reading(data: dict[str, Any], usage: Usage) -> Reading:
    candidates = objects_in(data.get("candidates"), "candidates")
    candidate = candidates[0] if candidates else {}
    content = object_in(candidate.get("content"), "candidates[0].content")
    parts = objects_in(content.get("parts"), "content.parts")
    calls = tuple(
        _tool_call(object_in(part["functionCall"], "functionCall"))
        for part in parts
        if "functionCall" in part
    )
    reason = _finish_reason(candidate, has_calls=bool(calls)) if candidate else _blocked(data)
    return Reading(
        finish_reason=reason,
        model=name_in(data.get("modelVersion")) or "unknown",
        usage=usage,
        response_id=name_in(data.get("responseId")),
        text=_joined(parts, is_thought=False),
        reasoning=_joined(parts, is_thought=True),
        tool_calls=calls,
    )


def _finish_reason(candidate: dict[str, Any], *, has_calls: bool) -> FinishReason:
    stated = candidate.get("finishReason")
    reason = _FINISH_REASONS.get(name_in(stated))
    if reason is None:
        message = name_in(candidate.get("finishMessage"))
        said = f"; it says: {message:.200}" if message else ""
        raise MalformedAnswerError(f"finishReason {shown(stated)} is no end of an answer{said}")
    return "tool_calls" if has_calls and reason == "stop" else reason


def _blocked(data: dict[str, Any]) -> FinishReason:
    """No candidate is a normal outcome where the prompt was blocked."""
    feedback = object_in(data.get("promptFeedback"), "promptFeedback")
    if feedback.get("blockReason"):
        return "content_filter"
    raise MalformedAnswerError(f"no candidates{words_of(data.get('error'))}")


def _joined(parts: list[dict[str, Any]], *, is_thought: bool) -> str:
    return "".join(
        text_in(part.get("text"), "parts[].text")
        for part in parts
        if (part.get("thought") is True) == is_thought
    )


def _tool_call(call: dict[str, Any]) -> ToolCall:
    return ToolCall(
        id=text_in(call.get("id"), "functionCall.id"),
        name=text_in(call.get("name"), "functionCall.name"),
        arguments=dump(object_in(call.get("args"), "functionCall.args")).decode(),
    )


def _usage(usage: dict[str, Any]) -> Usage:
    """Thoughts are not in the candidates, nor tool results in the prompt; here both are."""
    thoughts = count_in(usage.get("thoughtsTokenCount"), "thoughtsTokenCount")
    written = count_in(usage.get("candidatesTokenCount"), "candidatesTokenCount")
    given = count_in(usage.get("promptTokenCount"), "promptTokenCount")
    of_tools = count_in(usage.get("toolUsePromptTokenCount"), "toolUsePromptTokenCount")
    return Usage(
        prompt_tokens=given + of_tools,
        completion_tokens=written + thoughts,
        cached_prompt_tokens=count_in(
            usage.get("cachedContentTokenCount"), "cachedContentTokenCount"
        ),
        reasoning_tokens=thoughts,
        audio_tokens=_audio(usage, "promptTokensDetails")
        + _audio(usage, "candidatesTokensDetails"),
    )


def _audio(usage: dict[str, Any], name: str) -> int:
    return sum(
        count_in(part.get("tokenCount"), f"{name}[].tokenCount")
        for part in objects_in(usage.get(name), name)
        if part.get("modality") == "AUDIO"
    )


def _logprobs(data: dict[str, Any], asked: int, reading: Reading) -> TokenLogprobs | None:
    candidates = data.get("candidates") or [{}]
    given = object_in(candidates[0].get("logprobsResult"), "logprobsResult")
    logprobs = read_logprobs(given, asked)
    if logprobs is None:
        check_may_lack_logprobs(reading, asked)
    return logprobs
