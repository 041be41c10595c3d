import json
from dataclasses import replace
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

from stillhouse.errors import ConfigError, LogprobsUnavailableError, RecordError
from stillhouse.records import Message, Request, TokenLogprobs, Tool, ToolCall
from stillhouse.teachers._dialects import (
    DIALECTS,
    MalformedAnswerError,
    Quirks,
    StreamRefusedError,
)

CHAT = DIALECTS["openai_chat"]


def body(request: Request, quirks: Quirks | None = None, *, stream: bool = False) -> dict[str, Any]:
    return CHAT.body(request, model="m", quirks=quirks or Quirks(), stream=stream)


def answer(text: Any = "hi", **choice: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": "m-2026-01-02",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"} | choice],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }


def said(**message: Any) -> dict[str, Any]:
    return answer(message={"role": "assistant"} | message)


# Requests


def test_a_body_states_every_sampling_parameter() -> None:
    written = body(a_request(temperature=0.5, top_p=0.9, max_tokens=12))
    assert 0 <= written.pop("seed") < 2**31
    assert written == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
        ],
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 12,
    }


def test_a_host_whose_default_is_one_is_not_told_so() -> None:
    quirks = Quirks(states_defaults=False, seed_field=None, max_tokens_field="max_new")
    assert set(body(a_request(), quirks)) == {"model", "messages", "max_new"}
    assert body(a_request(temperature=0.0), quirks)["temperature"] == 0.0


def test_a_seed_has_the_name_that_the_host_knows() -> None:
    request = a_request()
    named = body(request, Quirks(seed_field="random_seed"))
    assert named["random_seed"] == body(request)["seed"]
    assert "seed" not in named


def test_logprobs_are_asked_for_in_the_form_of_the_host() -> None:
    request = a_request(top_logprobs=5)
    assert (body(request)["logprobs"], body(request)["top_logprobs"]) == (True, 5)
    integer = body(request, Quirks(has_integer_logprobs=True))
    assert integer["logprobs"] == 5
    assert "top_logprobs" not in integer
    assert "logprobs" not in body(a_request())


@pytest.mark.parametrize(
    ("form", "effort", "fields"),
    [
        ("reasoning_effort", "xhigh", {"reasoning_effort": "xhigh"}),
        ("reasoning", "low", {"reasoning": {"effort": "low"}}),
        (
            "thinking_effort",
            "max",
            {"thinking": {"type": "enabled"}, "reasoning_effort": "max"},
        ),
        ("thinking_effort", "none", {"thinking": {"type": "disabled"}}),
        ("enable_thinking", "high", {"enable_thinking": True}),
        ("enable_thinking", "none", {"enable_thinking": False}),
    ],
)
def test_an_effort_is_written_as_the_host_takes_it(
    form: Any, effort: str, fields: dict[str, Any]
) -> None:
    plain = body(a_request())
    written = body(a_request(reasoning_effort=effort), Quirks(effort_form=form))
    assert {k: v for k, v in written.items() if k not in plain} == fields


def test_tools_and_their_results_are_passed_through() -> None:
    written = body(a_request(*TOOL_TURNS, tools=(WEATHER,)))
    function = {"name": "weather", "description": "Of a city", "parameters": {"type": "object"}}
    assert written["tools"] == [{"type": "function", "function": function}]
    assert written["messages"][2] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": call_id,
                "type": "function",
                "function": {"name": "weather", "arguments": arguments},
            }
            for call_id, arguments in (("c1", '{"city":"Bern"}'), ("c2", '{"city":"Thun"}'))
        ],
    }
    assert written["messages"][4] == {"role": "tool", "tool_call_id": "c2", "content": "rain"}


def test_reasoning_goes_back_only_to_hosts_that_want_it() -> None:
    told = Message(role="assistant", content="4", reasoning="2 and 2")
    request = a_request(*ASKED, told, *TOOL_TURNS[1:])
    tools_only = Quirks(echoes_reasoning="with_tool_calls")
    always = Quirks(echoes_reasoning="always", reasoning_field="reasoning")

    def echoed(quirks: Quirks, name: str) -> list[Any]:
        return [message.get(name) for message in body(request, quirks)["messages"]]

    assert set(echoed(Quirks(), "reasoning_content")) == {None}
    assert [e for e in echoed(tools_only, "reasoning_content") if e] == ["I must look."]
    assert [e for e in echoed(always, "reasoning") if e] == ["2 and 2", "I must look."]


