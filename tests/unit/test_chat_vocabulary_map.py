"""A teacher's ids among a student's, by bytes."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers")

from other_tokenizer import END_OF_TURN_ID, id_of, make_map, other_chat
from tiny_model import END_OF_TURN_ID as TINY_END_OF_TURN_ID

from stillhouse.chat import NO_ID, ChatTokenizer, VocabularyMap
from stillhouse.models import load_chat, locate_model


@pytest.fixture(scope="module")
def tiny(tiny_folder: Path) -> ChatTokenizer:
    return load_chat(locate_model(tiny_folder))


@pytest.fixture(scope="module")
def other() -> ChatTokenizer:
    return other_chat()


def test_a_vocabulary_maps_to_itself_control_tokens_included(tiny: ChatTokenizer) -> None:
    counts = np.ones(len(tiny.text_bytes), dtype=np.int64)
    same = VocabularyMap(
        tiny, tiny, student_counts=counts, closing_id=tiny.end_of_turn_ids[0], width=3
    )
    ids = np.arange(len(tiny.text_bytes))
    found = same.student_ids(ids)
    assert (found[:, 0] == ids).all()
    assert (found[:, 1:] == NO_ID).all()


def test_the_same_bytes_are_the_same_token(tiny: ChatTokenizer, other: ChatTokenizer) -> None:
    (found,) = make_map(tiny, other).student_ids(np.array([id_of(tiny, "x")]))
    assert found.tolist() == [id_of(other, "x"), NO_ID, NO_ID]


def test_a_character_wins_over_the_byte_that_it_could_also_be(
    tiny: ChatTokenizer, other: ChatTokenizer
) -> None:
    newline = id_of(other, "\n")
    assert other.text_bytes.index(b"\n") < newline  # the byte token comes first in the vocabulary
    found = make_map(tiny, other).student_ids(np.array([id_of(tiny, "\n")]))
    assert found[0, 0] == newline


def test_a_longer_token_stands_for_what_the_student_writes_first(
    tiny: ChatTokenizer, other: ChatTokenizer
) -> None:
    council = np.array([id_of(other, "Council")])
    assert make_map(other, tiny).student_ids(council)[0, 0] == id_of(tiny, "C")


def test_a_shorter_token_also_stands_for_those_that_go_on_most_used_first(
    tiny: ChatTokenizer, other: ChatTokenizer
) -> None:
    used = {" Farm": 2, " Wins": 7, " Bri": 9, "Coun": 1, " Town": 50}  # the tiny one has Town
    space, c = make_map(tiny, other, used).student_ids(
        np.array([id_of(tiny, " "), id_of(tiny, "C")])
    )
    assert space.tolist() == [id_of(other, one) for one in (" ", " Bri", " Wins")]
    assert c.tolist() == [id_of(other, "C"), id_of(other, "Coun"), NO_ID]


def test_tokens_that_are_not_used_go_on_nowhere(tiny: ChatTokenizer, other: ChatTokenizer) -> None:
    owner = id_of(tiny, " ")
    assert make_map(tiny, other).student_ids(np.array([owner]))[0, 1:].tolist() == [NO_ID, NO_ID]


def test_half_a_character_stands_for_the_longest_beginning(
    tiny: ChatTokenizer, other: ChatTokenizer
) -> None:
    half = tiny.text_bytes.index(b"\xf0")
    assert other.text_bytes[make_map(tiny, other).student_ids(np.array([half]))[0, 0]] == b"\xf0"


def test_an_end_of_turn_is_an_end_of_turn_and_other_control_tokens_are_nothing(
    tiny: ChatTokenizer, other: ChatTokenizer
) -> None:
    beyond = len(tiny.text_bytes) + 3
    found = make_map(tiny, other).student_ids(np.array([TINY_END_OF_TURN_ID, 0, 1, beyond]))
    assert found[:, 0].tolist() == [END_OF_TURN_ID, NO_ID, NO_ID, NO_ID]


def test_an_end_of_turn_is_the_one_that_the_students_template_writes(
    tiny: ChatTokenizer, other: ChatTokenizer
) -> None:
    counts = np.zeros(len(other.text_bytes), dtype=np.int64)
    newline = id_of(other, "\n")
    closed = VocabularyMap(tiny, other, student_counts=counts, closing_id=newline, width=1)
    assert closed.student_ids(np.array([TINY_END_OF_TURN_ID])).tolist() == [[newline]]


def test_ids_keep_their_shape(tiny: ChatTokenizer, other: ChatTokenizer) -> None:
    ids = np.arange(12).reshape(3, 4) + 40
    assert make_map(tiny, other).student_ids(ids).shape == (3, 4, 3)


def test_no_student_token_belongs_to_two(tiny: ChatTokenizer, other: ChatTokenizer) -> None:
    counts = np.ones(len(other.text_bytes), dtype=np.int64)
    whole = VocabularyMap(
        tiny, other, student_counts=counts, closing_id=other.end_of_turn_ids[0], width=200
    )
    found = whole.student_ids(np.arange(len(tiny.text_bytes)))[:, 1:]
    longer = found[found != NO_ID]
    assert len(longer) > 20
    assert len(set(longer.tolist())) == len(longer)
