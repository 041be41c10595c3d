"""Gemini generateContent, as the Developer API (v1beta) speaks it."""

import re
from collections.abc import Iterator
from typing import Any

import orjson

from tests.mock_provider.answers import Ask, Reply, Tool
from tests.mock_provider.dialects import openai_chat, reading
from tests.mock_provider.errors import ApiError
from tests.mock_provider.tokens import (
    Token,
    gemini_candidate,
    joined,
    logprob_of,
    top_of,
    whole_pieces,
)

FIELDS = reading.names(
    "contents systemInstruction generationConfig tools "
    "toolConfig safetySettings cachedContent "
    "labels serviceTier store model"
)
_CONFIG_FIELDS = reading.names(
    "candidateCount stopSequences maxOutputTokens temperature topP topK seed responseMimeType "
    "responseSchema responseJsonSchema _responseJsonSchema responseLogprobs logprobs "
    "presencePenalty frequencyPenalty thinkingConfig responseModalities speechConfig "
    "mediaResolution responseFormat"
)
_USERS_OWN = reading.names(
    "responseSchema responseJsonSchema _responseJsonSchema parameters parametersJsonSchema args "
    "response labels metadata"
)
_UNDERSCORE = re.compile(r"(?<=[a-z])_([a-z])")
_FINISH = {
    "stop_sequence": "STOP",
    "stop": "STOP",
    "tool_calls": "STOP",
    "length": "MAX_TOKENS",
    "filter": "SAFETY",
    "refusal": "PROHIBITED_CONTENT",
}


def camel(value: Any) -> Any:
    """A request with its names in camel case: Google reads both, and its SDK mixes them.

    What users name themselves stays as it is.
    """
    if isinstance(value, list):
        return [camel(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        (wide := _UNDERSCORE.sub(lambda found: found[1].upper(), name)): (
            part if wide in _USERS_OWN else camel(part)
        )
        for name, part in value.items()
    }


def read(body: dict[str, Any], model: str, *, is_stream: bool = False) -> Ask:
    """Read a request, or refuse it as Google does."""
    config = body.get("generationConfig") or {}
    _check(body, config)
    contents = body["contents"]
    texts = [_content_text(content) for content in contents]
    system = _content_text(body.get("systemInstruction") or {"parts": []})
    return Ask(
        model=reading.known_model(model),
        text=texts[-1],
        is_tool_result=any("functionResponse" in part for part in contents[-1]["parts"]),
        prompt_bytes=reading.num_bytes(system, *texts),
        num_messages=len(contents) + bool(system),
        max_tokens=config.get("maxOutputTokens"),
        stop=tuple(config.get("stopSequences") or ()),
        num_choices=config.get("candidateCount") or 1,
        top_logprobs=(config.get("logprobs") or 0) if config.get("responseLogprobs") else None,
        tools=tuple(_tools(body.get("tools") or ())),
        tool_choice=_choice(body.get("toolConfig")),
        schema=_schema(config),
        wants_reasoning=_wants_reasoning(config.get("thinkingConfig") or {}),
        seed=config.get("seed"),
        is_stream=is_stream,
        stream_usage=True,
    )


def answer(ask: Ask, replies: list[Reply], body: dict[str, Any]) -> dict[str, Any]:
    """The answer in one piece."""
    if replies[0].finish == "block":
        blocked = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}
        return {**blocked, **_envelope(ask, replies, is_blocked=True)}
    show = _shows_thoughts(body)
    candidates = [
        _candidate(ask, reply, at, list(_parts(reply, show))) for at, reply in enumerate(replies)
    ]
    return {"candidates": candidates, **_envelope(ask, replies)}


def events(ask: Ask, replies: list[Reply], body: dict[str, Any]) -> Iterator[bytes]:
    """The answer as chunks of the same shape, without an end marker."""
    if replies[0].finish == "block":
        yield _event(answer(ask, replies, body))
        return
    show = _shows_thoughts(body)
    for at, reply in enumerate(replies):
        for parts, tokens in _pieces(reply, show):
            candidate: dict[str, Any] = {"content": _content(parts), "index": at}
            if ask.top_logprobs is not None and tokens:
                candidate["logprobsResult"] = _logprobs(ask.top_logprobs, tokens)
            yield _event({"candidates": [candidate], **_envelope(ask, replies)})
        last = {"content": _content([{"text": ""}]), "finishReason": _finish(reply), "index": at}
        yield _event({"candidates": [last], **_envelope(ask, replies)})


def usage(replies: list[Reply], *, is_blocked: bool = False) -> dict[str, Any]:
    """Usage of an answer: what was thought is not part of the candidates' count."""
    first = replies[0].counts
    thoughts = 0 if is_blocked else sum(reply.counts.reasoning for reply in replies)
    completion = 0 if is_blocked else sum(reply.counts.completion for reply in replies)
    counts: dict[str, Any] = {
        "promptTokenCount": first.prompt,
        "totalTokenCount": first.prompt + completion,
        "promptTokensDetails": _modalities(first.prompt, first.audio),
    }
    if completion:
        counts["candidatesTokenCount"] = completion - thoughts
    if thoughts:
        counts["thoughtsTokenCount"] = thoughts
    if first.cached:
        counts["cachedContentTokenCount"] = first.cached
    if first.audio and completion:
        counts["candidatesTokensDetails"] = _modalities(completion - thoughts, first.audio)
    return counts


