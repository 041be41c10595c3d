"""Completions held to a JSON schema: whatever is drawn, a whole answer is of the schema."""

import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import other_tokenizer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.chat import ChatTokenizer
from stillhouse.errors import ConfigError
from stillhouse.models import GenerationJob, LanguageModel, generate, load_model
from stillhouse.models._constrained_json import json_grammar
from stillhouse.records import Message, canonical_json

pytest.importorskip("llguidance")

SCHEMA = {
    "type": "object",
    "properties": {
        "town": {"type": "string", "maxLength": 8},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "kind": {"enum": ["bridge", "farm"]},
    },
    "required": ["town", "age", "kind"],
    "additionalProperties": False,
}
PROMPT = (Message(role="user", content="The town opened a bridge."),)


@pytest.fixture(scope="module")
def model(tiny_folder: Path) -> LanguageModel:
    return load_model(tiny_folder)


@pytest.fixture(scope="module")
def byte_level(model: LanguageModel) -> ChatTokenizer:
    return model.chat


@pytest.fixture(scope="module")
def sentencepiece() -> ChatTokenizer:
    return other_tokenizer.other_chat()


def walk(
    chat: ChatTokenizer, schema: dict[str, Any], *, seed: int, max_tokens: int = 400
) -> tuple[str, str]:
    """A completion drawn evenly from what is allowed, and how it ended.

    Ends are taken as soon as they may be, half of the time: else few walks would end.
    """
    rng = np.random.default_rng(seed)
    constraint = json_grammar(chat, schema).begin()
    ids: list[int] = []
    while len(ids) < max_tokens:
        allowed = np.flatnonzero(constraint.allowed_V())
        assert len(allowed)
        ends = np.intersect1d(allowed, chat.end_of_turn_ids)
        among = ends if len(ends) and rng.random() < 0.5 else allowed
        ids.append(int(rng.choice(among)))
        constraint.advance(ids[-1])
        if ids[-1] in chat.end_of_turn_ids:
            break
    return chat.decode_completion(ids)


def check(text: str, schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(schema).validate(json.loads(text))


def sizes(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high)).map(
        lambda pair: (min(pair), max(pair))
    )


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=6)
LEAVES: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.sampled_from([{"type": "boolean"}, {"type": "null"}]),
    sizes(0, 6).map(lambda size: {"type": "string", "minLength": size[0], "maxLength": size[1]}),
    sizes(-50, 500).map(lambda size: {"type": "integer", "minimum": size[0], "maximum": size[1]}),
    sizes(-5, 50).map(lambda size: {"type": "number", "minimum": size[0], "maximum": size[1]}),
    st.lists(TEXTS, min_size=1, max_size=4, unique=True).map(lambda texts: {"enum": texts}),
    st.one_of(TEXTS, st.integers(-9, 9), st.booleans()).map(lambda value: {"const": value}),
    st.just({"type": "string", "pattern": "^[a-c]{1,3}-[0-9]$"}),
    st.just({"type": ["string", "null"], "maxLength": 3}),
)


def objects(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    def build(properties: dict[str, Any], required: Sequence[str]) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": properties,
            "required": sorted(set(required) & set(properties)),
            "additionalProperties": False,
        }

    names = st.text("abcé \"'\\/", min_size=1, max_size=4)
    return st.dictionaries(names, inner, max_size=4).flatmap(
        lambda properties: st.lists(st.sampled_from(sorted(properties) or ["a"])).map(
            lambda required: build(properties, required)
        )
    )


def arrays(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(inner, sizes(0, 3)).map(
        lambda pair: {
            "type": "array",
            "items": pair[0],
            "minItems": pair[1][0],
            "maxItems": pair[1][1],
        }
    )


def choices(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"anyOf": parts})


SCHEMAS = st.recursive(
    LEAVES, lambda inner: st.one_of(objects(inner), arrays(inner), choices(inner)), max_leaves=8
)


@pytest.mark.parametrize("kind", ["byte_level", "sentencepiece"])
@settings(max_examples=120, deadline=None, derandomize=True, database=None)
@given(schema=SCHEMAS, seed=st.integers(0, 2**32))
def test_whatever_is_drawn_from_what_is_allowed_is_of_the_schema(
    kind: str, schema: dict[str, Any], seed: int, request: pytest.FixtureRequest
) -> None:
    text, reason = walk(request.getfixturevalue(kind), schema, seed=seed)
    if reason == "stop":
        check(text, schema)
    else:
        assert len(text) > 50  # cut by its length, and by nothing else


