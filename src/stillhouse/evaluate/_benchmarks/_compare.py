"""From scores of items to figures with intervals, the comparison with the base, and the verdict.

That a student is not inferior on all tasks at once needs no correction for their number: each task
would have to let it pass by mistake. That it is worse on one of many does; the verdict names how
many were tried.

Letters: N items.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from stillhouse.errors import DataError
from stillhouse.evaluate._benchmarks._results import BenchmarkComparison, BenchmarkResult
from stillhouse.evaluate._results import Estimate
from stillhouse.statistics import (
    Interval,
    PairedComparison,
    clustered_bootstrap,
    compare_paired,
    compare_paired_binary,
    wilson_interval,
)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Question:
    """How to compare: the tolerated loss and the seed of resamples."""

    margin: float
    seed: int


@dataclass(frozen=True)
class Scores:
    """One metric of one task, item by item.

    Attributes:
        task: Its name.
        version: The harness's version of it.
        metric: Its name.
        filter: How answers are taken out of completions.
        is_main: Whether it is the first that the task names.
        is_higher_better: Whether more is better.
        num_fewshot: Solved examples in front of each item.
        groups: What each item hangs together with; empty where each stands alone.
        student_N: The student's scores.
        base_N: Those of the base on the same items; None without a base.
    """

    task: str
    version: str
    metric: str
    filter: str
    is_main: bool
    is_higher_better: bool
    num_fewshot: int
    student_N: Floats
    base_N: Floats | None = None
    groups: tuple[str, ...] = field(default=())


def benchmark_result(
    scores: Scores, question: Question, *, names: Sequence[str]
) -> BenchmarkResult:
    """Figures of one metric, and the verdict where there is a base.

    Args:
        scores: Of all items.
        question: How to compare.
        names: What to call student and base.

    Raises:
        DataError: there are too few items for an interval, or a score is not finite.
    """
    comparison, note = None, ""
    if scores.base_N is not None:
        try:
            paired = _compared(scores, scores.base_N, question)
        except DataError as err:
            note = str(err)
        else:
            comparison = _record_of(paired, *names)
    return BenchmarkResult(
        task=scores.task,
        version=scores.version,
        metric=scores.metric,
        filter=scores.filter,
        is_main=scores.is_main,
        is_higher_better=scores.is_higher_better,
        num_fewshot=scores.num_fewshot,
        student=_mean(scores.student_N, scores.groups, question),
        base=None if scores.base_N is None else _mean(scores.base_N, scores.groups, question),
        comparison=comparison,
        note=note,
    )


def verdict_sentence(tasks: Sequence[BenchmarkResult], *, names: Sequence[str]) -> str:
    """What a run says in one sentence, resting on each task's main metric."""
    main = [task for task in tasks if task.is_main]
    student, *bases = names
    if not bases:
        shown = "; ".join(
            f"{one.task} {one.metric} {one.student.value:.3g} "
            f"[{one.student.low:.3g}, {one.student.high:.3g}], n = {one.student.n:,}"
            for one in main
        )
        return f"{student}: {shown}."
    undecided = [one for one in main if one.comparison is None]
    compared = [one.comparison for one in main if one.comparison is not None]
    worse = [one for one in main if one.comparison and one.comparison.verdict == "worse"]
    open_ = [one for one in main if one.comparison and one.comparison.verdict == "inconclusive"]
    of_all = f"of {len(main)} task{'s' * (len(main) != 1)}"
    if worse:
        return f"{student} forgot on {_named(worse)}, {len(worse)} {of_all}: {_said(worse)}"
    if open_ or undecided:
        unclear = [*open_, *undecided]
        return (
            f"What {student} forgot is open on {_named(unclear)}, {len(unclear)} {of_all}: "
            f"{_said(unclear)}"
        )
    margin = 100 * compared[0].margin
    ahead = sum(one.verdict == "better" for one in compared)
    return (
        f"{student} forgot no more than {margin:g} points against {bases[0]} on any {of_all}"
        f"{f', and is better on {ahead}' if ahead else ''}."
    )


def _named(tasks: Sequence[BenchmarkResult]) -> str:
    return ", ".join(one.task for one in tasks)


def _said(tasks: Sequence[BenchmarkResult]) -> str:
    first = tasks[0]
    return first.comparison.sentence if first.comparison else first.note


def _mean(scores_N: Floats, groups: Sequence[str], question: Question) -> Estimate:
    is_binary = bool(np.isin(scores_N, (0.0, 1.0)).all())
    if is_binary and not groups:
        interval = wilson_interval(int(scores_N.sum()), len(scores_N))
    else:
        interval = clustered_bootstrap(
            scores_N,
            np.ones(len(scores_N)),
            clusters=np.array(groups) if groups else np.arange(len(scores_N)),
            seed=question.seed,
        )
    return _estimate(interval)


def _compared(scores: Scores, base_N: Floats, question: Question) -> PairedComparison:
    clusters = np.array(scores.groups) if scores.groups else None
    both = np.concatenate([scores.student_N, base_N])
    if scores.is_higher_better and bool(np.isin(both, (0.0, 1.0)).all()):
        return compare_paired_binary(
            scores.student_N,
            base_N,
            margin=question.margin,
            clusters=clusters,
            seed=question.seed,
        )
    sign = 1.0 if scores.is_higher_better else -1.0
    return compare_paired(
        sign * scores.student_N,
        sign * base_N,
        margin=question.margin,
        clusters=clusters,
        seed=question.seed,
    )


def _record_of(paired: PairedComparison, student: str, base: str) -> BenchmarkComparison:
    return BenchmarkComparison(
        difference=_estimate(paired.difference),
        margin=paired.margin,
        verdict=paired.verdict,
        p_non_inferior=paired.p_non_inferior,
        p_superior=paired.p_superior,
        p_different=paired.p_different,
        discordance=paired.discordance,
        n_needed=paired.n_needed,
        sentence=paired.sentence(student, base),
    )


def _estimate(interval: Interval) -> Estimate:
    return Estimate(
        value=interval.value,
        low=interval.low,
        high=interval.high,
        n=interval.n,
        num_clusters=interval.num_clusters,
    )