def _modalities(total: int, audio: int) -> list[dict[str, Any]]:
    text = [{"modality": "TEXT", "tokenCount": total - audio}]
    return [*text, {"modality": "AUDIO", "tokenCount": audio}] if audio else text


def _check(body: dict[str, Any], config: dict[str, Any]) -> None:
    unknown = 'Invalid JSON payload received. Unknown name "{}": Cannot find field.'
    reading.only(body, FIELDS, unknown)
    reading.only(config, _CONFIG_FIELDS, unknown)
    if not body.get("contents"):
        raise ApiError("invalid", "* GenerateContentRequest.contents: contents is not specified")
    for content in body["contents"]:
        if not content.get("parts"):
            raise ApiError("invalid", "* GenerateContentRequest.contents.parts: must not be empty")
        if content.get("role") not in (None, "user", "model", "function"):
            raise ApiError("invalid", "Please use a valid role: user, model.")
    reading.within(config.get("temperature"), "temperature", 0, 2)
    reading.within(config.get("topP"), "topP", 0, 1)
    reading.within(config.get("candidateCount"), "candidateCount", 1, 8)
    reading.within(config.get("logprobs"), "logprobs", 0, 20)
    reading.within(config.get("maxOutputTokens"), "maxOutputTokens", 1, 1_000_000)
    if config.get("logprobs") and not config.get("responseLogprobs"):
        raise ApiError("invalid", "Unable to submit request: logprobs needs responseLogprobs.")


def _content_text(content: dict[str, Any]) -> str:
    parts = content.get("parts") or []
    return "".join(str(part.get("text", "")) for part in parts if not part.get("thought"))


def _tools(given: Any) -> Iterator[Tool]:
    for group in given:
        for function in group.get("functionDeclarations") or ():
            schema = function.get("parametersJsonSchema") or function.get("parameters")
            yield Tool(function["name"], schema or {"type": "object", "properties": {}})


def _choice(given: dict[str, Any] | None) -> str:
    config = (given or {}).get("functionCallingConfig") or {}
    names = config.get("allowedFunctionNames")
    mode = config.get("mode", "AUTO")
    if mode == "ANY":
        return str(names[0]) if names else "required"
    return "none" if mode == "NONE" else "auto"


def _schema(config: dict[str, Any]) -> dict[str, Any] | None:
    names = ("responseSchema", "responseJsonSchema", "_responseJsonSchema")
    schema = next((config[name] for name in names if config.get(name)), None)
    if schema is not None and config.get("responseMimeType") != "application/json":
        raise ApiError("invalid", "responseSchema needs responseMimeType application/json.")
    if schema is None and config.get("responseMimeType") == "application/json":
        return {"type": "object", "properties": {"title": {"type": "string"}}}
    return schema


def _wants_reasoning(config: dict[str, Any]) -> bool:
    level = str(config.get("thinkingLevel", "")).lower()
    return bool(config.get("thinkingBudget")) or level not in ("", "minimal")


def _shows_thoughts(body: dict[str, Any]) -> bool:
    thinking = (body.get("generationConfig") or {}).get("thinkingConfig") or {}
    return bool(thinking.get("includeThoughts"))


def _envelope(ask: Ask, replies: list[Reply], *, is_blocked: bool = False) -> dict[str, Any]:
    return {
        "usageMetadata": usage(replies, is_blocked=is_blocked),
        "modelVersion": openai_chat.dated(ask.model),
        "responseId": openai_chat.response_id(ask, ""),
    }


def _finish(reply: Reply) -> str:
    return _FINISH[reply.finish]


def _content(parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {"parts": parts, "role": "model"}


def _parts(reply: Reply, show: bool) -> Iterator[dict[str, Any]]:
    if show and reply.reasoning:
        yield {"text": reply.reasoning, "thought": True}
    # What Google refuses has no text at all.
    if reply.text and reply.finish != "refusal":
        yield {"text": reply.text}
    for call in reply.calls if reply.finish == "tool_calls" else ():
        value = {"id": call.id, "name": call.name, "args": orjson.loads(call.arguments)}
        yield {"functionCall": value, "thoughtSignature": "c2lnbmVk"}


def _pieces(reply: Reply, show: bool) -> Iterator[tuple[list[dict[str, Any]], tuple[Token, ...]]]:
    for part in _parts(reply, show):
        if part.get("thought") or "text" not in part:
            yield [part], ()
            continue
        for tokens in whole_pieces(reply.tokens):
            yield [{"text": joined(tokens)}], tokens


def _candidate(ask: Ask, reply: Reply, at: int, parts: list[dict[str, Any]]) -> dict[str, Any]:
    candidate: dict[str, Any] = {"finishReason": _finish(reply), "index": at}
    if parts:
        candidate["content"] = _content(parts)
    if ask.top_logprobs is not None and reply.tokens:
        logprobs = [logprob_of(token) for token in reply.tokens]
        candidate["avgLogprobs"] = sum(logprobs) / len(logprobs)
        candidate["logprobsResult"] = _logprobs(ask.top_logprobs, reply.tokens)
    return candidate


def _logprobs(num_top: int, tokens: tuple[Token, ...]) -> dict[str, Any]:
    chosen = [gemini_candidate(token.raw, logprob_of(token)) for token in tokens]
    tops = [
        {"candidates": [gemini_candidate(raw, logprob) for raw, logprob in top_of(token, num_top)]}
        for token in tokens
    ]
    return {"chosenCandidates": chosen, **({"topCandidates": tops} if num_top else {})}


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\r\n\r\n"