@pytest.mark.parametrize("kind", ["byte_level", "sentencepiece"])
def test_walks_through_a_bounded_schema_all_end(kind: str, request: pytest.FixtureRequest) -> None:
    ends = [walk(request.getfixturevalue(kind), SCHEMA, seed=seed) for seed in range(20)]
    assert {reason for _, reason in ends} == {"stop"}
    assert len({text for text, _ in ends}) == 20


def test_answers_are_written_as_canonical_json(byte_level: ChatTokenizer) -> None:
    for seed in range(20):
        text, _ = walk(byte_level, SCHEMA, seed=seed)
        assert list(json.loads(text)) == ["age", "kind", "town"]  # sorted, unlike in the schema
        assert canonical_json(json.loads(text)).decode() == text


def test_an_answer_that_is_canonical_json_of_the_schema_is_allowed(
    byte_level: ChatTokenizer, sentencepiece: ChatTokenizer
) -> None:
    value = {"age": 42, "kind": "farm", "town": 'A"é\\🍞\n'}
    text = canonical_json(value).decode()
    check(text, SCHEMA)
    for chat in (byte_level, sentencepiece):
        constraint = json_grammar(chat, SCHEMA).begin()
        for token_id in chat.encode_example(PROMPT, text).completion_ids:
            assert constraint.allowed_V()[token_id]
            constraint.advance(token_id)


def test_what_is_not_of_the_schema_is_not_allowed(byte_level: ChatTokenizer) -> None:
    for text in ('{"age": 1', '{"age":121', '{"kind"', '{"age":1,"kind":"town', " {", "[", "null"):
        constraint = json_grammar(byte_level, SCHEMA).begin()
        ids = byte_level.encode_pieces([text])[0]
        is_refused = False
        for token_id in ids:
            if not constraint.allowed_V()[token_id]:
                is_refused = True
                break
            constraint.advance(token_id)
        assert is_refused, text


def test_control_tokens_are_allowed_nowhere_but_at_the_end(byte_level: ChatTokenizer) -> None:
    constraint = json_grammar(byte_level, {"type": "string", "maxLength": 30}).begin()
    for token_id in byte_level.encode_pieces(['"<|im_start|'])[0]:
        allowed_V = constraint.allowed_V()
        assert not allowed_V[sorted(byte_level.control_ids)].any()
        constraint.advance(token_id)
    for token_id in byte_level.encode_pieces(['>"'])[0]:
        constraint.advance(token_id)
    assert np.flatnonzero(constraint.allowed_V()).tolist() == list(byte_level.end_of_turn_ids)


def test_every_token_that_ends_a_turn_may_end_an_answer(model: LanguageModel) -> None:
    chat = ChatTokenizer(model.chat.tokenizer, end_of_turn_ids=[0, 2], name="two ends")
    constraint = json_grammar(chat, {"type": "null"}).begin()
    for token_id in chat.encode_pieces(["null"])[0]:
        constraint.advance(token_id)
    assert np.flatnonzero(constraint.allowed_V()).tolist() == [0, 2]
    constraint.advance(2)


def test_constraints_of_one_grammar_do_not_meet(byte_level: ChatTokenizer) -> None:
    grammar = json_grammar(byte_level, {"enum": ["ab", "cd"]})
    one, other = grammar.begin(), grammar.begin()
    before = other.allowed_V().copy()
    for token_id in byte_level.encode_pieces(['"ab'])[0]:
        one.advance(token_id)
    np.testing.assert_array_equal(other.allowed_V(), before)
    np.testing.assert_array_equal(grammar.begin().allowed_V(), before)


def feed(todo: Sequence[GenerationJob]) -> Callable[[int], list[GenerationJob]]:
    queue = iter(todo)
    return lambda limit: list(itertools.islice(queue, limit))


def answers(model: LanguageModel, jobs: Sequence[GenerationJob]) -> dict[str, tuple[str, str]]:
    return {
        item.key: model.chat.decode_completion(item.ids.tolist())
        for group in generate(model, feed(jobs), max_slots=6)
        for item in group
    }