def test_a_schema_is_strict_where_it_can_be() -> None:
    written = body(a_request(schema=CLOSED_SCHEMA))["response_format"]
    assert written["type"] == "json_schema"
    assert written["json_schema"]["strict"] is True
    assert written["json_schema"]["schema"] == json.loads(CLOSED_SCHEMA)
    for loose in (
        '{"type":"object","properties":{"a":{}},"required":["a"]}',
        '{"type":"object","properties":{"a":{},"b":{}},"required":["a"],'
        '"additionalProperties":false}',
        '{"type":["object","null"]}',
        '{"type":"array","items":{"type":"object"}}',
    ):
        assert body(a_request(schema=loose))["response_format"]["json_schema"]["strict"] is False


def test_a_host_without_schemas_refuses_one_instead_of_dropping_it() -> None:
    with pytest.raises(ConfigError, match="takes no JSON Schema"):
        body(a_request(schema=CLOSED_SCHEMA), Quirks(has_output_schema=False))


def test_a_schema_that_is_no_object_is_refused_by_place() -> None:
    with pytest.raises(RecordError, match="'p': the output_schema is not JSON"):
        body(a_request(schema="{"))
    with pytest.raises(RecordError, match="parameters of tool 't' is a JSON list"):
        body(a_request(tools=(Tool(name="t", parameters="[]"),)))


def test_a_stream_asks_for_usage_and_extras_come_last() -> None:
    streamed = body(a_request(), stream=True)
    assert (streamed["stream"], streamed["stream_options"]) == (True, {"include_usage": True})
    assert "stream" not in body(a_request())
    assert "stream_options" not in body(a_request(), Quirks(stream_options={}), stream=True)
    assert body(a_request(), Quirks(extra={"seed": 1, "top_k": 0}))["seed"] == 1


def test_a_key_is_a_bearer_token() -> None:
    assert CHAT.headers("k") == {"Authorization": "Bearer k"}
    assert CHAT.headers(None) == {}
    assert CHAT.path("m", stream=True) == "/chat/completions"


# Answers


def test_an_answer_becomes_a_completion_with_the_model_that_answered() -> None:
    completion = read("openai_chat", answer("hi"))
    assert (completion.text, completion.finish_reason) == ("hi", "stop")
    assert (completion.model, completion.reasoning) == ("m-2026-01-02", None)
    assert completion.created_utc.year == 2026
    assert completion.usage.prompt_tokens == 7
    assert completion.usage.completion_tokens == 3
    assert completion.usage.cost_usd is None
    assert CHAT.outcome(raw(answer())).response_id == "chatcmpl-1"


@pytest.mark.parametrize(
    ("stated", "kept"),
    [
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("eos_token", "stop"),
        ("model_length", "length"),
    ],
)
def test_finish_reasons_are_mapped(stated: str, kept: str) -> None:
    assert read("openai_chat", answer(finish_reason=stated)).finish_reason == kept


def test_a_refusal_is_kept_as_text_and_marked_as_filtered() -> None:
    completion = read("openai_chat", said(content=None, refusal="I will not."))
    assert (completion.text, completion.finish_reason) == ("I will not.", "content_filter")


def test_an_answer_cut_before_its_first_word_is_kept() -> None:
    cut = said(content=None, reasoning_content="Let me")
    cut["choices"][0]["finish_reason"] = "length"
    completion = read("openai_chat", cut)
    assert (completion.text, completion.reasoning) == ("", "Let me")
    assert completion.finish_reason == "length"


@pytest.mark.parametrize(
    "message",
    [
        {"content": "4", "reasoning_content": "2 and 2"},
        {"content": "4", "reasoning": "2 and 2", "reasoning_content": None},
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "2 and 2"}]},
                {"type": "text", "text": "4"},
            ]
        },
    ],
)
def test_reasoning_is_found_wherever_a_host_puts_it(message: dict[str, Any]) -> None:
    completion = read("openai_chat", said(**message))
    assert (completion.text, completion.reasoning) == ("4", "2 and 2")


