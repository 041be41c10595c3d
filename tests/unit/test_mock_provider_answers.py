"""The mock provider's answers follow from the request, and bad requests are refused."""

from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mock_calls import PATHS, ask, call, headers_of
from tests.mock_provider import MockProvider, headline, text_of, tokenize
from tests.mock_provider.answers import Ask, replies_to
from tests.mock_provider.schemas import value_of
from tests.mock_provider.tokens import joined, logprob_of, top_of, whole_pieces


@pytest.fixture(scope="module")
def provider() -> Iterator[MockProvider]:
    with MockProvider() as provider:
        yield provider


@given(st.text(max_size=60))
def test_tokens_joined_are_the_text_and_so_are_pieces(text: str) -> None:
    tokens = tokenize(text)
    assert joined(tokens) == text
    assert "".join(joined(piece) for piece in whole_pieces(tokens)) == text


def test_a_character_of_four_bytes_is_split_over_two_tokens() -> None:
    assert [token.raw for token in tokenize("\U0001f32a")] == [b"\xf0\x9f", b"\x8c\xaa"]


@given(st.text(min_size=1, max_size=30), st.integers(3, 20))
def test_a_token_is_among_the_top_with_its_own_probability(text: str, num_top: int) -> None:
    for token in tokenize(text):
        tops = top_of(token, num_top)
        assert (token.raw, logprob_of(token)) in tops
        assert [x for _, x in tops] == sorted((x for _, x in tops), reverse=True)


@given(st.integers(0, 300), st.text(max_size=10))
def test_a_text_has_as_many_tokens_as_wanted(num_tokens: int, prompt: str) -> None:
    assert len(tokenize(text_of(num_tokens, prompt))) == num_tokens


def test_headlines_differ_by_prompt_sample_and_seed() -> None:
    found = {
        headline("rain in the west of the country", sample=sample, seed=seed)
        for sample in (0, 1, 2)
        for seed in (None, 1, 2)
    }
    assert len(found) == 9
    assert headline("rain in the west of the country").startswith("Rain In The")


@given(st.integers(0, 80), st.integers(0, 40), st.integers(1, 90))
def test_a_limit_holds_for_reasoning_and_text_together(
    num_tokens: int, num_reasoning: int, limit: int
) -> None:
    text = f"[[tokens={num_tokens}]] [[reason={num_reasoning}]] x"
    reply = replies_to(Ask(model="m", text=text, prompt_bytes=1, max_tokens=limit))[0]
    wanted = num_tokens + num_reasoning
    assert reply.counts.completion == min(limit, wanted)
    assert (reply.finish == "length") == (limit < wanted)


SCHEMA = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["a", "b"]},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 2},
        "inner": {"$ref": "#/$defs/inner"},
        "maybe": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        "flag": {"type": "boolean"},
    },
    "required": ["kind", "tags", "inner", "maybe", "flag"],
    "additionalProperties": False,
    "$defs": {"inner": {"type": "object", "properties": {"n": {"type": "integer", "minimum": 5}}}},
}


@given(st.text(max_size=20))
def test_structured_values_fit_their_schema(text: str) -> None:
    jsonschema.validate(value_of(SCHEMA, text), SCHEMA)


