"""Verdicts that hold for a whole family, and the choice that held-out messages have no say in."""

from typing import Any

import evaluate_task_cases as cases
import numpy as np
import pytest

from stillhouse.evaluate._task._choice import choose
from stillhouse.evaluate._task._measure._compare import Comparer, Pair, corrected_verdict
from stillhouse.evaluate._task._records import SystemResult, TaskEstimate
from stillhouse.statistics import Interval, PairedComparison


def comparer(number: int, *, margin: float = 0.02, is_binary: bool = True) -> Comparer:
    clusters = np.array([f"message {place}" for place in range(number)])
    return Comparer(clusters, margin, is_binary, seed=0)


def scores(right: int, number: int, *, start: int = 0) -> Any:
    return np.isin(np.arange(number), (np.arange(right) + start) % number).astype(np.float64)


def test_a_family_is_corrected_and_a_single_comparison_is_not() -> None:
    number = 400
    pairs = [
        Pair("a", f"b{n}", scores(320, number), scores(300, number, start=n)) for n in range(12)
    ]
    together = comparer(number).family("students", "gold", pairs)
    (alone,) = comparer(number).family("students", "gold", pairs[:1])
    assert alone.p_different_holm == alone.p_different
    assert alone.verdict == alone.verdict_alone
    p_values = sorted(one.p_different for one in together)
    adjusted = sorted(one.p_different_holm for one in together)
    assert adjusted[0] == pytest.approx(min(1.0, 12 * p_values[0]))


def test_what_does_not_stand_among_others_becomes_the_weaker_claim() -> None:
    alone = PairedComparison(
        difference=Interval(0.02, 0.001, 0.04, 500, 500),
        margin=0.02,
        verdict="better",
        p_non_inferior=0.0001,
        p_superior=0.02,
        p_different=0.04,
        n_needed=None,
        discordance=0.1,
    )
    assert corrected_verdict(alone, 0.0001, 0.02, 0.04) == "better"
    assert corrected_verdict(alone, 0.0012, 0.24, 0.48) == "non_inferior"
    assert corrected_verdict(alone, 0.06, 0.24, 0.48) == "inconclusive"


def test_no_correction_makes_a_claim_stronger() -> None:
    alone = PairedComparison(
        difference=Interval(-0.03, -0.05, -0.01, 500, 500),
        margin=0.02,
        verdict="worse",
        p_non_inferior=0.9,
        p_superior=0.99,
        p_different=0.01,
        n_needed=None,
        discordance=0.1,
    )
    assert corrected_verdict(alone, 0.001, 0.001, 0.01) == "worse"
    assert corrected_verdict(alone, 1.0, 1.0, 0.12) == "inconclusive"


def test_messages_that_one_of_both_has_no_score_on_are_left_out() -> None:
    a_N, b_N = scores(30, 40), scores(20, 40)
    a_N[0], b_N[39] = np.nan, np.nan
    (found,) = comparer(40).family("teacher", "gold", [Pair("a", "b", a_N, b_N)])
    assert found.difference.n == 38
    assert found.difference.method == "score"


def test_equal_scores_of_few_messages_are_inconclusive_with_what_is_needed() -> None:
    pair = Pair("a", "b", scores(60, 80), scores(60, 80, start=4))
    (found,) = comparer(80).family("teacher", "gold", [pair])
    assert found.verdict == "inconclusive"
    assert found.n_needed is not None
    assert found.n_needed > 500


def test_the_non_inferiority_claim_of_a_family_errs_as_seldom_as_it_says() -> None:
    """Six students that are worse by the margin: any of them passes in at most 2.5 % of cases."""
    generator = np.random.default_rng(0)
    one = comparer(300, margin=0.05)
    passed = 0
    for _ in range(300):
        teacher = (generator.random(300) < 0.80).astype(float)
        pairs = [
            Pair(f"s{n}", "t", (generator.random(300) < 0.75).astype(float), teacher)
            for n in range(6)
        ]
        found = one.family("teacher", "gold", pairs)
        passed += any(each.verdict in ("better", "non_inferior") for each in found)
    assert passed <= 15  # 7.5 expected; 15 has a chance of 1 %


