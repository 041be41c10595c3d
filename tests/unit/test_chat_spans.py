"""Bytes of a completion's tokens: they write its text exactly, whatever the tokenizer splits."""

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

pytest.importorskip("transformers")

from other_tokenizer import other_chat

from stillhouse.chat import ChatTokenizer, token_spans
from stillhouse.errors import RecordError
from stillhouse.models import load_chat, locate_model
from stillhouse.records import Message

USER = [Message(role="user", content="Go on.")]
HOSTILE = [
    "naïve 你好 😀 👩‍👩‍👧 🏳️‍🌈",
    "नमस्ते दुनिया, यह एक परीक्षण है।",
    "a\r\nb\r\n\r\n\tc\x0b\x0c",
    "zero\u200bwidth\u200d\ufeff\u2060x\u2028\u2029",
    "\x00\x01\x1b[31m\x7f\x85\xa0\xad",
    "  two   three    \n\n\n\n\t\t",
    "<0x0A> Ġ Ċ ÿ e\u0301 ﬁ \ud7ff\U0010ffff",
    " the Town and the Bridge",
]


@pytest.fixture(scope="module")
def byte_level(tiny_folder: Path) -> ChatTokenizer:
    return load_chat(locate_model(tiny_folder))


@pytest.fixture(scope="module")
def sentencepiece() -> ChatTokenizer:
    return other_chat()


@pytest.fixture(scope="module", params=["byte_level", "sentencepiece"])
def chat(request: pytest.FixtureRequest) -> ChatTokenizer:
    chat: ChatTokenizer = request.getfixturevalue(request.param)
    return chat


def assert_spans_write(chat: ChatTokenizer, text: str) -> None:
    """Slices of the text's bytes between the ends are what the tokens stand for."""
    ids = chat.encode_example(USER, text).completion_ids
    spans, data = chat.spans(ids, text), text.encode()
    starts = [0, *spans.ends[:-1]]
    written = [data[start:end] for start, end in zip(starts, spans.ends, strict=True)]
    assert b"".join(written) == data
    assert written[: spans.num_text] == [chat.text_bytes[one] for one in ids[: spans.num_text]]
    assert spans.is_closed
    assert set(written[spans.num_text :]) == {b""}


@pytest.mark.parametrize("text", HOSTILE)
def test_spans_write_hostile_texts(chat: ChatTokenizer, text: str) -> None:
    assert_spans_write(chat, text)


@settings(max_examples=60, deadline=None)
# The sentencepiece mark itself reads as a space there: the one character that it cannot keep.
@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="▁")))
@example(text="")
def test_spans_write_any_text(
    byte_level: ChatTokenizer, sentencepiece: ChatTokenizer, text: str
) -> None:
    assert_spans_write(byte_level, text)
    assert_spans_write(sentencepiece, text)


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.parametrize("text", HOSTILE)
def test_spans_of_the_embedded_teacher_write_hostile_texts(text: str) -> None:
    pytest.importorskip("gguf")
    assert_spans_write(load_chat(locate_model("")), text)


def test_characters_may_be_split_between_tokens(chat: ChatTokenizer) -> None:
    ids = chat.encode_example(USER, "é").completion_ids
    assert chat.spans(ids, "é").ends.tolist()[:2] == [1, 2]


def test_what_a_template_writes_before_the_end_of_turn_closes_the_turn(
    sentencepiece: ChatTokenizer,
) -> None:
    ids = [*sentencepiece.encode_pieces(["x\n"])[0], *sentencepiece.end_of_turn_ids]
    assert [sentencepiece.text_bytes[one] for one in ids] == [b"x", b"\n", b""]
    spans = sentencepiece.spans(ids, "x")
    assert (spans.num_text, spans.ends.tolist()) == (1, [1, 1, 1])


def test_a_cut_completion_is_not_closed(chat: ChatTokenizer) -> None:
    ids = chat.encode_example(USER, "the").completion_ids
    num_text = chat.spans(ids, "the").num_text
    assert not chat.spans(ids[:num_text], "the").is_closed


def test_control_tokens_inside_of_a_completion_write_nothing(byte_level: ChatTokenizer) -> None:
    (one,) = byte_level.encode_pieces(["x"])[0]
    assert byte_level.spans([one, 1, one], "xx").ends.tolist() == [1, 1, 2]


def test_the_space_that_sentencepiece_may_add_is_no_byte_of_the_text() -> None:
    assert token_spans([b" the", b" x"], "the x").ends.tolist() == [3, 5]
    assert token_spans([b" the", b" x"], " the x").ends.tolist() == [4, 6]


def test_ids_that_are_no_tokens_are_refused(chat: ChatTokenizer) -> None:
    ids = [*chat.encode_example(USER, "the").completion_ids, len(chat.text_bytes)]
    with pytest.raises(RecordError, match=f"holds the id {ids[-1]}, for which .* has no token"):
        chat.spans(ids, "the")


@pytest.mark.parametrize("text", ["thex", "th", "The"])
def test_tokens_of_another_text_are_refused(text: str) -> None:
    with pytest.raises(RecordError, match="do not write its text: at byte"):
        token_spans([b"th", b"e"], text)


def test_a_tokenizer_that_changes_its_text_is_refused(sentencepiece: ChatTokenizer) -> None:
    ids = sentencepiece.encode_example(USER, "a▁b").completion_ids
    with pytest.raises(RecordError, match=r"at byte 1 they have b' b"):
        sentencepiece.spans(ids, "a▁b")