@pytest.mark.parametrize("arguments", ['{"city":"Bern"}', {"city": "Bern"}])
@pytest.mark.parametrize("stated", ["tool_calls", "stop"])
def test_tool_calls_are_read_whatever_the_reason_says(arguments: Any, stated: str) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "w", "arguments": arguments}}
    data = said(content=None, tool_calls=[call])
    data["choices"][0]["finish_reason"] = stated
    completion = read("openai_chat", data)
    assert completion.finish_reason == "tool_calls"
    assert completion.tool_calls == (ToolCall(id="c", name="w", arguments='{"city":"Bern"}'),)
    assert completion.text == ""


def test_arguments_that_are_no_json_are_kept_as_written() -> None:
    call = {"id": "c", "function": {"name": "w", "arguments": '{"city": "Be'}}
    data = said(content=None, tool_calls=[call])
    data["choices"][0]["finish_reason"] = "length"
    completion = read("openai_chat", data)
    assert completion.tool_calls[0].arguments == '{"city": "Be'
    assert completion.finish_reason == "length"


def usage_of(**usage: Any) -> Any:
    return read("openai_chat", answer() | {"usage": usage}).usage


def test_usage_holds_cached_written_reasoning_and_audio_tokens() -> None:
    usage = usage_of(
        prompt_tokens=100,
        completion_tokens=50,
        total_tokens=150,
        prompt_tokens_details={"cached_tokens": 60, "cache_write_tokens": 7, "audio_tokens": 3},
        completion_tokens_details={"reasoning_tokens": 30, "audio_tokens": 4},
    )
    assert (usage.prompt_tokens, usage.completion_tokens) == (100, 50)
    assert (usage.cached_prompt_tokens, usage.cache_write_tokens) == (60, 7)
    assert (usage.reasoning_tokens, usage.audio_tokens) == (30, 7)


def test_reasoning_counted_beside_the_completion_is_added_to_it() -> None:
    details = {"reasoning_tokens": 40}
    beside = usage_of(
        prompt_tokens=10,
        completion_tokens=5,
        total_tokens=55,
        completion_tokens_details=details,
    )
    assert (beside.completion_tokens, beside.reasoning_tokens) == (45, 40)


@pytest.mark.parametrize("stated", [{"prompt_cache_hit_tokens": 6}, {"cached_tokens": 6}])
def test_cached_tokens_are_found_where_other_hosts_state_them(stated: dict[str, int]) -> None:
    assert usage_of(prompt_tokens=10, **stated).cached_prompt_tokens == 6


def test_a_cost_that_the_host_states_is_kept() -> None:
    assert usage_of(prompt_tokens=1, cost=0.25).cost_usd == 0.25
    assert usage_of(prompt_tokens=1, cost_in_usd_ticks=25_000_000).cost_usd == pytest.approx(0.0025)


def test_missing_usage_and_model_are_no_failure() -> None:
    completion = read("openai_chat", {"choices": answer()["choices"], "usage": None})
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
        (said(content=5), r"message\.content is int"),
        (said(content=None), r"message\.content is NoneType"),
        (said(content="x", tool_calls=[5]), r"tool_calls\[0\] is int"),
        (answer(finish_reason="insufficient_system_resource"), "is not known"),
        (answer(finish_reason="error", error={"message": "gone"}), "not known; it says: gone"),
        (answer(finish_reason=None), "None is not known"),
        (answer() | {"usage": {"prompt_tokens": -3}}, r"usage\.prompt_tokens is -3"),
        (answer() | {"usage": {"prompt_tokens": True}}, r"usage\.prompt_tokens is True"),
        (b'{"choices":[{"finish_reason":"stop","message":{"content":"\\ud800"}}]}', "not JSON"),
    ],
)
def test_a_malformed_answer_says_what_is_wrong(data: Any, message: str) -> None:
    with pytest.raises(MalformedAnswerError, match=message):
        CHAT.completion(raw(data), a_request())
    with pytest.raises(MalformedAnswerError, match=message):
        CHAT.outcome(raw(data))