def jobs_of(model: LanguageModel, number: int, **changes: Any) -> list[GenerationJob]:
    grammar = json_grammar(model.chat, SCHEMA)
    return [
        GenerationJob(
            key=str(index),
            prompt_ids=model.chat.encode_prompt(PROMPT),
            seed=index,
            grammar=grammar,
            **{"max_tokens": 120, "temperature": 1.0, **changes},
        )
        for index in range(number)
    ]


def test_a_model_of_random_weights_answers_in_the_schema(model: LanguageModel) -> None:
    found = answers(model, jobs_of(model, 25))
    assert len(found) == 25
    assert len(set(found.values())) > 20
    for text, reason in found.values():
        assert reason == "stop"
        check(text, SCHEMA)


def test_a_gemma_like_model_answers_in_the_schema(tmp_path: Path) -> None:
    """Its tokens mark spaces, and its head has more rows than there are tokens."""
    model = load_model(other_tokenizer.make_other_model(tmp_path / "other"))
    for text, reason in answers(model, jobs_of(model, 12)).values():
        assert reason == "stop"
        check(text, SCHEMA)


def test_an_answer_that_is_cut_says_so(model: LanguageModel) -> None:
    for text, reason in answers(model, jobs_of(model, 5, max_tokens=6)).values():
        assert reason == "length"
        with pytest.raises(json.JSONDecodeError):
            json.loads(text)


@pytest.mark.parametrize(
    ("schema", "word"),
    [
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"not": {"type": "null"}}, "not"),
        ({"$ref": "https://example.com/schema"}, "example.com"),
        ({"type": "string", "format": "no-such-format"}, "format"),
        ({"type": "string", "pattern": "(?=a)b"}, "pattern|regex|look"),
        ({"type": "no-such-type"}, "type"),
        ({"enum": []}, ""),
        ({"type": "integer", "minimum": 3, "maximum": 2}, ""),
        (False, ""),
    ],
)
def test_a_schema_that_cannot_be_enforced_is_refused(
    schema: Any, word: str, byte_level: ChatTokenizer
) -> None:
    wrapped = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    with pytest.raises(ConfigError, match=rf"cannot be held to this schema \(.*({word})"):
        json_grammar(byte_level, wrapped)


def test_a_schema_may_not_loosen_how_it_is_enforced(byte_level: ChatTokenizer) -> None:
    lenient = {"x-guidance": {"lenient": True}, "type": "array", "uniqueItems": True}
    with pytest.raises(ConfigError, match="uniqueItems"):
        json_grammar(byte_level, lenient)


def test_the_schema_that_is_given_is_left_as_it_is(byte_level: ChatTokenizer) -> None:
    before = json.dumps(SCHEMA)
    json_grammar(byte_level, SCHEMA)
    assert json.dumps(SCHEMA) == before


def test_properties_and_constants_are_sorted_at_every_depth(byte_level: ChatTokenizer) -> None:
    inner = {
        "type": "object",
        "properties": {"z": {"type": "null"}, "properties": {"type": "null"}},
        "required": ["z", "properties"],
        "additionalProperties": False,
    }
    schema = {
        "type": "object",
        "properties": {"y": {"const": {"n": 1, "m": 2}}, "b": {"type": "array", "items": inner}},
        "required": ["y", "b"],
        "additionalProperties": False,
    }
    for seed in range(5):
        text, reason = walk(byte_level, schema, seed=seed)
        if reason == "stop":
            assert canonical_json(json.loads(text)).decode() == text


def test_without_the_package_the_error_says_what_to_install() -> None:
    code = """
import sys
sys.modules["llguidance"] = None  # as where it is not installed
from stillhouse.errors import MissingDependencyError
from stillhouse.models._constrained_json import json_grammar
try:
    json_grammar(None, {"type": "null"})
except MissingDependencyError as err:
    print(err)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert "pip install 'stillhouse[constrained]'" in done.stdout


@pytest.mark.weights
def test_a_real_model_answers_in_the_schema() -> None:
    model = load_model("")
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}, "is_open": {"type": "boolean"}},
        "required": ["city", "is_open"],
        "additionalProperties": False,
    }
    prompt = (Message(role="user", content="The museum in Paris is closed. Answer in JSON."),)
    job = GenerationJob(
        key="one",
        prompt_ids=model.chat.encode_prompt(prompt),
        max_tokens=60,
        grammar=json_grammar(model.chat, schema),
    )
    ((text, reason),) = answers(model, [job]).values()
    assert reason == "stop"
    check(text, schema)
