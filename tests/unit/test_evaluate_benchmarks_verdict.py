"""Benchmarks' items to rows, figures with intervals, comparisons and the one sentence."""

import dataclasses
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stillhouse.errors import ConfigError, DataError, IntegrityError
from stillhouse.evaluate._benchmarks import read_benchmark_results
from stillhouse.evaluate._benchmarks._compare import (
    Question,
    Scores,
    benchmark_result,
    verdict_sentence,
)
from stillhouse.evaluate._benchmarks._results import BenchmarkResult, BenchmarkRow
from stillhouse.evaluate._benchmarks._rows import MetricFacts, paired_scores, rows_of_task
from stillhouse.statistics import compare_paired, compare_paired_binary, wilson_interval

QUESTION = Question(margin=0.02, seed=0)
NAMES = ("student", "base")


def sample(item: int, *, filter_name: str = "none", **metrics: Any) -> dict[str, Any]:
    return {
        "doc_id": item,
        "doc": {"text": f"text {item}", "page": item // 2},
        "doc_hash": f"hash {item}",
        "target": item % 2,
        "filter": filter_name,
        "filtered_resps": [[-1.5, False], [-2.0, True]],
        "metrics": list(metrics),
        **metrics,
    }


def test_each_metric_of_an_item_is_a_row() -> None:
    rows, not_scored = rows_of_task(
        "quiz",
        [sample(0, acc=1.0, f1=np.float64(0.5)), sample(1, acc=False, f1=0)],
        model="student",
        cluster_column="page",
    )
    assert not_scored == set()
    found = [(row.item, row.metric, row.score, row.group, row.target) for row in rows]
    assert found == [
        (0, "acc", 1.0, "0", "0"),
        (0, "f1", 0.5, "0", "0"),
        (1, "acc", 0.0, "0", "1"),
        (1, "f1", 0.0, "0", "1"),
    ]
    assert json.loads(rows[0].answer) == [[-1.5, False], [-2.0, True]]


def test_what_is_no_score_of_single_items_is_named_and_no_row() -> None:
    samples = [
        sample(0, acc=1.0, word_perplexity=(-3.0, 7), odd=1.0),
        sample(1, acc=1.0, word_perplexity=(-2.0, 4), odd=float("nan")),
    ]
    rows, not_scored = rows_of_task("quiz", samples, model="student", cluster_column=None)
    assert not_scored == {"word_perplexity", "odd"}
    assert [row.metric for row in rows] == ["acc", "acc"]


def test_a_column_of_clusters_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="columns page, text"):
        rows_of_task("quiz", [sample(0, acc=1.0)], model="student", cluster_column="passage")


FACTS = MetricFacts(
    task="quiz",
    version="1",
    metric="acc",
    filter="none",
    is_main=True,
    is_higher_better=True,
    num_fewshot=0,
)


def rows(*items: int, model: str = "student", scores: Sequence[float] = ()) -> list[BenchmarkRow]:
    found, _ = rows_of_task(
        "quiz",
        [
            sample(item, acc=score)
            for item, score in itertools.zip_longest(items, scores, fillvalue=1.0)
        ],
        model=model,
        cluster_column=None,
    )
    return found


def test_scores_of_two_models_meet_item_by_item() -> None:
    ours, theirs = rows(0, 1, 2, scores=[1, 0, 1]), rows(2, 0, 1, scores=[0, 1, 1])
    scores = paired_scores(FACTS, ours, theirs)
    assert scores.student_N.tolist() == [1, 0, 1]
    assert scores.base_N is not None
    assert scores.base_N.tolist() == [1, 1, 0]
    assert paired_scores(FACTS, ours, None).base_N is None


def test_models_that_were_asked_different_items_are_not_compared() -> None:
    with pytest.raises(DataError, match="different items of quiz"):
        paired_scores(FACTS, rows(0, 1), rows(0, 2))
    with pytest.raises(DataError, match="different items of quiz"):
        paired_scores(FACTS, rows(0, 1), rows(0))


def scores_of(student: Any, base: Any = None, **changes: Any) -> Scores:
    facts = FACTS.model_dump()
    return Scores(
        **{**facts, **changes},
        student_N=np.asarray(student, dtype=float),
        base_N=None if base is None else np.asarray(base, dtype=float),
    )


def right_or_wrong(n: int, lost: int, won: int) -> tuple[list[int], list[int]]:
    """Scores of student and base that differ on `lost` and `won` items, else right."""
    student = [0] * lost + [1] * (n - lost)
    base = [1] * lost + [0] * won + [1] * (n - lost - won)
    return student, base


def test_right_and_wrong_are_judged_by_the_exact_paired_methods() -> None:
    student, base = right_or_wrong(400, lost=3, won=5)
    result = benchmark_result(scores_of(student, base), QUESTION, names=NAMES)
    wanted = compare_paired_binary(student, base, margin=0.02)
    assert result.comparison is not None
    assert result.comparison.verdict == wanted.verdict == "non_inferior"
    assert result.comparison.difference.low == wanted.difference.low
    assert result.comparison.p_non_inferior == wanted.p_non_inferior
    interval = wilson_interval(397, 400)
    assert (result.student.value, result.student.low) == (interval.value, interval.low)
    assert result.student.n == 400


