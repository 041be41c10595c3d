import json
from typing import Any

import pytest
from dialect_cases import (
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
from stillhouse.records import Request, TokenLogprobs, ToolCall
from stillhouse.teachers._dialects import DIALECTS, MalformedAnswerError, StreamRefusedError
from stillhouse.teachers._providers import PROVIDERS

GEMINI = DIALECTS["gemini"]
QUIRKS = PROVIDERS["google"].quirks


def body(request: Request, *, model: str = "gemini-3-pro") -> dict[str, Any]:
    return GEMINI.body(request, model=model, quirks=QUIRKS)


def answer(*parts: dict[str, Any], **candidate: Any) -> dict[str, Any]:
    content = {"role": "model", "parts": list(parts) or [{"text": "hi"}]}
    return {
        "candidates": [{"index": 0, "content": content, "finishReason": "STOP"} | candidate],
        "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 3},
        "modelVersion": "m-2026-01-02",
        "responseId": "r1",
    }


# Requests


def test_a_body_states_every_sampling_parameter() -> None:
    written = body(a_request(temperature=0.5, max_tokens=12, top_logprobs=4))
    assert 0 <= written["generationConfig"].pop("seed") < 2**31
    assert written == {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
        "generationConfig": {
            "temperature": 0.5,
            "topP": 1.0,
            "maxOutputTokens": 12,
            "responseLogprobs": True,
            "logprobs": 4,
        },
    }


def test_the_model_is_in_the_path_and_the_key_is_not() -> None:
    assert GEMINI.path("gemini-3-pro", stream=False) == (
        "/v1beta/models/gemini-3-pro:generateContent"
    )
    assert GEMINI.path("tunedModels/a?b", stream=True) == (
        "/v1beta/tunedModels/a%3Fb:streamGenerateContent?alt=sse"
    )
    assert GEMINI.headers("k") == {"x-goog-api-key": "k"}
    assert GEMINI.limits({"x-ratelimit-limit-requests": "1"}) == ()


def test_tools_and_their_results_are_parts_of_alternating_turns() -> None:
    written = body(a_request(*TOOL_TURNS, tools=(WEATHER,)))
    declared = {"name": "weather", "description": "Of a city"}
    declared |= {"parametersJsonSchema": {"type": "object"}}
    assert written["tools"] == [{"functionDeclarations": [declared]}]

    def call(call_id: str, city: str) -> dict[str, Any]:
        written = {"name": "weather", "args": {"city": city}, "id": call_id}
        return {"functionCall": written, "thoughtSignature": "skip_thought_signature_validator"}

    def result(call_id: str, response: Any) -> dict[str, Any]:
        return {"functionResponse": {"name": "weather", "response": response, "id": call_id}}

    assert written["contents"][1:] == [
        {"role": "model", "parts": [call("c1", "Bern"), call("c2", "Thun")]},
        {
            "role": "user",
            "parts": [
                result("c1", {"sky": "clear"}),
                result("c2", {"result": "rain"}),
                {"text": "And tomorrow?"},
            ],
        },
    ]
    assert "thoughtSignature" not in json.dumps(body(a_request(*TOOL_TURNS), model="gemini-2.5"))


def test_a_schema_is_passed_through_as_json_schema() -> None:
    config = body(a_request(schema=CLOSED_SCHEMA))["generationConfig"]
    assert config["responseMimeType"] == "application/json"
    assert config["responseJsonSchema"] == json.loads(CLOSED_SCHEMA)


@pytest.mark.parametrize(
    ("model", "effort", "config"),
    [
        ("gemini-3-pro", "low", {"includeThoughts": True, "thinkingLevel": "low"}),
        ("gemini-3-pro", "max", {"includeThoughts": True, "thinkingLevel": "xhigh"}),
        ("gemini-2.5-pro", "low", {"includeThoughts": True, "thinkingBudget": 2048}),
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
    ],
)
def test_an_effort_is_a_level_or_a_budget(model: str, effort: str, config: dict[str, Any]) -> None:
    written = body(a_request(reasoning_effort=effort), model=model)
    assert written["generationConfig"]["thinkingConfig"] == config


# Answers


def test_thoughts_and_tool_calls_are_kept_apart_from_text() -> None:
    call = {"functionCall": {"name": "w", "args": {"city": "Bern"}, "id": "c"}}
    completion = read(
        "gemini",
        answer({"text": "2 and 2", "thought": True}, {"text": "Look"}, {"text": "ing."}, call),
    )
    assert (completion.text, completion.reasoning) == ("Looking.", "2 and 2")
    assert completion.tool_calls == (ToolCall(id="c", name="w", arguments='{"city":"Bern"}'),)
    assert completion.finish_reason == "tool_calls"
    assert GEMINI.outcome(raw(answer())).response_id == "r1"


@pytest.mark.parametrize(
    ("stated", "kept"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("SPII", "content_filter"),
    ],
)
def test_finish_reasons_are_mapped_and_the_text_is_kept(stated: str, kept: str) -> None:
    completion = read("gemini", answer(finishReason=stated))
    assert (completion.text, completion.finish_reason) == ("hi", kept)


def test_an_answer_cut_before_its_first_word_is_kept() -> None:
    data = answer(finishReason="MAX_TOKENS", content={"role": "model"})
    assert read("gemini", data).text == ""


def test_a_blocked_prompt_is_a_normal_outcome() -> None:
    data = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 7}}
    completion = read("gemini", data, top_logprobs=2)
    assert (completion.text, completion.finish_reason) == ("", "content_filter")
    assert completion.usage.prompt_tokens == 7


