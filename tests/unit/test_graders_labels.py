from fractions import Fraction

import pytest
from task_cases import classification, free_text

from stillhouse.errors import ConfigError, DataError, RecordError
from stillhouse.graders import GRADERS, grade, grader_of, label, label_jaccard
from stillhouse.tasks import GRADERS_BY_KIND


@pytest.mark.parametrize(
    ("answer", "expected", "exact", "jaccard"),
    [
        ("spam", "spam", 1, Fraction(1)),
        ("spam", "ham", 0, Fraction(0)),
        ("a, b", "b, a", 1, Fraction(1)),
        ("a, b", "a, b, c", 0, Fraction(2, 3)),
        ("a, b", "b, c", 0, Fraction(1, 3)),
        ("", "", 1, Fraction(1)),
        ("", "a", 0, Fraction(0)),
        ("a", "", 0, Fraction(0)),
        ("film, theatre", "film, theatre", 1, Fraction(1)),
    ],
)
def test_labels_are_compared_as_sets(
    answer: str, expected: str, exact: int, jaccard: Fraction
) -> None:
    assert label(answer, expected) == exact
    assert label_jaccard(answer, expected) == float(jaccard)


def test_every_grader_of_a_task_is_in_the_table_but_the_judge() -> None:
    named = {name for names in GRADERS_BY_KIND.values() for name in names}
    assert set(GRADERS) == named - {"judge"}


def test_binary_graders_give_zero_or_one() -> None:
    pairs = [("1", "1"), ("1", "2"), ('{"a":1}', '{"a":2}'), ("2", "2")]
    for name, grader in GRADERS.items():
        if not grader.is_binary:
            continue
        for answer, expected in pairs:
            if name != "numeric" or "{" not in answer:
                assert grader.score(answer, expected) in (0.0, 1.0)


def test_a_task_has_the_grader_that_it_names() -> None:
    assert grader_of(classification()) is GRADERS["label"]
    assert grader_of(free_text(grader="numeric")) is GRADERS["numeric"]
    with pytest.raises(ConfigError, match="needs a teacher that judges"):
        grader_of(free_text(grader="judge"))


def test_invalid_answers_score_nothing() -> None:
    assert grade(GRADERS["label"], ["a", None, "b"], ["a", "a", "a"]) == (1.0, 0.0, 0.0)


def test_nothing_to_grade_and_unequal_sides_are_refused() -> None:
    with pytest.raises(DataError, match="0 answers and 0 expected"):
        grade(GRADERS["label"], [], [])
    with pytest.raises(DataError, match="1 answers and 2 expected"):
        grade(GRADERS["label"], ["a"], ["a", "b"])


def test_what_is_expected_has_to_be_readable() -> None:
    for name in ("fields", "document", "numeric", "code"):
        with pytest.raises(RecordError):
            grade(GRADERS[name], ["1"], ["this is {no such thing"])
