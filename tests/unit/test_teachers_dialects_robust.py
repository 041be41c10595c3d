"""Whatever arrives, a dialect answers with a result or with the error that it promises."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from dialect_cases import a_request
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.errors import LogprobsUnavailableError
from stillhouse.teachers._dialects import (
    DIALECTS,
    MalformedAnswerError,
    SseEvent,
    SseParser,
    StreamRefusedError,
    read_refusal,
)

PROMISED = (MalformedAnswerError, LogprobsUnavailableError, StreamRefusedError)
# Names and words that the dialects look at, so that random JSON gets past the first checks.
NAMES = [
    "id",
    "choices",
    "message",
    "delta",
    "content",
    "text",
    "type",
    "finish_reason",
    "logprobs",
    "token",
    "logprob",
    "top_logprobs",
    "tool_calls",
    "function",
    "name",
    "arguments",
    "refusal",
    "reasoning_content",
    "reasoning",
    "usage",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "prompt_tokens_details",
    "cached_tokens",
    "cost",
    "index",
    "error",
    "code",
    "output",
    "status",
    "incomplete_details",
    "reason",
    "summary",
    "response",
    "item",
    "output_index",
    "created",
    "stop_reason",
    "thinking",
    "input",
    "content_block",
    "partial_json",
    "citation",
    "candidates",
    "parts",
    "thought",
    "functionCall",
    "args",
    "finishReason",
    "usageMetadata",
    "promptTokenCount",
    "promptFeedback",
    "blockReason",
    "logprobsResult",
    "chosenCandidates",
    "topCandidates",
    "logProbability",
    "tokenId",
    "details",
    "violations",
    "quotaId",
    "retryDelay",
    "metadata",
    "tokens",
    "token_logprobs",
    "created_at",
    "model",
]
WORDS = [
    "stop",
    "length",
    "completed",
    "incomplete",
    "failed",
    "message",
    "reasoning",
    "function_call",
    "tool_use",
    "text",
    "thinking",
    "end_turn",
    "max_tokens",
    "refusal",
    "STOP",
    "MAX_TOKENS",
    "max_output_tokens",
    "message_start",
    "message_delta",
    "content_block_start",
    "content_block_delta",
    "text_delta",
    "input_json_delta",
    "citations_delta",
    "response.completed",
    "response.output_item.done",
    "response.failed",
    "error",
    "output_text",
    "AUDIO",
    "34s",
]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.integers(min_value=-(2**63), max_value=2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(WORDS)
    | st.text(max_size=5)
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=12,
)
# One whole answer per dialect, to be broken in one place.
SOUND: dict[str, Any] = {
    "openai_chat": {
        "created": 1,
        "choices": [
            {
                "message": {
                    "content": [{"type": "thinking", "thinking": [{"text": "x"}]}, {"text": "hi"}],
                    "reasoning": "x",
                    "tool_calls": [{"id": "c", "function": {"name": "w", "arguments": "{}"}}],
                },
                "finish_reason": "stop",
                "logprobs": {
                    "content": [
                        {
                            "token": "h",
                            "logprob": -1,
                            "top_logprobs": [{"token": "h", "logprob": -1}],
                        }
                    ]
                },
            }
        ],
        "usage": {
            "prompt_tokens": 1,
            "completion_tokens": 1,
            "total_tokens": 3,
            "completion_tokens_details": {"reasoning_tokens": 1},
            "cost": 1,
        },
    },
    "openai_responses": {
        "status": "completed",
        "created_at": 1,
        "output": [
            {"type": "reasoning", "summary": [{"text": "x"}]},
            {
                "type": "message",
                "content": [{"text": "h", "logprobs": [{"token": "h", "logprob": -1}]}],
            },
            {"type": "function_call", "call_id": "c", "name": "w", "arguments": "{}"},
        ],
        "usage": {"input_tokens": 1, "output_tokens_details": {"reasoning_tokens": 1}},
    },
    "anthropic": {
        "content": [
            {"type": "text", "text": "h"},
            {"type": "thinking", "thinking": "x"},
            {"type": "tool_use", "id": "c", "name": "w", "input": {"a": 1}},
        ],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 1, "output_tokens_details": {"thinking_tokens": 1}},
    },
    "gemini": {
        "candidates": [
            {
                "content": {
                    "parts": [{"text": "h"}, {"functionCall": {"name": "w", "args": {"a": 1}}}]
                },
                "finishReason": "STOP",
                "logprobsResult": {
                    "chosenCandidates": [{"token": "h", "tokenId": 1, "logProbability": -1}],
                    "topCandidates": [
                        {"candidates": [{"token": "h", "tokenId": 1, "logProbability": -1}]}
                    ],
                },
            }
        ],
        "usageMetadata": {
            "promptTokenCount": 1,
            "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 1}],
        },
    },
}
DIALECT_NAMES = st.sampled_from(list(DIALECTS))
PLAIN, WITH_LOGPROBS = a_request(), a_request(top_logprobs=2)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value, outermost first."""
    inner = value.items() if isinstance(value, dict) else ()
    inner = enumerate(value) if isinstance(value, list) else inner
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