def text_in(dialect: str, answer: dict[str, Any]) -> str:
    if dialect == "openai_chat":
        return answer["choices"][0]["message"]["content"]  # type: ignore[no-any-return]
    if dialect == "openai_responses":
        return answer["output"][-1]["content"][0]["text"]  # type: ignore[no-any-return]
    if dialect == "anthropic":
        return answer["content"][-1]["text"]  # type: ignore[no-any-return]
    return answer["candidates"][0]["content"]["parts"][-1]["text"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("dialect", PATHS)
def test_all_dialects_give_the_same_text(provider: MockProvider, dialect: str) -> None:
    got = ask(provider, "rain over the whole of the west", dialect=dialect)
    assert text_in(dialect, got.json) == headline("rain over the whole of the west")


def test_a_script_answers_by_substring() -> None:
    with MockProvider(script=[("capital of France", "Paris")]) as provider:
        got = ask(provider, "What is the capital of France?")
        assert text_in("openai_chat", got.json) == "Paris"


def test_lengths_can_be_drawn_by_the_prompt() -> None:
    with MockProvider(num_tokens=[10, 40]) as provider:
        used = [ask(provider, f"text {n}").json["usage"]["completion_tokens"] for n in range(12)]
    assert all(10 <= each <= 40 for each in used)
    assert len(set(used)) > 5


def test_reasoning_is_shown_where_hosts_show_it() -> None:
    with MockProvider(reasoning_field="reasoning_content") as provider:
        message = ask(provider, "[[reason=8]] rain").json["choices"][0]["message"]
        stream = ask(provider, "[[reason=8]] rain", stream=True)
    assert len(tokenize(message["reasoning_content"])) == 8
    assert b'"reasoning_content"' in stream.body


@pytest.mark.parametrize(
    ("dialect", "more", "words"),
    [
        ("openai_chat", {"nonsense": 1}, "Unrecognized request argument supplied: nonsense"),
        ("openai_chat", {"temperature": 3}, "temperature"),
        ("openai_chat", {"top_logprobs": 5}, "only allowed when 'logprobs'"),
        ("openai_chat", {"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ("openai_chat", {"stream_options": {"include_usage": True}}, "stream_options"),
        ("openai_chat", {"max_tokens": 5, "max_completion_tokens": 5}, "not supported"),
        ("openai_chat", {"n": 0}, "'n'"),
        ("openai_responses", {"max_tokens": 9}, "Unknown parameter: 'max_tokens'"),
        ("openai_responses", {"max_output_tokens": 9}, "max_output_tokens"),
        ("anthropic", {"seed": 1}, "seed: Extra inputs are not permitted"),
        ("anthropic", {"temperature": 1.5}, "temperature"),
        ("anthropic", {"thinking": {"type": "enabled", "budget_tokens": 5}}, "at least 1024"),
        ("gemini", {"messages": []}, 'Unknown name "messages"'),
        ("gemini", {"generationConfig": {"max_tokens": 1}}, 'Unknown name "maxTokens"'),
        ("gemini", {"generationConfig": {"logprobs": 3}}, "responseLogprobs"),
    ],
)
def test_requests_that_a_provider_refuses_are_refused(
    provider: MockProvider, dialect: str, more: dict[str, Any], words: str
) -> None:
    got = ask(provider, dialect=dialect, **more)
    assert got.status == 400
    assert words in got.json["error"]["message"]


def test_conversations_that_make_no_sense_are_refused(provider: MockProvider) -> None:
    result = {"role": "tool", "tool_call_id": "call_1", "content": "x"}
    got = ask(provider, messages=[{"role": "user", "content": "x"}, result])
    assert "preceding message with 'tool_calls'" in got.json["error"]["message"]
    system = [{"role": "system", "content": "x"}, {"role": "user", "content": "x"}]
    got = ask(provider, dialect="anthropic", messages=system)
    assert "top-level `system`" in got.json["error"]["message"]


def test_strict_schemas_must_be_strict(provider: MockProvider) -> None:
    loose = {"type": "object", "properties": {"a": {"type": "string"}}}
    given = {"name": "x", "strict": True, "schema": loose}
    got = ask(provider, response_format={"type": "json_schema", "json_schema": given})
    assert "additionalProperties" in got.json["error"]["message"]


@pytest.mark.parametrize("dialect", PATHS)
def test_a_key_is_needed_and_the_bad_one_is_refused(provider: MockProvider, dialect: str) -> None:
    bad = {
        name: value.replace("test-key", "bad-key") for name, value in headers_of(dialect).items()
    }
    got = call(provider, "POST", PATHS[dialect], b"{}", {"authorization": "", **bad})
    assert got.status == (400 if dialect == "gemini" else 401)
    got = call(provider, "POST", PATHS[dialect], b"{}", {"authorization": ""})
    assert got.status == (403 if dialect == "gemini" else 401)


def test_broken_json_missing_models_and_paths_are_refused(provider: MockProvider) -> None:
    assert call(provider, "POST", PATHS["openai_chat"], b'{"a":').status == 400
    assert ask(provider, model="missing-model").status == 404
    assert call(provider, "GET", "/v1/nothing").status == 404


def test_hosts_can_lack_fields_and_log_probabilities() -> None:
    with MockProvider(refused_fields=["seed"], has_logprobs=False) as provider:
        assert ask(provider, seed=1).json["error"]["code"] == "unsupported_parameter"
        assert ask(provider, logprobs=True).status == 400
        assert ask(provider).status == 200


def test_paths_of_other_hosts_lead_to_the_same_endpoint(provider: MockProvider) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    for start in ("/openai/v1", "/api/v1", "/compatible-mode/v1", "/inference/v1", ""):
        got = call(provider, "POST", f"{start}/chat/completions", body)
        assert got.status == 200, start
