"""One sentence on top, which never says more than the interval."""

from typing import Any

import pytest

from stillhouse.evaluate._task._records import TaskComparison, TaskEstimate
from stillhouse.evaluate._task._results import TaskFacts
from stillhouse.evaluate._task._verdict import Found, difference_words, verdict_sentence

FACTS = TaskFacts(name="t", kind="classification", grader="label", is_binary=True, margin=0.02)


def estimate(value: float, half: float = 0.015, n: int = 3_075) -> TaskEstimate:
    return TaskEstimate(
        value=value, low=value - half, high=value + half, n=n, num_clusters=n, method="wilson"
    )


def comparison(verdict: str, difference: TaskEstimate, **changes: Any) -> TaskComparison:
    settings: dict[str, Any] = {
        "family": "teacher", "metric": "gold", "a": "s", "b": "teacher",
        "difference": difference, "margin": 0.02, "verdict": verdict, "verdict_alone": verdict,
        "p_non_inferior": 0.5, "p_superior": 0.5, "p_different": 0.5,
        "p_non_inferior_holm": 0.5, "p_superior_holm": 0.5, "p_different_holm": 0.5,
    }  # fmt: skip
    return TaskComparison(**(settings | changes))


def sentence(verdict: str, difference: TaskEstimate, **changes: Any) -> str:
    settings: dict[str, Any] = {
        "student": "minilm", "task": FACTS, "agreement": estimate(0.901, 0.0105),
        "scores": (estimate(0.761), estimate(0.758)),
        "against_teacher": comparison(verdict, difference, n_needed=changes.pop("n_needed", None)),
        "latency_s": 0.00187,
    }  # fmt: skip
    return verdict_sentence(Found(**(settings | changes)))


def test_a_non_inferior_student_is_called_that_with_margin_and_interval() -> None:
    said = sentence("non_inferior", estimate(0.003, 0.012))
    assert said == (
        "minilm is not inferior to the teacher at a margin of 2 points: right on 76.1 % of 3,075 "
        "held-out messages against 75.8 % (difference +0.3 points, 95 % interval \N{MINUS SIGN}0.9 "
        "to +1.5); it gives the teacher's answer on 90.1 % of the messages; one answer takes "
        "1.9 ms."
    )


def test_an_open_question_is_not_a_claim() -> None:
    said = sentence("inconclusive", estimate(-0.01, 0.03), n_needed=4_113)
    assert said.startswith("Not proven that minilm is within 2 points of the teacher")
    assert "about n = 4,120 would settle it" in said
    beyond = sentence("inconclusive", estimate(-0.03, 0.04))
    assert "more messages would not show it" in beyond
    for claimed in ("not inferior", "better than", "worse than"):
        assert claimed not in said


@pytest.mark.parametrize("verdict", ["better", "worse"])
def test_better_and_worse_are_said_plainly(verdict: str) -> None:
    said = sentence(verdict, estimate(0.05 if verdict == "better" else -0.05, 0.01))
    assert said.startswith(f"minilm is {verdict} than the teacher")


def test_without_right_answers_nothing_is_said_about_being_right() -> None:
    said = verdict_sentence(Found(student="minilm", task=FACTS, agreement=estimate(0.9, 0.01)))
    assert said == (
        "minilm gives the teacher's answer on 90.0 % of 3,075 held-out messages (95 % interval "
        "89.0 to 91.0 %); whether either is right is not known, as there are no right answers."
    )


def test_the_teachers_own_consistency_is_the_yardstick_without_right_answers() -> None:
    itself = comparison("non_inferior", estimate(0.001, 0.01), family="self_agreement")
    said = verdict_sentence(
        Found(
            student="student-a",
            task=FACTS,
            agreement=estimate(0.9, 0.01),
            against_itself=itself,
        )
    )
    assert said.startswith("The student-a gives")
    assert "as often as the teacher gives an answer of its own again, within 2 points" in said


def test_contaminated_figures_say_so_in_the_same_breath() -> None:
    said = sentence("non_inferior", estimate(0.003, 0.012), num_seen=120)
    assert said.endswith("120 of the messages were in its training data, which flatters it.")


def test_graded_scores_are_scores_and_not_fractions_of_messages() -> None:
    graded = FACTS.model_copy(update={"kind": "text", "grader": "text", "is_binary": False})
    said = sentence("non_inferior", estimate(0.003, 0.012), task=graded)
    assert "it scores 76.1 % on 3,075 held-out messages against 75.8 %" in said
    assert "agrees with the teacher to 90.1 % by the text score" in said
    assert "right on" not in said


def test_differences_carry_their_sign_and_no_false_digits() -> None:
    assert difference_words(comparison("worse", estimate(-0.031, 0.004))) == (
        "difference \N{MINUS SIGN}3.1 points, 95 % interval \N{MINUS SIGN}3.5 to \N{MINUS SIGN}2.7"
    )
