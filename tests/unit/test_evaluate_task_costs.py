"""What answers cost, what they take, and when a student has paid for itself: worked by hand."""

from collections.abc import Sequence
from pathlib import Path

import evaluate_task_cases as cases
import pytest
from task_cases import collected, completion, prompt

from stillhouse.answers import Given, Question
from stillhouse.artifacts import open_artifact
from stillhouse.collect import CollectConfig, collect
from stillhouse.economics import TeacherCalls, logged_calls
from stillhouse.evaluate._task import TaskEvaluateConfig
from stillhouse.evaluate._task._measure._costs import (
    break_even,
    fixed_cost,
    student_cost,
    teacher_cost,
)
from stillhouse.evaluate._task._measure._timing import (
    answer_in_batches,
    latency_of,
    throughput_of,
    time_alone,
)
from stillhouse.evaluate._task._records import TaskEstimate
from stillhouse.records import Usage

CONFIG = TaskEvaluateConfig(usd_per_core_hour=0.36)


def usd(value: float, half: float = 0.0) -> TaskEstimate:
    return TaskEstimate(
        value=value, low=value - half, high=value + half, n=9, num_clusters=9, method="bootstrap"
    )


def test_a_students_answers_cost_their_time_on_all_the_cores_they_may_use() -> None:
    latency = latency_of([0.01] * 100, num_threads=2, is_logged=False)
    found = student_cost(latency, CONFIG)
    assert found is not None
    # 1,000 answers x 0.01 s x 2 cores = 20 core-seconds at 0.36 / 3,600 = 0.0001 dollars each
    assert found.value == pytest.approx(0.002)
    assert student_cost(None, CONFIG) is None


def test_the_teachers_price_is_what_was_logged_or_given_or_unknown() -> None:
    logged = TeacherCalls((0.001, 0.003), (), 0.004, 2)
    found = teacher_cost(logged, CONFIG)
    assert found is not None
    assert (found.value, found.n, found.method) == (2.0, 2, "formula")
    given = teacher_cost(logged, TaskEvaluateConfig(teacher_usd_per_1000=5.0))
    assert given is not None
    assert (given.value, given.method) == (5.0, "price")
    assert teacher_cost(TeacherCalls(None, (), None, 2), CONFIG) is None


def test_a_call_counts_once_though_it_was_split_or_replayed(tmp_path: Path) -> None:
    asked = [prompt(f"p{number}") for number in range(3)]
    paid = Usage(cost_usd=0.002, seconds=0.5)
    answers = [completion(one, "red", usage=paid) for one in asked]
    whole = collected(tmp_path / "whole", asked, answers)
    part = collected(tmp_path / "part", asked[:2], answers[:2])
    again = collect(asked, tmp_path / "again", teacher=f"replay:{whole}", config=CollectConfig())
    found = logged_calls([open_artifact(whole), open_artifact(part), again])
    assert (found.num_calls, found.usd_N) == (3, (0.002,) * 3)
    assert found.seconds_N == (0.5,) * 3
    assert found.total_usd == pytest.approx(0.006)


def test_a_student_pays_back_when_savings_reach_what_was_spent() -> None:
    found = break_even(3.0, usd(2.0, 0.5), usd(0.5, 0.1))
    assert found is not None
    assert found.requests == 2_000
    assert found.requests_low == 1_429  # 3 / (2.5 - 0.4) x 1,000, rounded up
    assert found.requests_high == 3_334  # 3 / (1.5 - 0.6) x 1,000 = 3,333.3 with rounding up


def test_a_student_that_is_no_cheaper_never_pays_back() -> None:
    found = break_even(3.0, usd(1.0, 0.2), usd(1.0))
    assert found is not None
    assert found.requests is None
    assert found.requests_low == 15_000
    assert found.requests_high is None


def test_an_unknown_price_gives_no_break_even() -> None:
    assert break_even(None, usd(1.0), usd(0.1)) is None
    assert break_even(1.0, None, usd(0.1)) is None
    assert fixed_cost(TeacherCalls(None, (), None, 4), 1.0, CONFIG) is None
    priced = TaskEvaluateConfig(teacher_usd_per_1000=5.0)
    assert fixed_cost(TeacherCalls(None, (), None, 4_000), 1.0, priced) == 21.0


class Clock:
    """A clock that each answer moves on."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.asked: list[list[str]] = []

    def __call__(self) -> float:
        return self.now_s

    def answer(self, questions: Sequence[Question]) -> list[Given]:
        self.asked.append([one.text for one in questions])
        # The first calls are slow, as those of a cold model are.
        self.now_s += 0.5 if len(self.asked) <= 5 else 0.001 * len(questions)
        return [Given("a") for _ in questions]


QUESTIONS = [Question(f"q{n}") for n in range(7)]


def test_single_messages_are_timed_after_a_warm_up() -> None:
    clock = Clock()
    times = time_alone(clock, QUESTIONS, 30, clock=clock)
    assert times == pytest.approx([0.001] * 30)
    assert len(clock.asked) == 50
    assert {len(one) for one in clock.asked} == {1}


def test_batches_hold_all_messages_once_and_the_load_is_not_timed() -> None:
    clock = Clock()
    told: list[int] = []
    given, batches = answer_in_batches(clock, QUESTIONS, 3, on_batch=told.append, clock=clock)
    assert len(given) == 7
    assert [number for number, _ in batches] == told == [3, 3, 1]
    assert clock.asked[0] == ["q0"]


def test_throughput_is_over_full_batches_and_needs_five() -> None:
    found = throughput_of([(10, 0.1), (10, 0.2), (10, 0.1), (10, 0.2), (10, 0.4), (3, 9.0)], 0)
    assert found is not None
    assert (found.value, found.n) == (pytest.approx(50.0), 5)
    assert throughput_of([(10, 0.1)] * 4, 0) is None


def test_few_times_are_no_latency() -> None:
    assert latency_of([0.1] * 9, num_threads=1, is_logged=False) is None
    few = latency_of([0.1 + n / 100 for n in range(20)], num_threads=1, is_logged=False)
    assert few is not None
    assert few.p95_s is None


def test_a_free_teacher_is_free_and_not_unknown() -> None:
    held_out = cases.labelled(60)
    systems = [cases.measured(held_out, cases.answers_like(held_out, 0.9, seed=1), name="s")]
    free = TeacherCalls((0.0,) * 50, (), 0.0, 50)
    results = cases.conclusions(held_out, systems, teacher_calls=free)
    teacher = results.teacher.usd_per_1000
    assert teacher is not None
    assert teacher.value == 0.0
    assert results.break_even["s"].requests is None


def test_the_page_never_shows_an_unknown_price_as_nothing(tmp_path: Path) -> None:
    held_out = cases.labelled(60)
    systems = [cases.measured(held_out, cases.answers_like(held_out, 0.9, seed=1), name="s")]
    unknown = TeacherCalls(None, (), None, 50)
    results = cases.conclusions(held_out, systems, teacher_calls=unknown)
    assert results.break_even == {}
    assert "teacher: price unknown" in cases.page(results)