@pytest.mark.parametrize(
    ("lost", "won", "n", "verdict"),
    [
        (60, 2, 400, "worse"),
        (2, 60, 400, "better"),
        (3, 5, 400, "non_inferior"),
        (3, 2, 30, "inconclusive"),
    ],
)
def test_each_verdict_can_be_reached(lost: int, won: int, n: int, verdict: str) -> None:
    result = benchmark_result(scores_of(*right_or_wrong(n, lost, won)), QUESTION, names=NAMES)
    assert result.comparison is not None
    assert result.comparison.verdict == verdict


def test_graded_scores_are_judged_by_the_paired_bootstrap() -> None:
    rng = np.random.default_rng(4)
    base = rng.random(80)
    student = np.clip(base + rng.normal(0, 0.03, 80), 0, 1)
    result = benchmark_result(scores_of(student, base), QUESTION, names=NAMES)
    wanted = compare_paired(student, base, margin=0.02)
    assert result.comparison is not None
    assert result.comparison.difference.low == pytest.approx(wanted.difference.low)
    assert result.comparison.discordance is None


def test_a_loss_is_turned_so_that_more_is_better() -> None:
    rng = np.random.default_rng(5)
    base = rng.random(200) + 2
    student = base - 0.5 + rng.normal(0, 0.1, 200)  # a lower loss
    result = benchmark_result(
        scores_of(student, base, is_higher_better=False), QUESTION, names=NAMES
    )
    assert result.comparison is not None
    assert result.comparison.verdict == "better"
    assert result.comparison.difference.value == pytest.approx(0.5, abs=0.05)
    assert result.student.value == pytest.approx(student.mean())


def test_items_that_hang_together_count_as_one() -> None:
    student, base = right_or_wrong(400, lost=12, won=10)
    groups = tuple(str(index // 20) for index in range(400))
    together = benchmark_result(
        dataclasses.replace(scores_of(student, base), groups=groups), QUESTION, names=NAMES
    )
    apart = benchmark_result(scores_of(student, base), QUESTION, names=NAMES)
    assert together.student.num_clusters == 20
    assert together.comparison is not None
    assert apart.comparison is not None
    assert together.comparison.difference.num_clusters == 20
    width = together.comparison.difference.high - together.comparison.difference.low
    assert width > apart.comparison.difference.high - apart.comparison.difference.low


def test_too_few_items_give_a_note_or_an_error_and_no_number() -> None:
    result = benchmark_result(scores_of([0.5, 0.2, 0.3], [0.5, 0.1, 0.4]), QUESTION, names=NAMES)
    assert result.comparison is None
    assert "too few" in result.note
    with pytest.raises(DataError):
        benchmark_result(scores_of([0.5]), QUESTION, names=NAMES)
    with pytest.raises((DataError, ConfigError)):
        benchmark_result(scores_of([]), QUESTION, names=NAMES)


def judged(task: str, lost: int, won: int, n: int, *, is_main: bool = True) -> BenchmarkResult:
    return benchmark_result(
        scores_of(*right_or_wrong(n, lost, won), task=task, is_main=is_main), QUESTION, names=NAMES
    )


def test_the_sentence_says_the_worst_that_was_found() -> None:
    good, lost = judged("quiz", 3, 5, 400), judged("maths", 60, 2, 400)
    unclear = judged("small", 3, 2, 30)
    assert verdict_sentence([good], names=NAMES) == (
        "student forgot no more than 2 points against base on any of 1 task."
    )
    both = verdict_sentence([good, judged("maths", 2, 60, 400)], names=NAMES)
    assert both.endswith("on any of 2 tasks, and is better on 1.")
    assert verdict_sentence([good, lost, unclear], names=NAMES).startswith(
        "student forgot on maths, 1 of 3 tasks: student is worse than base ("
    )
    assert verdict_sentence([good, unclear], names=NAMES).startswith(
        "What student forgot is open on small, 1 of 2 tasks: It is open whether"
    )
    ignored = judged("maths", 60, 2, 400, is_main=False)
    assert "no more than 2 points" in verdict_sentence([good, ignored], names=NAMES)


def test_a_task_that_cannot_be_compared_leaves_the_verdict_open() -> None:
    few = benchmark_result(
        scores_of([0.5, 0.2, 0.3], [0.5, 0.1, 0.4], task="few"), QUESTION, names=NAMES
    )
    sentence = verdict_sentence([judged("quiz", 3, 5, 400), few], names=NAMES)
    assert sentence.startswith("What student forgot is open on few, 1 of 2 tasks: 3 clusters")


def test_without_a_base_the_sentence_gives_figures() -> None:
    result = benchmark_result(scores_of([1, 0, 1, 1]), QUESTION, names=NAMES[:1])
    assert verdict_sentence([result], names=NAMES[:1]).startswith("student: quiz acc 0.75 [0.3")


@pytest.mark.parametrize("text", ["", "{", "{}", '{"schema_version": 2}', "[]"])
def test_damaged_results_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(IntegrityError, match="run them again"):
        read_benchmark_results(path)
    with pytest.raises(IntegrityError, match="cannot be read"):
        read_benchmark_results(tmp_path / "none.json")