def broken(value: Any, path: tuple[Any, ...], put: Any) -> Any:
    """`value` with `put` at `path`."""
    if not path:
        return put
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = broken(value[path[0]], path[1:], put)
    return copy


def tried(call: Callable[..., Any], *args: Any) -> Any:
    """What `call` gives, None where it raises one of the errors that it promises."""
    try:
        return call(*args)
    except PROMISED:
        return None


def check_reading(name: str, body: bytes) -> None:
    dialect = DIALECTS[name]
    outcome, completion = tried(dialect.outcome, body), tried(dialect.completion, body, PLAIN)
    assert (outcome is None) == (completion is None), "what has facts can be read"
    with_logprobs = tried(dialect.completion, body, WITH_LOGPROBS)
    for read in (completion, with_logprobs):
        if read is not None:
            assert (read.finish_reason, read.usage) == (outcome.finish_reason, outcome.usage)


def check_assembly(name: str, events: list[SseEvent]) -> None:
    assembler = DIALECTS[name].assembler()
    for event in events:
        tried(assembler.feed, event)
    body = tried(assembler.result)
    assert isinstance(assembler.is_complete, bool)
    if body is not None:
        check_reading(name, body)


def test_the_sound_answers_are_sound() -> None:
    for name, answer in SOUND.items():
        completion = DIALECTS[name].completion(json.dumps(answer).encode(), PLAIN)
        assert completion.tool_calls[0].name == "w"


@given(DIALECT_NAMES, st.data())
@settings(max_examples=400, deadline=None)
def test_an_answer_broken_in_any_place_is_read_or_malformed(name: str, data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(places(SOUND[name])))
    answer = broken(SOUND[name], place, data.draw(VALUES))
    check_reading(name, json.dumps(answer).encode())


@given(DIALECT_NAMES, st.binary(max_size=40) | VALUES.map(lambda v: json.dumps(v).encode()))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_read_or_malformed(name: str, body: bytes) -> None:
    check_reading(name, body)


@given(
    DIALECT_NAMES,
    st.integers(100, 600),
    st.dictionaries(
        st.sampled_from(
            ["retry-after", "retry-after-ms", "x-should-retry", "date", "x-ratelimit-reset-tokens"]
        ),
        st.text(max_size=12) | st.sampled_from(["1e999", "9" * 30, "0001-01-01T00:00:00Z", "34s"]),
    ),
    st.binary(max_size=40) | VALUES.map(lambda v: json.dumps({"error": v}).encode()),
)
@settings(max_examples=300, deadline=None)
def test_any_refusal_is_classified(
    name: str, status: int, headers: dict[str, str], body: bytes
) -> None:
    refusal = read_refusal(status, headers, body)
    assert refusal.message
    assert len(refusal.message) <= 200
    assert not (refusal.is_retryable and refusal.stops_provider)
    assert refusal.wait_s is None or 0.0 <= refusal.wait_s < float("inf")
    for reading in DIALECTS[name].limits(headers):
        assert reading.reset_s is None or 0.0 <= reading.reset_s < float("inf")