def test_thoughts_are_part_of_the_completion_and_tool_results_of_the_prompt() -> None:
    usage = {
        "promptTokenCount": 100,
        "toolUsePromptTokenCount": 11,
        "cachedContentTokenCount": 60,
        "candidatesTokenCount": 20,
        "thoughtsTokenCount": 30,
        "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": 95},
            {"modality": "AUDIO", "tokenCount": 5},
        ],
        "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 2}],
    }
    got = read("gemini", answer() | {"usageMetadata": usage}).usage
    assert (got.prompt_tokens, got.completion_tokens) == (111, 50)
    assert (got.cached_prompt_tokens, got.reasoning_tokens, got.audio_tokens) == (60, 30, 7)


def entry(token: str, token_id: int, logprob: float) -> dict[str, Any]:
    return {"token": token, "tokenId": token_id, "logProbability": logprob}


def test_logprobs_come_with_token_ids() -> None:
    result = {
        "avgLogprobs": -1.0,
        "chosenCandidates": [entry("a", 5, -2.0), entry("b", 6, -0.1)],
        "topCandidates": [
            {"candidates": [entry("x", 7, -0.3), entry("y", 8, -0.2)]},
            {"candidates": [entry("b", 6, -0.1), entry("z", 9, -4.0)]},
        ],
    }
    completion = read("gemini", answer(logprobsResult=result), top_logprobs=2)
    assert completion.logprobs == TokenLogprobs(
        token_ids=(5, 6),
        tokens=("a", "b"),
        logprobs=(-2.0, -0.1),
        top_k=2,
        top_ids=(8, 7, 6, 9),
        top_tokens=("y", "x", "b", "z"),
        top_logprobs=(-0.2, -0.3, -0.1, -4.0),
    )
    result["topCandidates"].pop()
    with pytest.raises(MalformedAnswerError, match="1 top lists for 2 tokens"):
        read("gemini", answer(logprobsResult=result), top_logprobs=2)


def test_missing_logprobs_stop_the_run() -> None:
    with pytest.raises(LogprobsUnavailableError, match="top_logprobs=2"):
        read("gemini", answer(), top_logprobs=2)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "no candidates"),
        ({"error": {"message": "upstream"}}, "no candidates; it says: upstream"),
        (
            answer(finishReason="MALFORMED_FUNCTION_CALL", finishMessage="bad call"),
            "'MALFORMED_FUNCTION_CALL' is no end of an answer; it says: bad call",
        ),
        (answer(finishReason=None), "finishReason None"),
        (answer({"text": 5}), "text is int"),
        (answer({"functionCall": {"name": "w", "args": []}}), "args is list"),
    ],
)
def test_a_malformed_answer_says_what_is_wrong(data: Any, message: str) -> None:
    with pytest.raises(MalformedAnswerError, match=message):
        GEMINI.completion(raw(data), a_request())


# Streams


def piece(*parts: dict[str, Any], **candidate: Any) -> dict[str, Any]:
    data = answer(*parts, **candidate)
    if "finishReason" not in candidate:
        del data["candidates"][0]["finishReason"]
        data["usageMetadata"] = {"promptTokenCount": 7}
    return data


def test_a_stream_is_put_together_to_the_plain_answer() -> None:
    call = {"functionCall": {"name": "w", "args": {}}}
    stream = sse(
        piece({"text": "2 ", "thought": True}),
        piece({"text": "and 2", "thought": True}),
        piece({"text": "h"}),
        piece({"text": "i"}, call),
        piece({"text": ""}, finishReason="STOP"),
    )
    assert whole("gemini", stream) == answer(
        {"text": "2 and 2", "thought": True}, {"text": "hi"}, call, {"text": ""}
    )


def test_a_last_piece_without_content_takes_nothing_away() -> None:
    last = piece(finishReason="MAX_TOKENS", content={})
    completion = read("gemini", whole("gemini", sse(piece({"text": "h"}), last)))
    assert (completion.text, completion.finish_reason) == ("h", "length")


def test_streamed_logprobs_are_put_together() -> None:
    def one(token: str, token_id: int) -> dict[str, Any]:
        chosen = [entry(token, token_id, -0.1)]
        return {"chosenCandidates": chosen, "topCandidates": [{"candidates": chosen}]}

    stream = sse(
        piece({"text": "a"}, logprobsResult=one("a", 1)),
        piece({"text": "b"}, logprobsResult=one("b", 2), finishReason="STOP"),
    )
    assert read("gemini", whole("gemini", stream), top_logprobs=1).logprobs.token_ids == (1, 2)


def test_a_blocked_prompt_ends_a_stream() -> None:
    blocked = {"promptFeedback": {"blockReason": "OTHER"}}
    assert whole("gemini", sse(blocked)) == blocked


def test_a_stream_that_stops_early_is_not_complete() -> None:
    assert not assembled("gemini", sse(piece({"text": "h"}))).is_complete


def test_a_late_error_is_a_refusal() -> None:
    late = {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}
    with pytest.raises(StreamRefusedError, match="overloaded") as caught:
        assembled("gemini", sse(piece({"text": "h"}), late))
    assert caught.value.refusal.kind == "overloaded"