def student(
    name: str, *, validation: float | None, usd: float | None = 0.01, num_bytes: int = 1_000
) -> SystemResult:
    rate = TaskEstimate(value=0.8, low=0.7, high=0.9, n=50, num_clusters=50, method="wilson")
    cost = None
    if usd is not None:
        cost = rate.model_copy(update={"value": usd, "low": usd, "high": usd})
    return SystemResult(
        name=name,
        role="student",
        answered_by="classifier",
        agreement=rate,
        gold=None,
        valid=rate,
        num_bytes=num_bytes,
        usd_per_1000=cost,
        validation=None if validation is None else cases.validation(validation),
    )


def test_the_cheapest_that_validation_rows_show_to_be_no_worse_is_chosen() -> None:
    students = [
        student("large", validation=0.92, usd=0.9),
        student("middle", validation=0.915, usd=0.1),
        student("small", validation=0.88, usd=0.001),
    ]
    rows = cases.set_aside({"large": 0.92, "middle": 0.915, "small": 0.88})
    found = choose(students, rows, margin=0.02)
    assert (found.student, found.best) == ("middle", "large")
    assert "within 2 points" in found.rule
    assert choose(students, rows, margin=0.1).student == "small"


def test_few_validation_rows_show_nothing_so_the_best_is_chosen() -> None:
    students = [student("large", validation=0.92, usd=0.9), student("small", validation=0.92)]
    for number in (10, 60):
        rows = cases.set_aside({"large": 0.92, "small": 0.80}, number=number)
        assert choose(students, rows, margin=0.02).student == "large"
    assert choose(students, {}, margin=0.02).student == "large"


def test_without_times_the_smallest_is_chosen() -> None:
    students = [
        student("a", validation=0.9, usd=None, num_bytes=10),
        student("b", validation=0.9, num_bytes=20),
    ]
    rows = cases.set_aside({"a": 0.9, "b": 0.9})
    assert choose(students[::-1], rows, margin=0.02).student == "a"


def test_without_validation_nothing_is_chosen_and_the_rule_says_why() -> None:
    students = [student("a", validation=None), student("b", validation=None, usd=0.0001)]
    found = choose(students, {}, margin=0.02)
    assert (found.student, found.best) == ("a", None)
    assert "nothing to choose by" in found.rule
    assert choose(students[:1], {}, margin=0.02).rule == "It is the only student."


def test_a_student_without_validation_is_left_out_of_the_choice_and_named() -> None:
    students = [student("a", validation=None, usd=0.0), student("b", validation=0.9)]
    found = choose(students, {}, margin=0.02)
    assert (found.student, found.best) == ("b", "b")
    assert "a could not be chosen" in found.rule


def test_a_student_that_was_asked_for_beforehand_is_not_chosen_but_taken() -> None:
    students = [student("a", validation=0.5), student("b", validation=0.9)]
    found = choose(students, {}, margin=0.02, wanted="a")
    assert (found.student, found.best) == ("a", None)
    assert "asked for beforehand" in found.rule


def test_held_out_messages_have_no_say_in_the_choice() -> None:
    better = student("a", validation=0.9, usd=2.0)
    rate = better.valid.model_copy(update={"value": 0.99, "high": 1.0})
    lucky = student("b", validation=0.8).model_copy(update={"agreement": rate, "gold": rate})
    rows = cases.set_aside({"a": 0.9, "b": 0.8})
    assert choose([better, lucky], rows, margin=0.02).student == "a"


def test_the_recommended_students_comparison_with_the_teacher_stands_alone() -> None:
    held_out = cases.labelled(400)
    systems = [
        cases.measured(
            held_out,
            cases.answers_like(held_out, share, seed=n),
            name=f"s{n}",
            validation=cases.validation(share),
        )
        for n, share in enumerate((0.95, 0.9, 0.85))
    ]
    results = cases.conclusions(held_out, systems)
    against = [one for one in results.comparisons if one.family == "teacher"]
    assert against[0].a == results.student.name
    assert against[0].p_non_inferior_holm == against[0].p_non_inferior
    others = against[1:]
    assert max(one.p_non_inferior_holm - one.p_non_inferior for one in others) > 0
