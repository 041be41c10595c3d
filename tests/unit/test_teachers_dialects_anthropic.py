import json
from typing import Any

import pytest
from dialect_cases import (
    ASKED,
    CLOSED_SCHEMA,
    TOOL_TURNS,
    WEATHER,
    a_request,
    assembled,
    raw,
    read,
    sse,
    whole,
)

from stillhouse.errors import LogprobsUnavailableError, RecordError
from stillhouse.records import Message, Request, ToolCall
from stillhouse.teachers._dialects import (
    DIALECTS,
    MalformedAnswerError,
    Quirks,
    StreamRefusedError,
)
from stillhouse.teachers._providers import PROVIDERS

ANTHROPIC = DIALECTS["anthropic"]
QUIRKS = PROVIDERS["anthropic"].quirks


def body(request: Request, *, model: str = "m", stream: bool = False) -> dict[str, Any]:
    return ANTHROPIC.body(request, model=model, quirks=QUIRKS, stream=stream)


def answer(*blocks: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m-2026-01-02",
        "content": list(blocks) or [{"type": "text", "text": "hi"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 7, "output_tokens": 3},
    } | fields


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


# Requests


def test_a_plain_body_has_its_system_apart() -> None:
    assert body(a_request()) == {
        "model": "m",
        "max_tokens": 256,
        "system": "Be brief.",
        "messages": [{"role": "user", "content": [text("Hi")]}],
    }
    written = body(a_request(temperature=0.5, top_p=0.9), stream=True)
    assert (written["temperature"], written["top_p"], written["stream"]) == (0.5, 0.9, True)
    assert ANTHROPIC.headers("k") == {"anthropic-version": "2023-06-01", "x-api-key": "k"}
    assert ANTHROPIC.path("m", stream=False) == "/v1/messages"


def test_all_system_messages_are_joined() -> None:
    late = Message(role="system", content="Now in French.")
    written = body(a_request(*ASKED, late, Message(role="user", content="And?")))
    assert written["system"] == "Be brief.\n\nNow in French."
    assert written["messages"] == [{"role": "user", "content": [text("Hi"), text("And?")]}]


def test_tools_and_their_results_are_blocks_of_alternating_turns() -> None:
    written = body(a_request(*TOOL_TURNS, tools=(WEATHER,)))
    assert written["tools"] == [
        {"name": "weather", "description": "Of a city", "input_schema": {"type": "object"}}
    ]
    assert written["messages"][1:] == [
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Bern"}},
                {"type": "tool_use", "id": "c2", "name": "weather", "input": {"city": "Thun"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": '{"sky":"clear"}'},
                {"type": "tool_result", "tool_use_id": "c2", "content": "rain"},
                text("And tomorrow?"),
            ],
        },
    ]


def test_arguments_that_are_no_object_are_refused_by_place() -> None:
    call = ToolCall(id="c9", name="w", arguments='{"city": "Be')
    turn = Message(role="assistant", content="", tool_calls=(call,))
    with pytest.raises(RecordError, match="'p': the arguments of tool call 'c9' is not JSON"):
        body(a_request(*ASKED, turn))


def test_a_schema_goes_beside_the_effort() -> None:
    written = body(a_request(schema=CLOSED_SCHEMA, reasoning_effort="minimal"))
    assert written["output_config"] == {
        "effort": "low",
        "format": {"type": "json_schema", "schema": json.loads(CLOSED_SCHEMA)},
    }


@pytest.mark.parametrize(
    ("model", "effort", "thinking", "config"),
    [
        (
            "claude-opus-4-7",
            "max",
            {"type": "adaptive", "display": "summarized"},
            {"effort": "max"},
        ),
        ("claude-opus-4-7", "none", {"type": "disabled"}, None),
        (
            "claude-3-7-sonnet-20250219",
            "low",
            {"type": "enabled", "budget_tokens": 2048},
            None,
        ),
        ("claude-sonnet-4-5", "minimal", {"type": "enabled", "budget_tokens": 1024}, None),
        ("claude-opus-4-20250514", "high", {"type": "enabled", "budget_tokens": 16384}, None),
        (
            "claude-sonnet-5",
            "high",
            {"type": "adaptive", "display": "summarized"},
            {"effort": "high"},
        ),
    ],
)
def test_an_effort_is_a_budget_for_models_that_know_no_effort(
    model: str, effort: str, thinking: dict[str, Any], config: dict[str, Any] | None
) -> None:
    written = body(a_request(reasoning_effort=effort), model=model)
    assert written["thinking"] == thinking
    assert written.get("output_config") == config


def test_extras_come_last() -> None:
    quirks = Quirks(extra={"service_tier": "standard_only"})
    written = ANTHROPIC.body(a_request(), model="m", quirks=quirks)
    assert written["service_tier"] == "standard_only"


# Answers


def test_thinking_and_tool_calls_are_kept_apart_from_text() -> None:
    completion = read(
        "anthropic",
        answer(
            {"type": "thinking", "thinking": "2 and 2", "signature": "s"},
            {"type": "redacted_thinking", "data": "x"},
            text("I look"),
            text(" it up."),
            {"type": "tool_use", "id": "c", "name": "w", "input": {"city": "Bern"}},
            stop_reason="tool_use",
        ),
    )
    assert (completion.text, completion.reasoning) == ("I look it up.", "2 and 2")
    assert completion.tool_calls == (ToolCall(id="c", name="w", arguments='{"city":"Bern"}'),)
    assert completion.finish_reason == "tool_calls"
    assert ANTHROPIC.outcome(raw(answer())).response_id == "msg_1"


@pytest.mark.parametrize(
    ("stated", "kept"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("pause_turn", "length"),
        ("refusal", "content_filter"),
    ],
)
def test_stop_reasons_are_mapped_and_the_text_is_kept(stated: str, kept: str) -> None:
    completion = read("anthropic", answer(stop_reason=stated))
    assert (completion.text, completion.finish_reason) == ("hi", kept)


def test_a_refusal_without_a_word_is_kept() -> None:
    completion = read("anthropic", answer(stop_reason="refusal") | {"content": []})
    assert (completion.text, completion.finish_reason) == ("", "content_filter")


def test_cached_tokens_are_part_of_the_prompt() -> None:
    usage = read(
        "anthropic",
        answer(
            usage={
                "input_tokens": 10,
                "cache_read_input_tokens": 60,
                "cache_creation_input_tokens": 30,
                "output_tokens": 50,
                "output_tokens_details": {"thinking_tokens": 20},
            }
        ),
    ).usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (100, 50)
    assert (usage.cached_prompt_tokens, usage.cache_write_tokens) == (60, 30)
    assert usage.reasoning_tokens == 20


def test_logprobs_are_not_made_up() -> None:
    with pytest.raises(LogprobsUnavailableError, match="top_logprobs=1"):
        read("anthropic", answer(), top_logprobs=1)
    assert read("anthropic", answer(stop_reason="refusal"), top_logprobs=1).text == "hi"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "no content"),
        ({"type": "error", "error": {"message": "upstream"}}, "no content; it says: upstream"),
        (answer(stop_reason=None), "stop_reason None"),
        (answer({"type": "text", "text": 5}), r"content\[\]\.text is int"),
        (answer(usage=[]), "usage is list"),
    ],
)
def test_a_malformed_answer_says_what_is_wrong(data: Any, message: str) -> None:
    with pytest.raises(MalformedAnswerError, match=message):
        ANTHROPIC.completion(raw(data), a_request())


