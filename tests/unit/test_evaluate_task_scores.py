"""Answers beside the teacher's and the right ones, and what is refused as no answer at all."""

import math

import evaluate_task_cases as cases
import numpy as np
import pytest

from stillhouse.answers import Given, most_likely, require_confidences
from stillhouse.errors import ConfigError, IntegrityError
from stillhouse.evaluate._task._failures import failures_of
from stillhouse.evaluate._task._measure._estimates import Estimator
from stillhouse.evaluate._task._measure._fields import document_result, field_results
from stillhouse.evaluate._task._measure._labels import (
    confused_pairs,
    label_counts,
    worst_labels,
)
from stillhouse.evaluate._task._measure._scores import score, score_teacher
from stillhouse.evaluate._task._measure._self_agreement import repeated_answers
from stillhouse.evaluate._task._predictions import prediction_rows
from stillhouse.graders import agreement_grader
from stillhouse.tasks import Task, TaskAnswer


def row(name: str, answer: str | None, **changes: object) -> TaskAnswer:
    settings: dict[str, object] = {
        "prompt_id": name,
        "text": name,
        "split": "held_out",
        "answer": answer,
        "probabilities": {} if answer is None else {answer: 1.0},
        "num_answers": 1,
        "num_invalid": int(answer is None),
        "invalid": ("empty",) if answer is None else (),
        "votes": {} if answer is None else {"t": {answer: 1}},
    }
    return TaskAnswer(**(settings | changes))  # type: ignore[arg-type]


LETTERS = Task(name="letters", kind="classification", labels=("a", "b", "c"))
ROWS = (
    row("1", "a", reference="a"),
    row("2", "b", reference="a"),
    row("3", None, reference="c"),
    row("4", "c"),
)


def test_a_teacher_without_a_valid_answer_is_left_out_of_agreement_and_wrong_on_gold() -> None:
    held_out = cases.held_out_of(LETTERS, ROWS, ())
    student = score(held_out, [Given("a"), Given("a"), Given("c"), Given(None, None, "empty")])
    np.testing.assert_array_equal(student.agreement_N, [1.0, 0.0, np.nan, 0.0])
    np.testing.assert_array_equal(student.gold_N, [1.0, 1.0, 1.0, np.nan])
    teacher = score_teacher(held_out)
    np.testing.assert_array_equal(teacher.gold_N, [1.0, 0.0, 0.0, np.nan])
    assert teacher.is_valid_N.tolist() == [True, True, False, True]
    assert student.problems() == {"empty": 1}


def test_predictions_say_none_where_nothing_can_be_compared() -> None:
    held_out = cases.held_out_of(LETTERS, ROWS, ())
    given = [Given("a", 0.9), Given("a", 0.8), Given("c", 0.7), Given(None, 0.2, "empty")]
    rows = list(prediction_rows(held_out, {"s": score(held_out, given)}))
    assert [one.agrees for one in rows] == [True, False, None, False]
    assert [one.is_right for one in rows] == [True, True, True, None]
    assert (rows[3].answer, rows[3].problem, rows[3].confidence) == (None, "empty", 0.2)


def test_programs_are_compared_as_texts_and_a_judge_is_refused() -> None:
    assert agreement_grader(Task(name="t", kind="text", grader="code")).score("x = 1", "x = 1") == 1
    with pytest.raises(ConfigError, match="run an arena"):
        agreement_grader(Task(name="t", kind="text", grader="judge"))


def test_several_labels_are_those_that_are_more_likely_than_not() -> None:
    task = Task(
        name="t", kind="classification", labels=("x", "y", "none"), multiple=True,
        out_of_scope="none",
    )  # fmt: skip
    given = most_likely(
        task, np.array([[0.9, 0.6, 0.1], [0.1, 0.2, 0.3], [0.8, 0.1, 0.7]]), task.labels
    )
    assert [one.text for one in given] == ["x, y", "none", "x"]
    assert given[0].confidence == pytest.approx(0.9 * 0.6 * 0.9)


@pytest.mark.parametrize("confidence", [math.nan, 1.2, -0.1, math.inf])
def test_confidences_that_are_no_probabilities_are_refused(confidence: float) -> None:
    with pytest.raises(IntegrityError, match="1 of 2 confidences of tiny"):
        require_confidences("tiny", [Given("a", 0.5), Given("a", confidence)])


