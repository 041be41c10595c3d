import json
from typing import Any

import pytest
from dialect_cases import a_request

from stillhouse.errors import IntegrityError, LogprobsUnavailableError
from stillhouse.records import Completion, ItemError, Request, Usage
from stillhouse.runlog import Answer
from stillhouse.teachers._answers import answer_of, failed
from stillhouse.teachers._dialects import DIALECTS, MalformedAnswerError
from stillhouse.teachers._reading import read_answer

USAGE = Usage(prompt_tokens=7, completion_tokens=3, cost_usd=0.5, seconds=1.5)
BODIES: dict[str, Any] = {
    "openai_chat": {
        "created": 1_790_000_000,
        "model": "m-1",
        "choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}],
    },
    "openai_responses": {
        "created_at": 1_790_000_000,
        "model": "m-1",
        "status": "completed",
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "hi"}]}],
    },
    "anthropic": {
        "model": "m-1",
        "content": [{"type": "text", "text": "hi"}],
        "stop_reason": "end_turn",
    },
    "gemini": {
        "modelVersion": "m-1",
        "candidates": [{"content": {"parts": [{"text": "hi"}]}, "finishReason": "STOP"}],
    },
}


def answer(request: Request, dialect: str, body: bytes) -> Answer:
    return Answer(
        request_id=request.id,
        dialect=dialect,
        body=body,
        finish_reason="stop",
        model="m-1",
        usage=USAGE,
    )


def test_every_dialect_has_a_body_here() -> None:
    assert set(BODIES) == set(DIALECTS)


@pytest.mark.parametrize("dialect", list(DIALECTS))
def test_an_answer_is_read_from_its_bytes_with_the_usage_of_the_call(dialect: str) -> None:
    request = a_request()
    completion = read_answer(
        answer(request, dialect, json.dumps(BODIES[dialect]).encode()), request
    )
    assert (completion.text, completion.finish_reason, completion.model) == ("hi", "stop", "m-1")
    assert (completion.request_id, completion.prompt_id) == (request.id, "p")
    assert (completion.sample_index, completion.teacher) == (1, "x:m")
    assert completion.usage == USAGE


def test_an_answer_of_our_own_is_read_under_the_request_that_asks_now() -> None:
    request = a_request()
    body = json.dumps(BODIES["openai_chat"]).encode()
    first = read_answer(answer(request, "openai_chat", body), request)
    renamed = request.model_copy(update={"prompt_id": "other"})
    completion = read_answer(answer_of(first), renamed)
    assert completion == first.model_copy(update={"prompt_id": "other"})


def test_an_error_takes_the_place_of_the_text() -> None:
    request = a_request()
    error = ItemError(type="timeout", message="too slow", retryable=True)
    completion = read_answer(failed(request, error, model="m"), request)
    assert (completion.finish_reason, completion.error, completion.text) == ("error", error, "")
    assert (completion.model, completion.teacher) == ("m", "x:m")


def test_reading_the_same_bytes_again_gives_the_same_completion() -> None:
    request = a_request()
    body = json.dumps(BODIES["openai_responses"]).encode()
    recorded = answer(request, "openai_responses", body)
    first, second = (read_answer(recorded, request) for _ in range(2))
    assert isinstance(first, Completion)
    assert first == second


def test_what_cannot_be_read_says_why() -> None:
    request = a_request()
    with pytest.raises(
        IntegrityError, match="'smoke_signs'; this version knows completion, openai"
    ):
        read_answer(answer(request, "smoke_signs", b"{}"), request)
    with pytest.raises(IntegrityError, match="is damaged"):
        read_answer(answer(request, "completion", b"{}"), request)
    with pytest.raises(MalformedAnswerError, match="no choices"):
        read_answer(answer(request, "openai_chat", b"{}"), request)
    asking = a_request(top_logprobs=2)
    body = json.dumps(BODIES["openai_chat"]).encode()
    with pytest.raises(LogprobsUnavailableError, match="top_logprobs=2"):
        read_answer(answer(asking, "openai_chat", body), asking)
