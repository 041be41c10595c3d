"""Reading a chat completion, in the forms of all the hosts that write one."""

from typing import Any

from stillhouse.records import FinishReason, TokenLogprobs, ToolCall, Usage
from stillhouse.teachers._dialects._facts import (
    Reading,
    check_may_lack_logprobs,
    name_in,
    read_with_usage,
)
from stillhouse.teachers._dialects._json import (
    count_in,
    dump,
    object_in,
    objects_in,
    shown,
    text_in,
)
from stillhouse.teachers._dialects._logprobs import columns_to_logprobs, entries_to_logprobs
from stillhouse.teachers._dialects._protocol import MalformedAnswerError
from stillhouse.teachers._dialects._refusals import words_of

_FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",  # Mistral
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
_USD_PER_TICK = 1e-10  # xAI


def read_chat(data: dict[str, Any]) -> Reading:
    """The answer in a chat completion, all but its log-probabilities."""
    return read_with_usage(data, "usage", chat_usage, _reading)


def _reading(data: dict[str, Any], usage: Usage) -> Reading:
    choice = _first_choice(data)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise MalformedAnswerError("choices[0] has no message")
    text, thought = _text_and_thought(message.get("content"))
    refusal = text_in(message.get("refusal"), "message.refusal")
    tool_calls = _tool_calls(message)
    reason = _finish_reason(choice, has_calls=bool(tool_calls), is_refused=bool(refusal))
    if not text and not refusal and not tool_calls and message.get("content") is None:
        _check_may_be_empty(reason, has_thought=bool(thought or _thought(message)))
    return Reading(
        finish_reason=reason,
        model=name_in(data.get("model")) or "unknown",
        usage=usage,
        response_id=name_in(data.get("id")),
        text=text or refusal,
        reasoning=thought or _thought(message),
        tool_calls=tool_calls,
        created=data.get("created"),
    )


def _first_choice(data: dict[str, Any]) -> dict[str, Any]:
    choices = data.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        # Gateways report errors under status 200 as well.
        raise MalformedAnswerError(f"no choices{words_of(data.get('error'))}")
    return choices[0]


def _finish_reason(choice: dict[str, Any], *, has_calls: bool, is_refused: bool) -> FinishReason:
    stated = choice.get("finish_reason")
    reason = _FINISH_REASONS.get(stated) if isinstance(stated, str) else None
    if reason is None:
        said = words_of(choice.get("error"))  # OpenRouter
        raise MalformedAnswerError(f"finish_reason {shown(stated)} is not known{said}")
    if is_refused:
        return "content_filter"
    # Some hosts say "stop" where a tool is to be called.
    return "tool_calls" if has_calls and reason == "stop" else reason


def _check_may_be_empty(reason: FinishReason, *, has_thought: bool) -> None:
    """A model may be filtered, or cut while it thinks, before its first word; else it spoke."""
    if reason not in ("content_filter", "length") and not has_thought:
        raise MalformedAnswerError("message.content is NoneType, not text")


def _text_and_thought(content: Any) -> tuple[str, str]:
    """Text, and what was thought where a host writes both as parts of the content (Mistral)."""
    if not isinstance(content, list):
        return text_in(content, "message.content"), ""
    texts: list[str] = []
    thoughts: list[str] = []
    for part in objects_in(content, "message.content"):
        if part.get("type") == "thinking":
            thoughts += _thinking_texts(part.get("thinking"))
        else:
            texts.append(text_in(part.get("text"), "message.content[].text"))
    return "".join(texts), "".join(thoughts)


def _thinking_texts(thinking: Any) -> list[str]:
    if isinstance(thinking, str):
        return [thinking]
    parts = objects_in(thinking, "message.content[].thinking")
    return [text_in(part.get("text"), "message.content[].thinking[].text") for part in parts]


