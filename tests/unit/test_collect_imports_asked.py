"""What a request's body asks: the dialects' own bodies read back, and what applications send."""

import json
from contextlib import suppress
from typing import Any

import orjson
import pytest
from dialect_cases import ASKED, CLOSED_SCHEMA, TOOL_TURNS, WEATHER, a_request
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.collect._imports._asked import Asked, request_of
from stillhouse.collect._imports._exchange import BadRowError
from stillhouse.records import Message, Sampling, Tool, ToolCall
from stillhouse.teachers._dialects import DIALECTS, Quirks
from stillhouse.teachers._providers import PROVIDERS

OWN = {name: next(p for p in PROVIDERS.values() if name in p.dialects) for name in DIALECTS}
ARGUMENTS = orjson.loads(CLOSED_SCHEMA)


def asked(dialect: str, body: Any) -> Asked:
    return request_of(orjson.dumps(body), dialect, model="m" if dialect == "gemini" else None)


def chat(content: Any, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": content}], **more}


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_a_dialect_writes_is_read_back_whole(dialect: str, is_streamed: bool) -> None:
    given = {"temperature": 0.5, "top_p": 0.25, "max_tokens": 77, "reasoning_effort": "low"}
    if dialect != "anthropic":
        given["top_logprobs"] = 3
    request = a_request(*TOOL_TURNS, tools=(WEATHER,), schema=CLOSED_SCHEMA, **given)
    quirks = Quirks(echoes_reasoning="always")
    body = DIALECTS[dialect].body(request, model="m", quirks=quirks, stream=is_streamed)
    read = asked(dialect, body)
    turns = list(request.messages)
    if dialect != "openai_chat":  # only chat has a place for what was thought before
        turns[2] = turns[2].model_copy(update={"reasoning": None})
    assert list(read.prompt.messages) == turns
    assert read.prompt.tools == request.tools
    assert read.prompt.output_schema == request.output_schema
    assert read.lacks == ()
    if dialect in ("openai_chat", "gemini"):
        given["seed"] = request.seed % 2**31
    assert read.sampling == Sampling(**given)
    assert read.model == "m"


@pytest.mark.parametrize("name", PROVIDERS)
def test_every_provider_s_own_spelling_of_sampling_is_read(name: str) -> None:
    provider = PROVIDERS[name]
    quirks = provider.quirks
    request = a_request(*ASKED, max_tokens=9, top_logprobs=min(2, quirks.max_top_logprobs))
    body = DIALECTS[provider.dialect].body(request, model="m", quirks=quirks)
    read = asked(provider.dialect, body)
    assert read.prompt.messages == ASKED
    assert read.sampling.max_tokens == 9
    assert read.sampling.top_logprobs == request.sampling.top_logprobs
    assert (read.sampling.seed != 0) == (quirks.seed_field is not None)


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        ("openai_chat", chat("Hi")),
        ("openai_responses", {"model": "m", "input": "Hi"}),
        ("openai_responses", {"model": "m", "input": [{"role": "user", "content": "Hi"}]}),
        ("anthropic", chat([{"type": "text", "text": "Hi"}], max_tokens=256)),
        ("gemini", {"contents": [{"parts": [{"text": "Hi"}]}]}),
        ("gemini", {"contents": {"role": "user", "parts": {"text": "Hi"}}}),
    ],
)
def test_the_least_that_an_sdk_sends_is_one_user_message(dialect: str, body: Any) -> None:
    read = asked(dialect, body)
    assert read.prompt.messages == (Message(role="user", content="Hi"),)
    assert read.sampling == Sampling()


def test_equal_prompts_have_equal_ids_whatever_dialect_they_came_in() -> None:
    ids = {
        asked("openai_chat", chat("Hi", stop=["x"])).prompt.id,
        asked("anthropic", chat("Hi", max_tokens=5)).prompt.id,
        asked("gemini", {"contents": [{"parts": [{"text": "Hi"}]}]}).prompt.id,
    }
    assert len(ids) == 1
    assert asked("openai_chat", chat("Ho")).prompt.id not in ids


def test_fields_that_no_record_has_do_no_harm() -> None:
    more = {"stop": ["a"], "logit_bias": {"5": 1}, "tool_choice": "none", "user": "u", "n": 3}
    assert asked("openai_chat", chat("Hi", **more)).request("openai", sample_index=0) == asked(
        "openai_chat", chat("Hi")
    ).request("openai", sample_index=0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 9.5), ("temperature", "hot"), ("temperature", True), ("top_p", 0),
        ("max_tokens", -1), ("max_tokens", 10**30), ("seed", 2**70), ("seed", [1]),
        ("reasoning_effort", "heroic"), ("reasoning_effort", {}), ("top_logprobs", -3),
    ],
)  # fmt: skip
def test_a_value_that_the_record_does_not_take_is_left_at_its_default(
    name: str, value: Any
) -> None:
    raw = json.dumps(chat("Hi", **{name: value})).encode()  # orjson writes no large integers
    assert request_of(raw, "openai_chat").sampling == Sampling()


