import itertools
import json
import random
import time
from typing import Any

import pytest

from stillhouse.errors import DataError, RecordError
from stillhouse.graders import (
    FieldCounts,
    compare_fields,
    document,
    field_counts,
    fields,
    micro_f1,
)


def counts(answer: Any, expected: Any) -> tuple[int, int, int]:
    return field_counts(json.dumps(answer), json.dumps(expected))


@pytest.mark.parametrize(
    ("answer", "expected", "equal_extra_missing"),
    [
        ({"a": 1}, {"a": 1}, (1, 0, 0)),
        ({"a": 1}, {"a": 2}, (0, 1, 1)),
        ({"a": 1, "b": 2}, {"a": 1}, (1, 1, 0)),
        ({"a": 1}, {"a": 1, "b": {"c": 2, "d": 3}}, (1, 0, 2)),
        ({"a": None}, {}, (0, 0, 0)),
        ({"a": None}, {"a": 1}, (0, 0, 1)),
        ({"a": 1}, {"a": None}, (0, 1, 0)),
        ({"a": []}, {"a": {}}, (0, 0, 0)),
        ({"a": True}, {"a": 1}, (0, 1, 1)),
        ({"a": 1.0}, {"a": 1}, (1, 0, 0)),
        ({"a": "1"}, {"a": 1}, (0, 1, 1)),
        ({"a": " x  y"}, {"a": "x y"}, (1, 0, 0)),
        ({"a": "X"}, {"a": "x"}, (0, 1, 1)),
        ({"a": "e\u0301"}, {"a": "\u00e9"}, (1, 0, 0)),
        ({"a": {"b": 1}}, {"a": 1}, (0, 1, 1)),
        ({"a": [1, 2, 3]}, {"a": [3, 1]}, (2, 1, 0)),
        ({"a": [1, 1]}, {"a": [1]}, (1, 1, 0)),
        ({"a": [1, None]}, {"a": [None, 1]}, (1, 0, 0)),
        ([{"n": 1, "p": 5}, {"n": 2, "p": 6}], [{"n": 2, "p": 6}, {"n": 1, "p": 7}], (3, 1, 1)),
        ([{"n": 1}, {"n": 2}], [{"n": 2}], (1, 1, 0)),
        ([[1, 2], [3]], [[3], [2, 1]], (3, 0, 0)),
        ([{"n": 1}, 7], [7, {"n": 1}], (2, 0, 0)),
        (5, 5, (1, 0, 0)),
        ("x", ["x"], (0, 1, 1)),
    ],
)
def test_fields_are_equal_extra_or_missing(
    answer: Any, expected: Any, equal_extra_missing: tuple[int, int, int]
) -> None:
    assert counts(answer, expected) == equal_extra_missing
    equal, extra, missing = equal_extra_missing
    assert counts(expected, answer) == (equal, missing, extra)


def test_f1_is_that_of_precision_and_recall() -> None:
    answer, expected = '{"a":1,"b":2,"c":3}', '{"a":1,"b":9}'
    precision, recall = 1 / 3, 1 / 2
    assert fields(answer, expected) == pytest.approx(2 / (1 / precision + 1 / recall))
    assert document(answer, expected) == 0.0
    assert fields(expected, expected) == document(expected, expected) == 1.0


def test_a_document_that_says_nothing_is_right_where_nothing_is_expected() -> None:
    assert fields("{}", '{"a":null}') == document("{}", '{"a":null}') == 1.0
    assert fields("{}", '{"a":1}') == document("{}", '{"a":1}') == 0.0


def test_paths_name_the_fields_whatever_the_place_in_a_list() -> None:
    answer = {"no": 1, "items": [{"price": 2, "tax": 1}, {"price": 3}]}
    expected = {"no": 2, "items": [{"price": 3}, {"price": 4, "tax": 1}]}
    found = compare_fields(json.dumps(answer), json.dumps(expected))
    assert found == {
        "$.items[].price": FieldCounts(1, 1, 1),
        "$.items[].tax": FieldCounts(1, 0, 0),
        "$.no": FieldCounts(0, 1, 1),
    }


def test_micro_f1_counts_fields_not_documents() -> None:
    found = [FieldCounts(9, 0, 1), FieldCounts(0, 1, 1)]
    assert micro_f1(found) == pytest.approx(18 / (18 + 1 + 2))


@pytest.mark.parametrize("found", [[], [FieldCounts(0, 0, 0)]])
def test_no_fields_at_all_are_no_score(found: list[FieldCounts]) -> None:
    with pytest.raises(DataError, match="no fields"):
        micro_f1(found)


def test_an_answer_that_is_no_json_has_no_fields() -> None:
    assert field_counts("no", '{"a":1,"b":[2,3]}') == (0, 0, 3)
    assert field_counts("[" * 50_000, '{"a":1}') == (0, 0, 1)
    with pytest.raises(RecordError, match="no JSON that can be compared"):
        fields("{}", "no")


def best_match(one: list[Any], other: list[Any]) -> int:
    """Equal fields under the best of all matchings of two lists of flat objects."""
    short, long = sorted((one, other), key=len)
    return max(
        sum(len(a.items() & b.items()) for a, b in zip(short, chosen, strict=True))
        for chosen in itertools.permutations(long, len(short))
    )


@pytest.mark.parametrize("seed", range(30))
def test_lists_are_matched_in_the_best_way_there_is(seed: int) -> None:
    rng = random.Random(seed)

    def objects() -> list[dict[str, int]]:
        return [
            {key: rng.randrange(2) for key in "abc" if rng.random() < 0.7}
            for _ in range(rng.randint(1, 5))
        ]

    one, other = objects(), objects()
    equal, extra, missing = counts(one, other)
    assert equal == best_match(one, other)
    assert equal + extra == sum(map(len, one))
    assert equal + missing == sum(map(len, other))


def test_long_lists_take_no_long_time() -> None:
    rng = random.Random(0)
    numbers = [rng.randrange(10**6) for _ in range(20_000)]
    rows = [{"n": n, "m": rng.random()} for n in range(2_000)]
    begun = time.process_time()
    assert counts(numbers, numbers[::-1]) == (20_000, 0, 0)
    assert counts(rows, rows[::-1]) == (4_000, 0, 0)
    altered = [{**row, "m": -1} for row in rows]
    assert counts(rows, altered) == (2_000, 2_000, 2_000)
    assert time.process_time() - begun < 5.0