EVENTS = st.lists(
    st.builds(
        SseEvent,
        name=st.sampled_from(["message", *WORDS]),
        data=VALUES.map(json.dumps) | st.text(max_size=8),
    )
    | st.builds(
        SseEvent,
        name=st.just("message"),
        data=st.fixed_dictionaries(
            {"type": st.sampled_from(WORDS)},
            optional={
                "choices": st.lists(VALUES, max_size=2),
                "index": st.integers(-1, 2),
                "delta": VALUES,
                "message": VALUES,
                "content_block": VALUES,
                "response": VALUES,
                "item": VALUES,
                "candidates": st.lists(VALUES, max_size=2),
            },
        ).map(json.dumps),
    ),
    max_size=5,
)


@given(DIALECT_NAMES, EVENTS)
@settings(max_examples=200, deadline=None)
def test_any_events_are_assembled_or_malformed(name: str, events: list[SseEvent]) -> None:
    check_assembly(name, events)


@given(DIALECT_NAMES, st.data())
@settings(max_examples=200, deadline=None)
def test_a_sound_stream_broken_in_any_place_is_assembled_or_malformed(
    name: str, data: st.DataObject
) -> None:
    events: list[Any] = STREAMS[name]
    place = data.draw(st.sampled_from(places(events)[1:]))
    stream = broken(events, place, data.draw(VALUES))
    check_assembly(name, [SseEvent("message", json.dumps(event)) for event in stream])


STREAMS: dict[str, Any] = {
    "openai_chat": [
        {
            "choices": [
                {
                    "index": 0,
                    "delta": {
                        "content": "h",
                        "tool_calls": [{"index": 0, "function": {"arguments": "{}"}}],
                    },
                    "logprobs": {"content": [], "refusal": None},
                }
            ]
        },
        {"choices": [{"index": 0, "delta": {"content": [{"type": "text", "text": "h"}]}}]},
        {"choices": [{"index": 0, "delta": {"content": "i"}, "finish_reason": "stop"}]},
    ],
    "openai_responses": [
        {"type": "response.output_item.done", "output_index": 0, "item": {"type": "message"}},
        {"type": "response.completed", "response": {"status": "completed", "output": []}},
    ],
    "anthropic": [
        {"type": "message_start", "message": {"content": [], "usage": {"input_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": "h"},
        },
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": 1},
        },
        {"type": "message_stop"},
    ],
    "gemini": [
        {"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": "h"}]}}]},
        {
            "candidates": [
                {
                    "index": 0,
                    "content": {"parts": [{"text": "i"}]},
                    "logprobsResult": {"chosenCandidates": []},
                    "finishReason": "STOP",
                }
            ]
        },
    ],
}


@pytest.mark.parametrize("name", list(DIALECTS))
@pytest.mark.parametrize("depth", [300, 900])
def test_deep_nesting_is_no_crash(name: str, depth: int) -> None:
    """Readable down to 1,024, writable to 254, and no recursion of ours in between."""

    def with_deep(value: Any) -> bytes:
        return json.dumps(value).replace('"@deep@"', "[" * depth + "]" * depth).encode()

    for place in places(SOUND[name]):
        body = with_deep(broken(SOUND[name], place, "@deep@"))
        check_reading(name, body)
        assert read_refusal(400, {}, body).message
    for place in places(STREAMS[name])[1:]:
        stream = broken(STREAMS[name], place, "@deep@")
        check_assembly(name, [SseEvent("message", with_deep(event).decode()) for event in stream])


@given(st.binary(max_size=200))
def test_any_bytes_are_some_events(stream: bytes) -> None:
    for event in SseParser().feed(stream):
        assert event.name