def test_a_broken_answer_still_says_what_it_cost() -> None:
    with pytest.raises(MalformedAnswerError) as caught:
        CHAT.outcome(raw(answer(finish_reason="odd")))
    assert caught.value.usage is not None
    assert caught.value.usage.completion_tokens == 3
    with pytest.raises(MalformedAnswerError) as caught:
        CHAT.outcome(b"{}")
    assert caught.value.usage is None


# Log-probabilities


def entry(token: str, logprob: float, *top: tuple[str, float]) -> dict[str, Any]:
    return {
        "token": token,
        "logprob": logprob,
        "bytes": None,
        "top_logprobs": [{"token": t, "logprob": v, "bytes": None} for t, v in top],
    }


def with_logprobs(*entries: dict[str, Any]) -> dict[str, Any]:
    return answer("ab", logprobs={"content": list(entries)})


def test_logprobs_are_read_largest_first() -> None:
    given = with_logprobs(
        entry("a", -0.2, ("x", -1.9), ("a", -0.2)), entry("b", -3.0, ("y", -0.1), ("b", -3.0))
    )
    assert read("openai_chat", given, top_logprobs=2).logprobs == TokenLogprobs(
        tokens=("a", "b"),
        logprobs=(-0.2, -3.0),
        top_k=2,
        top_tokens=("a", "x", "y", "b"),
        top_logprobs=(-0.2, -1.9, -0.1, -3.0),
    )


def test_fewer_entries_than_asked_lower_top_k_for_all_tokens() -> None:
    given = with_logprobs(entry("a", -0.2, ("a", -0.2), ("x", -1.9)), entry("b", -0.1, ("b", -0.1)))
    logprobs = read("openai_chat", given, top_logprobs=3).logprobs
    assert logprobs.top_k == 1
    assert logprobs.top_tokens == ("a", "b")


def test_entries_outside_the_top_are_not_taken_for_probabilities() -> None:
    given = with_logprobs(entry("a", -9999.0, ("x", -0.2), ("y", -1.0), ("a", -9999.0)))
    logprobs = read("openai_chat", given, top_logprobs=3).logprobs
    assert logprobs.logprobs == (-9999.0,)
    assert logprobs.top_tokens == ("x", "y")


def test_logprobs_in_columns_are_the_same() -> None:
    columns = {
        "tokens": ["a", "b"],
        "token_logprobs": [-0.2, -3.0],
        "top_logprobs": [{"x": -1.9, "a": -0.2}, {"y": -0.1, "b": -3.0}],
    }
    rows = with_logprobs(
        entry("a", -0.2, ("x", -1.9), ("a", -0.2)), entry("b", -3.0, ("y", -0.1), ("b", -3.0))
    )
    assert (
        read("openai_chat", answer("ab", logprobs=columns), top_logprobs=2).logprobs
        == read("openai_chat", rows, top_logprobs=2).logprobs
    )


def test_missing_logprobs_stop_the_run_instead_of_changing_the_experiment() -> None:
    with pytest.raises(LogprobsUnavailableError, match="top_logprobs=4"):
        read("openai_chat", answer("text"), top_logprobs=4)
    assert read("openai_chat", answer(""), top_logprobs=4).logprobs is None
    refused = said(content=None, refusal="No.")
    assert read("openai_chat", refused, top_logprobs=4).logprobs is None


def test_broken_logprobs_are_malformed() -> None:
    with pytest.raises(MalformedAnswerError, match=r"logprobs\.content"):
        read("openai_chat", with_logprobs({"token": "a"}), top_logprobs=1)


# Streams


def chunk(delta: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": None, "logprobs": None}
    top = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_790_000_000}
    top |= {"model": "m-2026-01-02", "usage": fields.pop("usage", None)}
    return top | {"choices": fields.pop("choices", [choice | fields])}


LAST = chunk(choices=[], usage=answer()["usage"])
DONE = "data: [DONE]\n\n"