# Streams


def event(kind: str, **fields: Any) -> tuple[str, dict[str, Any]]:
    return kind, {"type": kind} | fields


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> list[Any]:
    return [
        event("content_block_start", index=index, content_block=start),
        *(event("content_block_delta", index=index, delta=delta) for delta in deltas),
        event("content_block_stop", index=index),
    ]


def start(**usage: int) -> tuple[str, dict[str, Any]]:
    message = answer(stop_reason=None, usage={"input_tokens": 7, "output_tokens": 1} | usage)
    return event("message_start", message=message | {"content": []})


def end(stop_reason: str = "end_turn", **usage: Any) -> list[Any]:
    delta = {"stop_reason": stop_reason, "stop_sequence": None}
    usage = {"output_tokens": 3, "input_tokens": None} | usage
    return [event("message_delta", delta=delta, usage=usage), event("message_stop")]


def test_a_stream_is_put_together_to_the_plain_answer() -> None:
    stream = sse(
        start(),
        event("ping"),
        ": keep-alive\n\n",
        *block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "2 "},
            {"type": "thinking_delta", "thinking": "and 2"},
            {"type": "signature_delta", "signature": "s"},
        ),
        *block(
            1,
            text(""),
            {"type": "text_delta", "text": "h"},
            {"type": "text_delta", "text": "i"},
            {"type": "citations_delta", "citation": {"cited_text": "q"}},
        ),
        *block(
            2,
            {"type": "tool_use", "id": "c", "name": "w", "input": {}},
            {"type": "input_json_delta", "partial_json": '{"city":'},
            {"type": "input_json_delta", "partial_json": '"Bern"}'},
        ),
        event("some_news", anything=1),
        *end("tool_use"),
    )
    assert whole("anthropic", stream) == answer(
        {"type": "thinking", "thinking": "2 and 2", "signature": "s"},
        text("hi") | {"citations": [{"cited_text": "q"}]},
        {"type": "tool_use", "id": "c", "name": "w", "input": {"city": "Bern"}},
        stop_reason="tool_use",
    )


def test_a_tool_call_that_was_cut_is_kept_as_written() -> None:
    stream = sse(
        start(),
        *block(
            0,
            {"type": "tool_use", "id": "c", "name": "w", "input": {}},
            {"type": "input_json_delta", "partial_json": '{"city": "Be'},
        ),
        *end("max_tokens"),
    )
    completion = read("anthropic", whole("anthropic", stream))
    assert completion.tool_calls[0].arguments == '{"city": "Be'
    assert completion.finish_reason == "length"


def test_streamed_usage_is_the_last_that_was_stated() -> None:
    stream = sse(start(cache_read_input_tokens=5), *block(0, text("x")), *end(output_tokens=9))
    usage = read("anthropic", whole("anthropic", stream)).usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_prompt_tokens) == (12, 9, 5)


def test_a_stream_that_stops_early_is_not_complete() -> None:
    cut = assembled("anthropic", sse(start(), *block(0, text("x")), end()[0]))
    assert not cut.is_complete


def test_a_late_error_is_a_refusal() -> None:
    late = event("error", error={"type": "overloaded_error", "message": "Overloaded"})
    with pytest.raises(StreamRefusedError, match="Overloaded") as caught:
        assembled("anthropic", sse(start(), late))
    assert (caught.value.refusal.kind, caught.value.refusal.is_retryable) == ("overloaded", True)


def test_a_piece_of_a_block_that_never_began_is_malformed() -> None:
    piece = event("content_block_delta", index=3, delta={"type": "text_delta", "text": "x"})
    with pytest.raises(MalformedAnswerError, match="block 3"):
        assembled("anthropic", sse(start(), piece))
