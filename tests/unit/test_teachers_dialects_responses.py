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

from stillhouse.errors import LogprobsUnavailableError
from stillhouse.records import Message, Request, TokenLogprobs, ToolCall
from stillhouse.teachers._dialects import (
    DIALECTS,
    MalformedAnswerError,
    Quirks,
    StreamRefusedError,
)

RESPONSES = DIALECTS["openai_responses"]


def body(request: Request, quirks: Quirks | None = None, *, stream: bool = False) -> dict[str, Any]:
    return RESPONSES.body(request, model="m", quirks=quirks or Quirks(), stream=stream)


def text_item(text: str, **part: Any) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []} | part]
    return {"type": "message", "id": "msg_1", "role": "assistant", "content": content}


def answer(*items: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_790_000_000,
        "model": "m-2026-01-02",
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "output": list(items),
        "usage": {
            "input_tokens": 100,
            "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 7},
            "output_tokens": 50,
            "output_tokens_details": {"reasoning_tokens": 30},
            "total_tokens": 150,
        },
    } | fields


# Requests


def test_a_body_states_what_the_dialect_has_and_keeps_nothing_at_the_endpoint() -> None:
    assert body(a_request(temperature=0.5, top_p=0.9, max_tokens=12)) == {
        "model": "m",
        "instructions": "Be brief.",
        "input": [{"role": "user", "content": "Hi"}],
        "max_output_tokens": 12,
        "temperature": 0.5,
        "top_p": 0.9,
        "store": False,
    }
    stored = Quirks(extra={"store": True, "background": True})
    assert body(a_request(), stored)["store"] is True


def test_only_opening_system_messages_leave_their_place() -> None:
    late = Message(role="system", content="Now in French.")
    written = body(a_request(*ASKED, late))
    assert written["instructions"] == "Be brief."
    assert written["input"][1] == {"role": "system", "content": "Now in French."}


def test_tools_and_their_results_are_items() -> None:
    written = body(a_request(*TOOL_TURNS, tools=(WEATHER,)))
    assert written["tools"] == [
        {
            "type": "function",
            "name": "weather",
            "description": "Of a city",
            "parameters": {"type": "object"},
            "strict": False,
        }
    ]
    assert written["input"][1:5] == [
        {
            "type": "function_call",
            "call_id": "c1",
            "name": "weather",
            "arguments": '{"city":"Bern"}',
        },
        {
            "type": "function_call",
            "call_id": "c2",
            "name": "weather",
            "arguments": '{"city":"Thun"}',
        },
        {"type": "function_call_output", "call_id": "c1", "output": '{"sky":"clear"}'},
        {"type": "function_call_output", "call_id": "c2", "output": "rain"},
    ]
    assert "I must look." not in json.dumps(written)


def test_logprobs_schema_effort_and_stream_are_asked_for() -> None:
    request = a_request(top_logprobs=3, reasoning_effort="low", schema=CLOSED_SCHEMA)
    quirks = Quirks(reasoning_summary="auto", stream_options={"include_obfuscation": False})
    written = body(request, quirks, stream=True)
    assert written["include"] == ["message.output_text.logprobs"]
    assert written["top_logprobs"] == 3
    assert written["reasoning"] == {"effort": "low", "summary": "auto"}
    assert written["text"]["format"] == {
        "type": "json_schema",
        "name": "answer",
        "strict": True,
        "schema": json.loads(CLOSED_SCHEMA),
    }
    assert (written["stream"], written["stream_options"]) == (True, {"include_obfuscation": False})
    assert body(a_request(reasoning_effort="none"), quirks)["reasoning"] == {"effort": "none"}
    assert "stream_options" not in body(request, stream=True)
    assert RESPONSES.path("m", stream=True) == "/responses"


# Answers


def test_an_answer_with_a_summary_becomes_a_completion() -> None:
    summary = [{"type": "summary_text", "text": t} for t in ("First.", "Then.")]
    thought = {"type": "reasoning", "id": "rs_1", "summary": summary}
    completion = read("openai_responses", answer(thought, text_item("hi")))
    assert (completion.text, completion.finish_reason) == ("hi", "stop")
    assert completion.reasoning == "First.\n\nThen."
    assert completion.created_utc.year == 2026
    usage = completion.usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (100, 50)
    assert (usage.cached_prompt_tokens, usage.cache_write_tokens) == (60, 7)
    assert usage.reasoning_tokens == 30
    assert RESPONSES.outcome(raw(answer())).response_id == "resp_1"


def test_an_open_models_own_reasoning_is_preferred_to_its_summary() -> None:
    thought = {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "short"}],
        "content": [{"type": "reasoning_text", "text": "all of it"}],
    }
    assert read("openai_responses", answer(thought, text_item("x"))).reasoning == "all of it"


