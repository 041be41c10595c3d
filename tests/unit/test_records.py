"""The identity of requests and the canonical bytes of records."""

import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from stillhouse.errors import RecordError
from stillhouse.records import (
    Completion,
    ItemError,
    Message,
    Prompt,
    Request,
    Sampling,
    TokenLogprobs,
    canonical_json,
    content_hash,
)

PROMPT = Prompt(id="p1", messages=(Message(role="user", content="Name a colour."),))
SAMPLING = Sampling(temperature=0.7, max_tokens=8, seed=3)
# Written down once: another value would make every ledger forget what it has paid for.
KNOWN_ID = "4f07d8e63adce18f9816975fa4cf92ee02be7b057f56b29065b2e06af41023ac"


def request(**changes: Any) -> Request:
    given: dict[str, Any] = {"teacher": "fake:", "sampling": SAMPLING, "sample_index": 0}
    return Request.of(changes.pop("prompt", PROMPT), **{**given, **changes})


def test_the_id_of_a_request_is_pinned() -> None:
    assert request().id == KNOWN_ID


def test_the_id_is_that_of_another_process_with_another_hash_seed() -> None:
    code = (
        "from stillhouse.records import *\n"
        "p = Prompt(id='other', messages=(Message(role='user', content='Name a colour.'),))\n"
        "s = Sampling(temperature=0.7, max_tokens=8, seed=3)\n"
        "print(Request.of(p, teacher='fake:', sampling=s).id)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == request().id


@pytest.mark.parametrize(
    "change", [{"id": "p2"}, {"group": "g"}, {"split": "held_out"}, {"reference": "right"}]
)
def test_the_id_does_not_depend_on_where_the_prompt_belongs(change: dict[str, str]) -> None:
    other = request(prompt=PROMPT.model_copy(update=change))
    assert other.id == request().id
    assert other.seed == request().seed


@pytest.mark.parametrize(
    "change",
    [
        {"teacher": "fake:other"},
        {"sample_index": 1},
        {"prompt": Prompt(id="p1", messages=(Message(role="user", content="Name a color."),))},
        {"prompt": Prompt(id="p1", messages=(Message(role="system", content="Name a colour."),))},
        *(
            {"sampling": SAMPLING.model_copy(update=changed)}
            for changed in (
                {"temperature": 0.8},
                {"top_p": 0.9},
                {"max_tokens": 9},
                {"seed": 4},
                {"top_logprobs": 1},
                {"reasoning_effort": "low"},
            )
        ),
    ],
    ids=str,
)
def test_the_id_depends_on_all_that_is_asked(change: dict[str, Any]) -> None:
    assert request(**change).id != request().id


def test_every_sampling_field_is_part_of_the_id() -> None:
    # A field added later must be added to the test above too.
    assert set(Sampling.model_fields) == {
        "temperature",
        "top_p",
        "max_tokens",
        "seed",
        "top_logprobs",
        "reasoning_effort",
    }


def test_two_messages_are_not_one_message_with_both_texts() -> None:
    split = Prompt(
        id="p", messages=(Message(role="user", content="a"), Message(role="user", content="b"))
    )
    joined = Prompt(id="p", messages=(Message(role="user", content="ab"),))
    assert request(prompt=split).id != request(prompt=joined).id


def test_the_seed_is_a_63_bit_number_of_its_own_for_each_sample() -> None:
    seeds = {request(sample_index=index).seed for index in range(100)}
    assert len(seeds) == 100
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_canonical_json_is_pinned() -> None:
    value = {"b": [1, -0.0, float("inf"), None, True], "a": {"\u00e9": "\u2028\x00\U0001f680"}}
    expected = '{"a":{"\u00e9":"\u2028\\u0000\U0001f680"},"b":[1,-0.0,null,null,true]}'.encode()
    assert canonical_json(value) == expected
    assert content_hash(value) == content_hash(orjson.loads(expected))


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (1.0, b"1.0"),
        (0.1, b"0.1"),
        (1e15, b"1000000000000000.0"),
        (1e16, b"1e+16"),
        (1e-5, b"0.00001"),
        (1e-6, b"1e-6"),
        (-1.5e-9, b"-1.5e-9"),
        (5e-324, b"5e-324"),
        (1.7976931348623157e308, b"1.7976931348623157e+308"),
    ],
)
def test_floats_are_written_as_the_format_says(value: float, written: bytes) -> None:
    # orjson has changed this before (3.11.7): hashes of old artefacts hang on it.
    assert canonical_json(value) == written


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(JSON)
def test_canonical_json_is_a_fixed_point(value: Any) -> None:
    once = canonical_json(value)
    assert canonical_json(orjson.loads(once)) == once


