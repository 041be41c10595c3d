import json
from typing import Any

import pytest
from loopback_chat import chat_json

from stillhouse.errors import LogprobsUnavailableError
from stillhouse.records import Message, Prompt, Request, Sampling, TokenLogprobs
from stillhouse.teachers._wire import (
    OUTSIDE_TOP_NATS,
    MalformedAnswerError,
    parse_answer,
    parse_error,
    request_body,
)


def a_request(**sampling: Any) -> Request:
    prompt = Prompt(
        id="p",
        messages=(Message(role="system", content="s"), Message(role="user", content="u")),
    )
    return Request.of(prompt, teacher="http:m@h", sampling=Sampling(**sampling), sample_index=1)


def parse(data: Any, **sampling: Any) -> Any:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return parse_answer(raw, a_request(**sampling), cost_usd=None, seconds=1.5)


def test_a_body_states_every_sampling_parameter() -> None:
    request = a_request(temperature=0.5, top_p=0.9, max_tokens=12)
    raw = request_body(request, model="m", max_tokens_field="max_tokens", extra={"top_k": 0})
    body = json.loads(raw)
    assert 0 <= body.pop("seed") < 2**31
    assert body == {
        "model": "m",
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}],
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 12,
        "top_k": 0,
    }


def test_a_body_asks_for_logprobs_only_when_wanted_and_can_rename_the_limit() -> None:
    request = a_request(top_logprobs=5)
    raw = request_body(request, model="m", max_tokens_field="max_completion_tokens", extra={})
    body = json.loads(raw)
    assert (body["logprobs"], body["top_logprobs"]) == (True, 5)
    assert "max_tokens" not in body
    assert body["max_completion_tokens"] == 256


def test_an_answer_becomes_a_completion_with_the_model_that_answered() -> None:
    completion = parse(chat_json("hi"))
    request = a_request()
    assert (completion.request_id, completion.sample_index) == (request.id, 1)
    assert (completion.text, completion.finish_reason) == ("hi", "stop")
    assert completion.model == "m-2026-01-02"
    assert completion.usage.prompt_tokens == 7
    assert completion.usage.completion_tokens == 3
    assert completion.usage.cost_usd is None
    assert completion.usage.seconds == 1.5
    assert completion.logprobs is None


@pytest.mark.parametrize(
    ("said", "kept"),
    [("length", "length"), ("content_filter", "content_filter"), ("eos_token", "stop")],
)
def test_finish_reasons_are_mapped(said: str, kept: str) -> None:
    assert parse(chat_json(choice={"finish_reason": said})).finish_reason == kept


def test_a_refusal_is_kept_as_text_and_marked_as_filtered() -> None:
    message = {"content": None, "refusal": "I will not."}
    completion = parse(chat_json(choice={"message": message}))
    assert (completion.text, completion.finish_reason) == ("I will not.", "content_filter")


def test_missing_usage_and_model_are_no_failure() -> None:
    completion = parse({"choices": chat_json()["choices"], "usage": None})
    assert completion.model == "unknown"
    assert completion.usage.prompt_tokens == 0


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"choices": [', "not JSON"),
        (b"<html>busy</html>", "not JSON"),
        ([], "a JSON list"),
        ({}, "no choices"),
        ({"choices": []}, "no choices"),
        ({"error": {"message": "upstream\nfell over"}}, "no choices; it says: upstream fell over"),
        ({"choices": [{}]}, "no message"),
        (chat_json(choice={"message": {"content": 5}}), "message.content is int"),
        (chat_json(choice={"message": {"content": None}}), "message.content is NoneType"),
        (chat_json(choice={"finish_reason": "tool_calls"}), "'tool_calls' is not known"),
        (chat_json(choice={"finish_reason": None}), "None is not known"),
        (chat_json(usage={"prompt_tokens": -3}), "prompt_tokens"),
        (b'{"choices":[{"finish_reason":"stop","message":{"content":"\\ud800"}}]}', "not JSON"),
    ],
)
def test_a_malformed_answer_says_what_is_wrong(data: Any, message: str) -> None:
    with pytest.raises(MalformedAnswerError, match=message):
        parse(data)


def entry(token: str, logprob: float, *top: tuple[str, float]) -> dict[str, Any]:
    return {
        "token": token,
        "logprob": logprob,
        "bytes": None,
        "top_logprobs": [{"token": t, "logprob": v, "bytes": None} for t, v in top],
    }


def with_logprobs(*entries: dict[str, Any]) -> dict[str, Any]:
    return chat_json("ab", choice={"logprobs": {"content": list(entries)}})


def test_logprobs_are_read_largest_first() -> None:
    answer = with_logprobs(
        entry("a", -0.2, ("x", -1.9), ("a", -0.2)), entry("b", -3.0, ("y", -0.1), ("b", -3.0))
    )
    assert parse(answer, top_logprobs=2).logprobs == TokenLogprobs(
        tokens=("a", "b"),
        logprobs=(-0.2, -3.0),
        top_k=2,
        top_tokens=("a", "x", "y", "b"),
        top_logprobs=(-0.2, -1.9, -0.1, -3.0),
    )


def test_fewer_entries_than_asked_lower_top_k_for_all_tokens() -> None:
    answer = with_logprobs(
        entry("a", -0.2, ("a", -0.2), ("x", -1.9)), entry("b", -0.1, ("b", -0.1))
    )
    logprobs = parse(answer, top_logprobs=3).logprobs
    assert logprobs.top_k == 1
    assert logprobs.top_tokens == ("a", "b")


def test_entries_outside_the_top_are_not_taken_for_probabilities() -> None:
    answer = with_logprobs(entry("a", -9999.0, ("x", -0.2), ("y", -1.0), ("a", -9999.0)))
    logprobs = parse(answer, top_logprobs=3).logprobs
    assert logprobs.logprobs == (OUTSIDE_TOP_NATS,)
    assert logprobs.top_tokens == ("x", "y")


def test_missing_logprobs_stop_the_run_instead_of_changing_the_experiment() -> None:
    with pytest.raises(LogprobsUnavailableError, match="top_logprobs=4"):
        parse(chat_json("text"), top_logprobs=4)
    assert parse(chat_json(""), top_logprobs=4).logprobs is None


def test_broken_logprobs_are_malformed() -> None:
    with pytest.raises(MalformedAnswerError, match=r"logprobs\.content"):
        parse(with_logprobs({"token": "a"}), top_logprobs=1)


@pytest.mark.parametrize(
    ("raw", "code", "message"),
    [
        (b'{"error":{"message":"no\\n way","code":"c"}}', "c", "no way"),
        (b'{"error":{"message":"m","type":"t","code":null}}', "t", "m"),
        (b'{"detail":"Not Found"}', "", "Not Found"),
        (b'{"error":"plain"}', "", "plain"),
        (b"\xff busy", "", "\ufffd busy"),
        (b'{"error":{"message":"' + b"x" * 500 + b'"}}', "", "x" * 197 + "..."),
    ],
)
def test_error_bodies_of_all_shapes_are_read(raw: bytes, code: str, message: str) -> None:
    error = parse_error(raw)
    assert (error.code, error.message) == (code, message)