def test_tool_calls_are_read() -> None:
    call = {"type": "function_call", "id": "fc", "call_id": "c", "name": "w", "arguments": "{}"}
    completion = read("openai_responses", answer(call))
    assert completion.tool_calls == (ToolCall(id="c", name="w", arguments="{}"),)
    assert (completion.text, completion.finish_reason) == ("", "tool_calls")


@pytest.mark.parametrize(
    ("why", "kept"), [("max_output_tokens", "length"), ("content_filter", "content_filter")]
)
def test_an_incomplete_answer_is_kept_with_its_reason(why: str, kept: str) -> None:
    data = answer(text_item("hal"), status="incomplete", incomplete_details={"reason": why})
    completion = read("openai_responses", data)
    assert (completion.text, completion.finish_reason) == ("hal", kept)


def test_a_refusal_is_kept_as_text_and_marked_as_filtered() -> None:
    part = {"type": "refusal", "refusal": "I will not."}
    item = {"type": "message", "role": "assistant", "content": [part]}
    completion = read("openai_responses", answer(item), top_logprobs=2)
    assert (completion.text, completion.finish_reason) == ("I will not.", "content_filter")


def test_logprobs_of_all_texts_are_read() -> None:
    tops = [{"token": "h", "logprob": -0.1}, {"token": "x", "logprob": -3.0}]
    entry = {"token": "h", "logprob": -0.1, "bytes": [104], "top_logprobs": tops}
    completion = read("openai_responses", answer(text_item("h", logprobs=[entry])), top_logprobs=2)
    assert completion.logprobs == TokenLogprobs(
        tokens=("h",),
        logprobs=(-0.1,),
        top_k=2,
        top_tokens=("h", "x"),
        top_logprobs=(-0.1, -3.0),
    )
    with pytest.raises(LogprobsUnavailableError, match="top_logprobs=2"):
        read("openai_responses", answer(text_item("h", logprobs=[])), top_logprobs=2)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "status None is no end"),
        (answer(status="in_progress"), "status 'in_progress' is no end"),
        (answer(status="failed", error={"message": "no luck"}), "it says: no luck"),
        (answer(status="incomplete"), r"incomplete_details\.reason None"),
        (answer({"type": "message", "content": "x"}), "content is str, not a list"),
        ({"error": {"message": "upstream"}}, "it says: upstream"),
        (answer(usage={"input_tokens": "x"}), r"usage\.input_tokens is 'x'"),
    ],
)
def test_a_malformed_answer_says_what_is_wrong(data: Any, message: str) -> None:
    with pytest.raises(MalformedAnswerError, match=message):
        RESPONSES.completion(raw(data), a_request())


# Streams


def event(kind: str, **fields: Any) -> tuple[str, dict[str, Any]]:
    return kind, {"type": kind, "sequence_number": 1} | fields


STARTED = event("response.created", response=answer(status="in_progress", usage=None))


@pytest.mark.parametrize(
    ("kind", "end"),
    [
        ("response.completed", answer(text_item("hi"))),
        (
            "response.incomplete",
            answer(
                text_item("h"),
                status="incomplete",
                incomplete_details={"reason": "max_output_tokens"},
            ),
        ),
    ],
)
def test_a_stream_ends_with_the_plain_answer(kind: str, end: dict[str, Any]) -> None:
    stream = sse(
        STARTED,
        ": keep-alive\n\n",
        event("response.output_text.delta", delta="h", output_index=0),
        event("response.some_news.delta", anything=[1]),
        event("response.output_item.done", item=text_item("hi"), output_index=0),
        event(kind, response=end),
    )
    assert whole("openai_responses", stream) == end


def test_items_fill_a_last_event_that_holds_none() -> None:
    stream = sse(
        event("response.output_item.done", item=text_item("b"), output_index=1),
        event("response.output_item.done", item=text_item("a"), output_index=0),
        event("response.completed", response=answer()),
    )
    assert read("openai_responses", whole("openai_responses", stream)).text == "ab"


def test_a_stream_that_stops_early_is_not_complete() -> None:
    cut = assembled("openai_responses", sse(STARTED))
    assert not cut.is_complete
    with pytest.raises(MalformedAnswerError, match="no end"):
        RESPONSES.outcome(cut.result())


@pytest.mark.parametrize(
    "late",
    [
        event("error", code="rate_limit_exceeded", message="slow down", param=None),
        event("error", error={"code": "rate_limit_exceeded", "message": "slow down"}),
        event(
            "response.failed",
            response={"error": {"code": "rate_limit_exceeded", "message": "slow down"}},
        ),
    ],
)
def test_a_late_error_is_a_refusal(late: Any) -> None:
    with pytest.raises(StreamRefusedError, match="slow down") as caught:
        assembled("openai_responses", sse(STARTED, late))
    assert caught.value.refusal.kind == "rate_limited"
    assert caught.value.refusal.is_retryable