def test_parts_that_are_no_text_are_named_and_told_apart() -> None:
    def with_image(url: str) -> Asked:
        image = {"type": "image_url", "image_url": {"url": url}}
        return asked("openai_chat", chat([{"type": "text", "text": "What is it? "}, image]))

    one, other = with_image("data:image/png;base64,AAAA"), with_image("https://x/y.png")
    assert one.lacks == other.lacks == ("image_url",)
    assert one.prompt.id != other.prompt.id
    assert one.prompt.id == with_image("data:image/png;base64,AAAA").prompt.id
    assert one.prompt.messages[0].content.startswith("What is it? [image_url ")
    assert "AAAA" not in one.prompt.messages[0].content


@pytest.mark.parametrize(
    ("dialect", "body", "lacks"),
    [
        ("openai_responses", {"model": "m", "input": "go on", "previous_response_id": "r"},
         "previous_response_id"),
        ("openai_responses", {"model": "m", "prompt": {"id": "p_1"}}, "prompt"),
        ("openai_responses", {"model": "m", "input": [
            {"role": "user", "content": "Hi"}, {"type": "web_search_call", "id": "w"}]},
         "web_search_call"),
        ("anthropic", chat([{"type": "tool_result", "tool_use_id": "t", "content": [
            {"type": "image", "source": {}}]}]), "image"),
        ("gemini", {"contents": [{"parts": [{"inlineData": {"data": "AA"}}]}]}, "inlineData"),
        ("gemini", {"cachedContent": "c/1", "contents": [{"parts": [{"text": "Hi"}]}]},
         "cachedContent"),
    ],
)  # fmt: skip
def test_a_prompt_that_is_not_whole_says_what_it_lacks(dialect: str, body: Any, lacks: str) -> None:
    assert asked(dialect, body).lacks == (lacks,)


def test_a_conversation_with_tools_is_read_in_each_dialect_s_own_form() -> None:
    call = ToolCall(id="t1", name="weather", arguments='{"city":"Bern"}')
    turns = (
        Message(role="user", content="Weather?"),
        Message(role="assistant", content="I look.", tool_calls=(call,), reasoning="Hm."),
        Message(role="tool", content="clear", tool_call_id="t1"),
        Message(role="user", content="And then?"),
    )
    anthropic = {
        "model": "m",
        "tools": [{"name": "weather", "input_schema": ARGUMENTS},
                  {"type": "web_search_20250305", "max_uses": 1}],
        "messages": [
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "s"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Bern"}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "clear"},
                {"type": "text", "text": "And then?"}]},
        ],
    }  # fmt: skip
    gemini = {
        "tools": [{"function_declarations": [{"name": "weather", "parameters": ARGUMENTS}]},
                  {"google_search": {}}],
        "contents": [
            {"role": "user", "parts": [{"text": "Weather?"}]},
            {"role": "model", "parts": [
                {"text": "Hm.", "thought": True}, {"text": "I look.", "thoughtSignature": "s"},
                {"function_call": {"id": "t1", "name": "weather", "args": {"city": "Bern"}}}]},
            {"role": "user", "parts": [
                {"function_response": {"id": "t1", "name": "weather",
                                       "response": {"result": "clear"}}},
                {"text": "And then?"}]},
        ],
    }  # fmt: skip
    tools = (Tool(name="weather", parameters=orjson.dumps(ARGUMENTS).decode()),)
    for dialect, body in (("anthropic", anthropic), ("gemini", gemini)):
        read = asked(dialect, body)
        assert read.prompt.messages == turns, dialect
        assert read.prompt.tools == tools, dialect


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"[]", b"null", b'"x"', b"{}", b'{"model":"m"}', b'{"model":"","messages":[]}',
        b'{"model":"m","messages":[]}', b'{"model":"m","messages":[1]}', b"\xff\xfe",
        b'{"model":"m","messages":[{"role":"wizard","content":"x"}]}',
        b'{"model":"m","messages":[{"content":"x"}]}', b'{"model":3,"messages":"x"}',
        b'{"model":"m","messages":[{"role":"user","content":"\\ud800"}]}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_is_no_request_is_a_bad_row_and_nothing_else(dialect: str, raw: bytes) -> None:
    with pytest.raises(BadRowError):
        request_of(raw, dialect)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["type", "role", "content", "text", "parts", "tool_calls", "function",
                         "name", "functionCall", "functionResponse", "response", "id", "x"]),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip
_FIELDS = st.sampled_from(
    ["messages", "input", "contents", "tools", "system", "instructions", "systemInstruction",
     "generationConfig", "response_format", "text", "output_config", "reasoning", "thinking",
     "temperature", "max_tokens", "logprobs", "prompt"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(DIALECTS)), st.dictionaries(_FIELDS, _JSON, max_size=5))
def test_no_json_at_all_raises_anything_but_a_bad_row(dialect: str, body: dict[str, Any]) -> None:
    try:
        raw = orjson.dumps({"model": "m", **body})
    except TypeError:  # an integer over 64 bits, which orjson reads and does not write
        return
    with suppress(BadRowError):
        request_of(raw, dialect).request("openai", sample_index=0)
