import itertools
import random
import time
from collections.abc import Sequence
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.graders import edit, exact, text, tokens
from stillhouse.graders._texts import _common_subsequence, _distance


def naive_distance(one: str, other: str) -> int:
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, start=1):
        before, row = row, [i]
        for j, b in enumerate(other, start=1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (a != b)))
    return row[-1]


def naive_subsequence(one: Sequence[str], other: Sequence[str]) -> int:
    @cache
    def longest(i: int, j: int) -> int:
        if i == len(one) or j == len(other):
            return 0
        if one[i] == other[j]:
            return 1 + longest(i + 1, j + 1)
        return max(longest(i + 1, j), longest(i, j + 1))

    return longest(0, 0)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.text("abc", max_size=40), st.text("abcd", max_size=40))
def test_distance_and_subsequence_are_those_of_the_tables(one: str, other: str) -> None:
    assert _distance(one, other) == naive_distance(one, other)
    assert _common_subsequence(one, other) == naive_subsequence(one, other)


def test_distance_and_subsequence_of_longer_texts() -> None:
    rng = random.Random(0)
    for length, other_length in itertools.product((63, 64, 65, 200), (1, 64, 129)):
        one = "".join(rng.choice("abcd") for _ in range(length))
        other = "".join(rng.choice("abcd") for _ in range(other_length))
        assert _distance(one, other) == naive_distance(one, other)
        assert _common_subsequence(one, other) == naive_subsequence(one, other)


@pytest.mark.parametrize(
    ("answer", "expected", "rouge_l", "token_f1"),
    [
        ("the cat sat", "The cat sat.", 1.0, 1.0),
        ("sat the cat", "the cat sat", 2 / 3, 1.0),
        ("the cat", "the cat sat on the mat", 4 / 8, 4 / 8),
        ("the the the", "the cat", 2 / 5, 2 / 5),
        ("police killed the gunman", "police kill the gunman", 3 / 4, 3 / 4),
        ("dog", "cat", 0.0, 0.0),
        ("\u732b\u304c\u597d\u304d", "\u72ac\u304c\u597d\u304d", 3 / 4, 3 / 4),
        ("\U0001f44d", "\U0001f44d", 1.0, 1.0),
        ("\U0001f44d", "\U0001f44e", 0.0, 0.0),
        ("...", "well", 0.0, 0.0),
    ],
)
def test_words_are_compared_in_order_and_without(
    answer: str, expected: str, rouge_l: float, token_f1: float
) -> None:
    assert text(answer, expected) == pytest.approx(rouge_l)
    assert tokens(answer, expected) == pytest.approx(token_f1)
    assert text(expected, answer) == text(answer, expected)


@pytest.mark.parametrize(
    ("answer", "expected", "similarity"),
    [
        ("kitten", "sitting", 1 - 3 / 7),
        ("a  b\n", "a b", 1.0),
        ("A", "a", 0.0),
        ("", "abc", 0.0),
        ("", "", 1.0),
    ],
)
def test_characters_are_compared_by_edits(answer: str, expected: str, similarity: float) -> None:
    assert edit(answer, expected) == pytest.approx(similarity)


@pytest.mark.parametrize(
    ("answer", "expected", "is_equal"),
    [
        ("Paris", "paris", True),
        ('"Paris."', "Paris", True),
        ("New  York\n", "new york", True),
        ("\uff30aris", "Paris", True),
        ("-5", "5", False),
        ("1.5", "15", False),
        ("C++", "C", False),
        ("the Paris", "Paris", False),
        ("e.g.", "e.g", True),
    ],
)
def test_exact_forgives_form_and_nothing_else(answer: str, expected: str, is_equal: bool) -> None:
    assert exact(answer, expected) == exact(expected, answer) == float(is_equal)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.text(max_size=40), st.text(max_size=40))
def test_scores_are_fractions_that_are_one_for_equals(one: str, other: str) -> None:
    for grader in (text, tokens, edit, exact):
        assert 0.0 <= grader(one, other) <= 1.0
        assert grader(one, other) == grader(other, one)
        assert grader(one, one) == 1.0


def test_texts_of_a_hundred_thousand_characters_are_graded() -> None:
    rng = random.Random(0)
    one = "".join(rng.choice("abcde ") for _ in range(100_000))
    other = one[:50_000] + "x" + one[50_001:]
    begun = time.process_time()
    assert text(one, other) > 0.99
    assert tokens(one, other) > 0.99
    assert edit(one[:20_000], one[1:20_001]) > 0.99
    assert time.process_time() - begun < 10.0