def _thought(message: dict[str, Any]) -> str:
    # An extra of the hosts' own: one in another form is no reason to lose the answer.
    return name_in(message.get("reasoning_content")) or name_in(message.get("reasoning"))


def _tool_calls(message: dict[str, Any]) -> tuple[ToolCall, ...]:
    given = message.get("tool_calls")
    if not given:
        old = object_in(message.get("function_call"), "message.function_call")
        return (_tool_call("", old),) if old else ()
    return tuple(
        _tool_call(
            text_in(call.get("id"), "tool_calls[].id"),
            object_in(call.get("function"), "tool_calls[].function"),
        )
        for call in objects_in(given, "message.tool_calls")
    )


def _tool_call(call_id: str, function: dict[str, Any]) -> ToolCall:
    arguments = function.get("arguments")
    if isinstance(arguments, dict):  # the form of Ollama's own protocol, which some hosts pass on
        arguments = dump(arguments).decode()
    return ToolCall(
        id=call_id,
        name=text_in(function.get("name"), "function.name"),
        arguments=text_in(arguments, "function.arguments"),
    )


def chat_usage(usage: dict[str, Any]) -> Usage:
    """Tokens, and the cost where it is stated, in the terms of chat completions."""
    if not usage:
        return Usage()
    prompt = object_in(usage.get("prompt_tokens_details"), "usage.prompt_tokens_details")
    written = object_in(usage.get("completion_tokens_details"), "usage.completion_tokens_details")
    prompt_tokens = count_in(usage.get("prompt_tokens"), "usage.prompt_tokens")
    completion_tokens = count_in(usage.get("completion_tokens"), "usage.completion_tokens")
    reasoning_tokens = count_in(written.get("reasoning_tokens"), "usage.reasoning_tokens")
    total = count_in(usage.get("total_tokens"), "usage.total_tokens")
    if reasoning_tokens and total == prompt_tokens + completion_tokens + reasoning_tokens:
        completion_tokens += reasoning_tokens  # xAI counts them beside the completion
    audio = count_in(prompt.get("audio_tokens"), "usage.audio_tokens")
    return Usage(
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        cached_prompt_tokens=_cached(usage, prompt),
        cache_write_tokens=count_in(prompt.get("cache_write_tokens"), "usage.cache_write_tokens"),
        reasoning_tokens=reasoning_tokens,
        audio_tokens=audio + count_in(written.get("audio_tokens"), "usage.audio_tokens"),
        cost_usd=_stated_cost(usage),
    )


def _cached(usage: dict[str, Any], details: dict[str, Any]) -> int:
    for given in (
        details.get("cached_tokens"),
        usage.get("prompt_cache_hit_tokens"),  # DeepSeek
        usage.get("cached_tokens"),  # Moonshot
    ):
        if given is not None:
            return count_in(given, "usage.cached_tokens")
    return 0


def _stated_cost(usage: dict[str, Any]) -> float | None:
    """What the host says it cost: OpenRouter in dollars, xAI in ticks of a ten-billionth."""
    for name, unit_usd in (("cost", 1.0), ("cost_usd", 1.0), ("cost_in_usd_ticks", _USD_PER_TICK)):
        cost = usage.get(name)
        if isinstance(cost, int | float) and cost >= 0:
            return cost * unit_usd
    return None


def read_logprobs(data: dict[str, Any], asked: int, reading: Reading) -> TokenLogprobs | None:
    """Those of a chat completion that was read before; None where it has no tokens.

    Raises:
        LogprobsUnavailableError: it has tokens and no log-probabilities.
    """
    place = "logprobs.content"
    given = object_in(data["choices"][0].get("logprobs"), "choices[0].logprobs")
    entries = given.get("content")
    if isinstance(entries, list) and entries:
        return entries_to_logprobs(entries, asked, place)
    columns = columns_to_logprobs(given, asked, "logprobs")
    if columns is not None:
        return columns
    check_may_lack_logprobs(reading, asked)
    return None
