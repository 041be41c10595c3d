"""Chunks of two tokenisations: the shortest spans with the same ends, and nothing else."""

from bisect import bisect_right

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.chat import Alignment, BoundaryBias, TokenSpans, align
from stillhouse.errors import RecordError


def spans(*pieces: str, closing: int = 0) -> TokenSpans:
    """Pieces of text, then so many closing tokens."""
    lengths = [len(piece.encode()) for piece in pieces] + [0] * closing
    return TokenSpans(np.cumsum(lengths, dtype=np.int64), len(pieces))


def both(alignment: Alignment) -> tuple[list[int], list[int]]:
    return alignment.teacher.tolist(), alignment.student.tolist()


@st.composite
def two_cuts_of_one_text(draw: st.DrawFn) -> tuple[TokenSpans, TokenSpans]:
    size = draw(st.integers(1, 30))
    sides = []
    for _ in range(2):
        inner = draw(st.sets(st.integers(1, size - 1))) if size > 1 else set()
        ends = [*sorted(inner), size]
        sides.append(TokenSpans(np.array(ends + [size] * draw(st.integers(0, 2))), len(ends)))
    return sides[0], sides[1]


def test_chunks_end_where_both_end() -> None:
    alignment = align(spans("Hel", "lo", " wor", "ld", "!"), spans("Hello", " ", "world", "!"))
    assert both(alignment) == ([0, 0, 1, 1, 2], [0, 1, 1, 2])
    assert [side.tolist() for side in alignment.first_tokens()] == [[0, 2, 4], [0, 1, 3]]


def test_the_same_tokens_are_a_chunk_each() -> None:
    pieces = spans("a", "bc", "d", closing=1)
    assert both(align(pieces, pieces)) == ([0, 1, 2, 3], [0, 1, 2, 3])


def test_what_closes_the_turn_is_a_chunk_however_it_is_written() -> None:
    alignment = align(spans("a", "b", closing=1), spans("ab", closing=3))
    assert both(alignment) == ([0, 0, 1], [0, 1, 1, 1])


def test_an_end_of_turn_that_only_one_side_has_is_left_over() -> None:
    alignment = align(spans("a"), spans("a", closing=1))
    assert (*both(alignment), alignment.num_chunks) == ([0], [0, -1], 1)


def test_an_empty_text_has_its_closing_chunk() -> None:
    assert both(align(spans(closing=1), spans(closing=2))) == ([0], [0, 0])


def test_chunks_end_inside_of_characters_too() -> None:
    half = TokenSpans(np.array([1, 2, 3]), 3)
    assert both(align(half, TokenSpans(np.array([1, 3]), 2))) == ([0, 1, 1], [0, 1])


def test_tokens_without_bytes_belong_to_what_is_before_them() -> None:
    with_control = TokenSpans(np.array([1, 1, 2]), 3)
    assert both(align(with_control, spans("a", "b"))) == ([0, 0, 1], [0, 1])


def test_a_chunk_goes_on_where_it_may_not_end() -> None:
    pieces = spans("a", "b", "c", closing=1)
    alignment = align(pieces, pieces, lambda teacher, student: teacher != 1)
    assert both(alignment) == ([0, 1, 1, 2], [0, 1, 1, 2])


def test_a_last_chunk_that_may_not_end_goes_on_to_the_end_of_turn_or_is_left_over() -> None:
    def never_after_b(teacher: int, student: int) -> bool:
        return teacher != 1

    closed, cut = spans("a", "b", closing=1), spans("a", "b")
    assert both(align(closed, closed, never_after_b)) == ([0, 1, 1], [0, 1, 1])
    assert both(align(cut, cut, never_after_b)) == ([0, -1], [0, -1])


def test_completions_of_different_lengths_are_refused() -> None:
    with pytest.raises(RecordError, match="2 bytes and the student's 3"):
        align(spans("ab"), spans("abc"))


@given(sides=two_cuts_of_one_text())
def test_alignment_agrees_with_a_naive_one(sides: tuple[TokenSpans, TokenSpans]) -> None:
    alignment = align(*sides)
    common = sorted(set(sides[0].ends.tolist()) & set(sides[1].ends.tolist()))
    are_both_closed = sides[0].is_closed and sides[1].is_closed
    assert alignment.num_chunks == len(common) + are_both_closed
    for side, chunks in zip(sides, both(alignment), strict=True):
        starts = [0, *side.ends[: side.num_text - 1].tolist()]
        assert chunks[: side.num_text] == [bisect_right(common, start) for start in starts]
        closing = len(common) if are_both_closed else -1
        assert set(chunks[side.num_text :]) <= {closing}


@given(sides=two_cuts_of_one_text())
def test_first_tokens_begin_at_the_same_byte(sides: tuple[TokenSpans, TokenSpans]) -> None:
    firsts = align(*sides).first_tokens()
    before = [
        [0 if first == 0 else int(side.ends[first - 1]) for first in side_firsts]
        for side, side_firsts in zip(sides, firsts, strict=True)
    ]
    assert before[0] == before[1]


def test_the_same_vocabulary_has_no_bias() -> None:
    table = [b"Hel", b"lo", b"Hello", b"p"]
    same = BoundaryBias(table, [0, 1, 2, 0, 3], table, [0, 1, 2, 0, 3])
    assert [same(token_id, token_id) for token_id in range(4)] == [0.0] * 4


def test_a_longer_token_of_one_side_alone_is_bias_by_its_share() -> None:
    # The teacher writes Hello as one token three times of four that a text begins with Hel.
    teacher, student = [b"Hel", b"Hello"], [b"Hel", b"lo"]
    one = BoundaryBias(teacher, [0, 1, 1, 1], student, [0, 0, 0, 0, 1, 1, 1])
    assert one(0, 0) == 0.75


def test_bias_is_the_same_with_the_sides_swapped() -> None:
    teacher, student = [b"Hel", b"Hello"], [b"Hel", b"lo"]
    other = BoundaryBias(student, [0, 0, 0, 0, 1, 1, 1], teacher, [0, 1, 1, 1])
    assert other(0, 0) == 0.75


def test_a_longer_token_that_the_other_side_would_also_write_is_no_bias() -> None:
    # After "x Hel" the student would have written "x Hell": both know that no "lo" follows.
    teacher, student = [b"Hel", b"Hello"], [b"x Hel", b"x Hell"]
    assert BoundaryBias(teacher, [0, 1], student, [0, 0])(0, 0) == 0.0


def test_tokens_that_never_occur_have_no_bias() -> None:
    assert BoundaryBias([b"a", b"ab"], [], [b"a"], [])(0, 0) == 0.0