def test_a_stream_is_put_together_to_the_plain_answer() -> None:
    stream = sse(
        ": keep-alive\n\n",
        chunk({"role": "assistant", "content": ""}),
        "\n\n",
        chunk({"content": "h"}),
        chunk({"content": "i"}),
        chunk(finish_reason="stop"),
        LAST,
        DONE,
    )
    assert whole("openai_chat", stream) == answer("hi")


def test_streamed_tool_calls_are_put_together() -> None:
    def call(index: int, arguments: str, **fields: Any) -> dict[str, Any]:
        function = {"arguments": arguments} | fields.pop("function", {})
        return chunk({"tool_calls": [{"index": index, "function": function} | fields]})

    stream = sse(
        call(0, "", id="c1", type="function", function={"name": "w"}),
        call(0, '{"city":'),
        call(1, "{}", id="c2", type="function", function={"name": "v"}),
        call(0, '"Bern"}'),
        chunk(finish_reason="tool_calls"),
        DONE,
    )
    completion = read("openai_chat", whole("openai_chat", stream))
    assert completion.tool_calls == (
        ToolCall(id="c1", name="w", arguments='{"city":"Bern"}'),
        ToolCall(id="c2", name="v", arguments="{}"),
    )


def test_streamed_reasoning_refusals_and_logprobs_are_put_together() -> None:
    stream = sse(
        chunk({"reasoning_content": "2 "}),
        chunk({"reasoning_content": "and 2"}),
        chunk({"content": "4"}, logprobs={"content": [entry("4", -0.1, ("4", -0.1))]}),
        chunk({"content": "2"}, logprobs={"content": [entry("2", -0.3, ("2", -0.3))]}),
        chunk(finish_reason="stop"),
        DONE,
    )
    completion = read("openai_chat", whole("openai_chat", stream), top_logprobs=1)
    assert (completion.text, completion.reasoning) == ("42", "2 and 2")
    assert completion.logprobs.logprobs == (-0.1, -0.3)
    refused = sse(chunk({"refusal": "I "}), chunk({"refusal": "won't"}, finish_reason="stop"), DONE)
    assert read("openai_chat", whole("openai_chat", refused)).text == "I won't"


def test_streamed_content_parts_are_put_together() -> None:
    def thinking(text: str) -> list[dict[str, Any]]:
        return [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]

    stream = sse(
        chunk({"content": thinking("2 ")}),
        chunk({"content": thinking("and 2")}),
        chunk({"content": [{"type": "text", "text": "fo"}]}),
        chunk({"content": "ur"}, finish_reason="stop"),
        DONE,
    )
    completion = read("openai_chat", whole("openai_chat", stream))
    assert (completion.text, completion.reasoning) == ("four", "2 and 2")


def test_a_stream_that_stops_early_is_not_complete() -> None:
    cut = assembled("openai_chat", sse(chunk({"content": "h"})))
    assert not cut.is_complete
    assert json.loads(cut.result())["choices"][0]["message"]["content"] == "h"
    with pytest.raises(MalformedAnswerError, match="None is not known"):
        CHAT.outcome(cut.result())
    assert assembled("openai_chat", sse(chunk({"content": "h"}, finish_reason="stop"))).is_complete
    assert not assembled("openai_chat", b"").is_complete


def test_a_late_error_is_a_refusal() -> None:
    limited = {"error": {"message": "slow down", "type": "x", "code": "rate_limit_exceeded"}}
    with pytest.raises(StreamRefusedError, match="slow down") as caught:
        assembled("openai_chat", sse(chunk({"content": "h"}), limited))
    refusal = caught.value.refusal
    assert (refusal.kind, refusal.is_retryable) == ("rate_limited", True)
    quota = {"error": {"message": "pay", "code": "insufficient_quota"}}
    with pytest.raises(StreamRefusedError) as caught:
        assembled("openai_chat", sse(quota))
    assert caught.value.refusal == replace(
        refusal, kind="quota", message="pay", is_retryable=False, stops_provider=True
    )


def test_torn_json_in_a_stream_is_malformed() -> None:
    with pytest.raises(MalformedAnswerError, match="not JSON"):
        assembled("openai_chat", b'data: {"choices": [\n\n')