@given(st.dictionaries(st.text(), st.integers(0, 9), min_size=2))
def test_the_order_of_keys_does_not_matter(value: dict[str, int]) -> None:
    assert canonical_json(value) == canonical_json(dict(reversed(value.items())))


@pytest.mark.parametrize("value", ["\ud800", {"\udfff": 1}, [2**64], {1, 2}])
def test_what_json_cannot_carry_is_a_record_error(value: Any) -> None:
    with pytest.raises(RecordError, match="cannot be encoded as UTF-8 JSON"):
        canonical_json(value)


def test_a_prompt_with_a_lone_surrogate_makes_no_request() -> None:
    broken = Prompt(id="p", messages=(Message(role="user", content="\ud800"),))
    with pytest.raises(RecordError, match="lone surrogates"):
        request(prompt=broken)


def test_records_are_frozen_and_refuse_unknown_fields() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        PROMPT.id = "p2"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="Extra inputs"):
        Prompt.model_validate({**PROMPT.model_dump(), "colour": "red"})


@pytest.mark.parametrize(
    "fields",
    [
        {"logprobs": (-1.0,), "token_ids": (1, 2)},
        {"logprobs": (-1.0,), "tokens": ()},
        {"logprobs": (-1.0,), "top_k": 2, "top_logprobs": (-1.0,)},
        {"logprobs": (-1.0,), "top_k": 1, "top_logprobs": (-1.0,), "top_ids": (1, 2)},
        {"logprobs": (), "top_logprobs": (-1.0,)},
    ],
)
def test_token_lists_of_different_lengths_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="entries"):
        TokenLogprobs(**fields)


@pytest.mark.parametrize(
    ("reason", "error"), [("error", None), ("stop", ItemError(type="timeout", message="late"))]
)
def test_an_error_and_its_finish_reason_go_together(reason: Any, error: ItemError | None) -> None:
    with pytest.raises(ValidationError, match="go together"):
        Completion(
            request_id="r",
            prompt_id="p",
            text="",
            finish_reason=reason,
            model="m",
            created_utc=datetime(2026, 1, 1, tzinfo=UTC),
            error=error,
        )


def with_probabilities(given: dict[str, float] | None) -> Completion:
    return Completion(
        request_id="r",
        prompt_id="p",
        text="a",
        finish_reason="stop",
        model="m",
        created_utc=datetime(2026, 1, 1, tzinfo=UTC),
        label_probabilities=given,
    )


@pytest.mark.parametrize("given", [None, {"a": 1.0}, {"a": 0.3, "b": 0.2}, {"a": 0.5, "b": 0.5}])
def test_label_probabilities_sum_to_one_or_less(given: dict[str, float] | None) -> None:
    found = with_probabilities(given)
    assert found.label_probabilities == given
    assert Completion.model_validate_json(canonical_json(found)) == found
    assert with_probabilities({"a": 1.0, "b": 9e-7}).label_probabilities is not None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "sum to 0"),
        ({"a": 0.0}, "sum to 0"),
        ({"a": 0.6, "b": 0.6}, "sum to 1.2"),
        ({"a": 1.0, "b": 2e-6}, "not to 1"),
        ({"a": 1.5}, "1.5, not 0 to 1"),
        ({"a": -0.1, "b": 0.5}, "-0.1, not 0 to 1"),
        ({"a": float("nan")}, "nan, not 0 to 1"),
        ({"a": float("inf")}, "inf, not 0 to 1"),
    ],
)
def test_what_is_no_distribution_over_labels_is_refused(
    given: dict[str, float], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        with_probabilities(given)


@pytest.mark.parametrize(
    ("labels", "words"),
    [(("a",), "alone"), (("a", " "), "blank"), (("a", "b", "a"), "twice")],
)
def test_labels_that_leave_nothing_to_choose_are_refused(
    labels: tuple[str, ...], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        Prompt(id="p", messages=(Message(role="user", content="x"),), labels=labels)
