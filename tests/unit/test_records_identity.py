"""The identity of requests: what a ledger knows them by, today and in every later version."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.records import (
    Message,
    Prompt,
    Request,
    Sampling,
    Tool,
    ToolCall,
    canonical_json,
    content_hash,
    messages_identity,
    prompt_content,
)

# Few letters, among them those that JSON is made of, so that texts run into one another often.
TEXT = st.text(alphabet='ab"\\:,[]{}\u2028\x00\u00e9', max_size=4)
NAMES = st.text(alphabet="ab", min_size=1, max_size=2)
CALLS = st.builds(ToolCall, id=TEXT, name=TEXT, arguments=TEXT)
MESSAGES = st.builds(
    Message,
    role=st.sampled_from(["system", "user", "assistant", "tool"]),
    content=TEXT,
    tool_calls=st.lists(CALLS, max_size=2).map(tuple),
    tool_call_id=st.none() | TEXT,
    reasoning=st.none() | TEXT,
)
TOOLS = st.builds(Tool, name=NAMES, description=TEXT, parameters=TEXT)
SAMPLINGS = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.7, 1.0]),
    top_p=st.sampled_from([0.5, 1.0]),
    max_tokens=st.integers(1, 3),
    seed=st.integers(0, 2),
    top_logprobs=st.integers(0, 2),
    reasoning_effort=st.sampled_from([None, "none", "low"]),
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "messages": st.lists(MESSAGES, min_size=1, max_size=2).map(tuple),
    "tools": st.lists(TOOLS, max_size=1).map(tuple),
    "output_schema": st.none() | TEXT,
    "teacher": NAMES,
    "sampling": SAMPLINGS,
    "sample_index": st.integers(0, 2),
}
"""All that an answer depends on."""
ASKED = st.fixed_dictionaries(FIELDS)


def request(asked: dict[str, Any], **place: Any) -> Request:
    prompt = Prompt(
        id=place.pop("id", "p"),
        messages=asked["messages"],
        tools=asked["tools"],
        output_schema=asked["output_schema"],
        **place,
    )
    return Request.of(
        prompt,
        teacher=asked["teacher"],
        sampling=asked["sampling"],
        sample_index=asked["sample_index"],
    )


@given(ASKED, TEXT.filter(bool), st.sampled_from(["train", "held_out"]), st.none() | TEXT)
def test_where_a_prompt_belongs_and_what_it_is_called_do_not_matter(
    asked: dict[str, Any], id_: str, split: str, group: str | None
) -> None:
    other = request(asked, id=id_, split=split, group=group, teacher="a name in the run")
    assert other.id == request(asked).id


@given(ASKED)
def test_the_order_of_keys_does_not_matter(asked: dict[str, Any]) -> None:
    sent = request(asked)
    data = orjson.loads(canonical_json(sent))
    turned = Request.model_validate(dict(reversed(data.items())))
    assert request({**asked, "messages": turned.messages, "tools": turned.tools}).id == sent.id
    assert canonical_json(turned) == canonical_json(sent)


@given(ASKED, ASKED)
def test_two_requests_have_one_id_only_where_they_ask_the_same(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert (request(one).id == request(other).id) == (one == other)


@given(ASKED, st.sampled_from(list(FIELDS)), st.data())
def test_a_change_of_any_one_field_is_another_request(
    asked: dict[str, Any], field: str, data: st.DataObject
) -> None:
    changed = data.draw(FIELDS[field].filter(lambda value: value != asked[field]))
    assert request({**asked, field: changed}).id != request(asked).id


@given(st.lists(TEXT, min_size=1, max_size=4), st.lists(TEXT, min_size=1, max_size=4))
def test_moving_text_from_one_message_to_the_next_is_another_conversation(
    one: list[str], other: list[str]
) -> None:
    first, second = (
        messages_identity(tuple(Message(role="user", content=text) for text in texts))
        for texts in (one, other)
    )
    assert (first == second) == (one == other)


def test_a_field_that_is_not_there_is_not_one_that_is_empty() -> None:
    plain: dict[str, Any] = {
        "messages": (Message(role="assistant", content="a"),),
        "tools": (),
        "output_schema": None,
        "teacher": "t",
        "sampling": Sampling(),
        "sample_index": 0,
    }
    turns = [{}, {"reasoning": ""}, {"tool_call_id": ""}]
    ids = {
        request({**plain, "messages": (Message(role="assistant", content="a", **turn),)}).id
        for turn in turns
    }
    ids.add(request({**plain, "output_schema": ""}).id)
    assert len(ids) == 4


# Written down once, of each kind of field: another value would make ledgers forget what they hold.
BASE: dict[str, Any] = {
    "messages": (Message(role="user", content="Name a colour."),),
    "tools": (),
    "output_schema": None,
    "teacher": "openai:gpt-x",
    "sampling": Sampling(),
    "sample_index": 0,
}
CALL = ToolCall(id="c1", name="look", arguments='{"at": 1}')
GOLDEN: dict[str, tuple[dict[str, Any], str]] = {
    "plain": ({}, "220a56392924c2781a88a29b08ef33fca6a8ecabb0b50fb2b75e789e24c2728b"),
    "sample": (
        {"sample_index": 3},
        "ba64147490a1ca56ed3c9d9dfe120a7e0f992dcda93814d6eb36780f9fec3fef",
    ),
    "sampling": (
        {"sampling": Sampling(temperature=0.0, top_p=0.9, max_tokens=7, seed=5, top_logprobs=20)},
        "34da3b02292f1f3c230fe24c4978ed298810bdb0a80859d136cf6f237989b7cd",
    ),
    "effort": (
        {"sampling": Sampling(reasoning_effort="low")},
        "ec48930224a9fa9d0ff170e4835096a6471d0b56459b623d4de60d836ada6099",
    ),
    "tools": (
        {"tools": (Tool(name="look", description="Look.", parameters='{"type": "object"}'),)},
        "913180857313c6127ae99f03bceddd1c8e7c1dc25707ce2a81bd4eda6520644c",
    ),
    "schema": (
        {"output_schema": '{"type": "object"}'},
        "35ddb9aa6e40ab2978f33b62fb206eabf834e464f2cb4b23ea78fd210a681bcf",
    ),
    "turns": (
        {
            "messages": (
                Message(role="system", content="Be brief.\u2028"),
                Message(role="user", content="\u00e9\U0001f680"),
                Message(role="assistant", content="", tool_calls=(CALL,), reasoning="hm"),
                Message(role="tool", content="red", tool_call_id="c1"),
            )
        },
        "60b0605b8eb65bcb118a8c5b7e33682536a37fb5d411ee43e982821f3bf2346b",
    ),
}


@pytest.mark.parametrize("name", list(GOLDEN))
def test_the_ids_of_ledgers_of_today_are_those_of_tomorrow(name: str) -> None:
    changes, known = GOLDEN[name]
    assert request({**BASE, **changes}).id == known


def test_labels_are_part_of_what_is_asked_only_where_there_are_some() -> None:
    plain = Prompt(id="p", messages=BASE["messages"])
    asked = {"teacher": "t", "sampling": Sampling()}
    with_labels = plain.model_copy(update={"labels": ("a", "b")})
    turned = plain.model_copy(update={"labels": ("b", "a")})
    ids = [Request.of(one, **asked).id for one in (plain, with_labels, turned)]
    assert len(set(ids)) == 3
    assert Request.of(with_labels, **asked).labels == ("a", "b")


def test_a_prompt_without_labels_has_the_content_it_always_had() -> None:
    plain = Prompt(id="p", messages=BASE["messages"])
    # The hash from before prompts had labels.
    known = "29921120495aa0bff6396da30453d7754ee1cf3f70bcad418b2bf6062ae17bf4"
    assert content_hash(prompt_content(plain)) == known
    labelled = plain.model_copy(update={"labels": ("a", "b")})
    assert content_hash(prompt_content(labelled)) != known