def test_probabilities_that_are_nan_become_confidences_that_are_refused() -> None:
    given = most_likely(LETTERS, np.array([[0.1, math.nan, 0.2]]), LETTERS.labels)
    with pytest.raises(IntegrityError, match="damaged"):
        require_confidences("tiny", given)


def test_labels_count_only_messages_with_an_answer_of_the_teacher() -> None:
    held_out = cases.held_out_of(LETTERS, ROWS, ())
    counts = label_counts(held_out, ["a", "a", "c", "c"])
    assert [(one.label, one.n, one.same) for one in counts] == [
        ("a", 1, 1), ("b", 1, 0), ("c", 1, 1)
    ]  # fmt: skip
    pairs = confused_pairs(held_out, ["a", "a", "c", None], wanted=5)
    assert [(one.teacher, one.student, one.count) for one in pairs] == [
        ("b", "a", 1), ("c", "(no valid answer)", 1)
    ]  # fmt: skip


def test_the_worst_labels_come_first_with_what_they_rest_on() -> None:
    rows = [row(f"a{n}", "a") for n in range(10)] + [row(f"b{n}", "b") for n in range(8)]
    rows += [row("c", "c")]
    held_out = cases.held_out_of(LETTERS, rows, ())
    answers: list[str | None] = ["a"] * 9 + ["b"] + ["a"] * 4 + ["b"] * 4 + ["b"]
    found = worst_labels(held_out, answers, _estimator(len(rows)), wanted=5)
    assert [(one.label, one.recall.value, one.recall.n) for one in found] == [
        ("b", 0.5, 8), ("a", 0.9, 10)
    ]  # fmt: skip  # of one message, recall says nothing


def test_fields_are_counted_where_either_side_has_them() -> None:
    rows = [
        row("1", '{"a":1,"b":"x"}', reference='{"a":2}'),
        row("2", '{"a":1}'),
        row("3", '{"b":"y"}'),
    ]
    held_out = cases.held_out_of(cases.extraction(), rows, ())
    found = field_results(held_out, ['{"a":1}', '{"a":1,"b":"z"}', None], _estimator(3))
    by_name = {one.field: one for one in found}
    agreement = by_name["a"].agreement
    assert agreement is not None
    assert (agreement.value, agreement.n) == (1.0, 2)
    agreement = by_name["b"].agreement
    assert agreement is not None
    assert (agreement.value, agreement.n) == (0.0, 3)
    gold = by_name["a"].gold
    assert gold is not None
    assert (gold.value, gold.n) == (0.0, 1)
    whole = document_result(held_out, ['{"a":1,"b":"x"}', '{"a":1}', None], _estimator(3))
    assert whole.agreement is not None
    assert whole.agreement.value == pytest.approx(2 / 3)


def test_self_agreement_is_that_of_two_answers_drawn_from_the_same_message() -> None:
    rows = [
        row("1", "a", votes={"t": {"a": 3, "b": 1}}, num_answers=4),
        row("2", "b", votes={"t": {"b": 2}}, num_answers=2),
        row("3", "c"),
    ]
    held_out = cases.held_out_of(LETTERS, rows, ())
    found = repeated_answers(held_out)
    assert found is not None
    assert found.places == (0, 1)
    assert found.scores_P.tolist() == [0.5, 1.0]  # of six pairs, three are alike
    student = score(held_out, [Given("a"), Given("c"), Given("c")])
    of_student = found.of_student(student, agreement_grader(LETTERS).score)
    assert of_student.tolist() == [0.75, 0.0]


def test_without_a_second_answer_there_is_no_self_agreement() -> None:
    assert repeated_answers(cases.held_out_of(LETTERS, ROWS, ())) is None


def test_failures_are_the_first_by_the_hash_of_their_ids_whatever_the_order() -> None:
    rows = [row(f"p{n}", "a", reference="b") for n in range(40)]
    given = [Given("b", 0.5 + n / 100) for n in range(40)]
    held_out = cases.held_out_of(LETTERS, rows, ())
    found, rule = failures_of(held_out, score(held_out, given), 5)
    back = cases.held_out_of(LETTERS, rows[::-1], ())
    again, _ = failures_of(back, score(back, given[::-1]), 5)
    assert {one.prompt_id for one in found} == {one.prompt_id for one in again}
    assert len(found) == 5
    assert "of the 40 messages" in rule
    assert found[0].reference == "b"


def _estimator(number: int) -> Estimator:
    return Estimator(np.array([f"message {n}" for n in range(number)]), 200, 0)
