"""What answers cost, and from how many on a student has paid for itself.

Letters: N calls.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stillhouse.artifacts import Artifact
from stillhouse.evaluate._task._config import TaskEvaluateConfig
from stillhouse.evaluate._task._measure._estimates import mean_of_calls
from stillhouse.evaluate._task._records import BreakEven, Latency, TaskEstimate
from stillhouse.records import Completion

_SECONDS_PER_HOUR = 3_600
_PER_THOUSAND = 1_000


@dataclass(frozen=True)
class TeacherCalls:
    """What the teacher's calls for a dataset were logged to cost.

    Attributes:
        usd_N: Of each call that answered; None where a price is unknown.
        seconds_N: Of each call that has a time.
        total_usd: Of all calls together; None where a price is unknown.
        num_calls: All of them.
    """

    usd_N: tuple[float, ...] | None
    seconds_N: tuple[float, ...]
    total_usd: float | None
    num_calls: int


def logged_calls(completions: Sequence[Artifact]) -> TeacherCalls:
    """The calls behind the completions that a dataset was made from.

    Each counts once, though completions that were split or replayed hold it again.
    """
    completions = [artifact for artifact in completions if not _is_replayed(artifact)]
    costs: list[float | None] = []
    seconds: list[float] = []
    known: set[str] = set()
    for artifact in completions:
        for completion in artifact.rows("completions", Completion):
            if completion.error is None and completion.request_id not in known:
                known.add(completion.request_id)
                costs.append(completion.usage.cost_usd)
                seconds.append(completion.usage.seconds)
    usd_N = _all_known(costs)
    total = _all_known([artifact.manifest.usage.cost_usd for artifact in completions])
    if total is None:  # imported calls have prices of their own, and no stage that spent them
        total = usd_N
    return TeacherCalls(
        usd_N=usd_N,
        seconds_N=tuple(second for second in seconds if second > 0),
        total_usd=None if total is None else sum(total),
        num_calls=len(costs),
    )


def _is_replayed(completions: Artifact) -> bool:
    """Whether nobody was called: the answers are those of completions that it was made from."""
    teacher = completions.manifest.teacher
    return teacher is not None and teacher.provider == "replay"


def _all_known(costs: Sequence[float | None]) -> tuple[float, ...] | None:
    known = tuple(cost for cost in costs if cost is not None)
    return known if known and len(known) == len(costs) else None


def teacher_cost(calls: TeacherCalls, config: TaskEvaluateConfig) -> TaskEstimate | None:
    """US dollars for 1,000 answers of the teacher; None where nobody knows."""
    if config.teacher_usd_per_1000 is not None:
        return _price(config.teacher_usd_per_1000)
    if calls.usd_N is None or len(calls.usd_N) < 2:
        return None
    return mean_of_calls(np.array(calls.usd_N) * _PER_THOUSAND)


def student_cost(latency: Latency | None, config: TaskEvaluateConfig) -> TaskEstimate | None:
    """US dollars for 1,000 answers given one at a time, by the price of the cores that they take.

    None where the student was not timed.
    """
    if latency is None or latency.num_threads is None:
        return None
    factor = latency.num_threads * config.usd_per_core_hour / _SECONDS_PER_HOUR * _PER_THOUSAND
    mean = latency.mean_s
    ends = {name: factor * getattr(mean, name) for name in ("value", "low", "high")}
    return mean.model_copy(update=ends)


def training_cost(seconds: float, config: TaskEvaluateConfig) -> float:
    """US dollars for all cores of this machine for so long."""
    return seconds * num_cores() * config.usd_per_core_hour / _SECONDS_PER_HOUR


def num_cores() -> int:
    """Cores of this machine, which a training is taken to have had to itself."""
    return os.cpu_count() or 1


def break_even(
    fixed_usd: float | None, teacher: TaskEstimate | None, student: TaskEstimate | None
) -> BreakEven | None:
    """From how many requests on the student has saved what it cost; None where a cost is unknown.

    Args:
        fixed_usd: Spent before the first request.
        teacher: Cost of 1,000 answers.
        student: The same.
    """
    if fixed_usd is None or teacher is None or student is None:
        return None
    return BreakEven(
        fixed_usd=fixed_usd,
        teacher_usd_per_1000=teacher.value,
        student_usd_per_1000=student.value,
        requests=_requests(fixed_usd, teacher.value - student.value),
        requests_low=_requests(fixed_usd, teacher.high - student.low),
        requests_high=_requests(fixed_usd, teacher.low - student.high),
    )


def fixed_cost(
    calls: TeacherCalls, training_usd: float, config: TaskEvaluateConfig
) -> float | None:
    """What was spent before the first request: the teacher's answers, and the training.

    None where the teacher's calls have no known price.
    """
    if config.teacher_usd_per_1000 is not None:
        return calls.num_calls * config.teacher_usd_per_1000 / _PER_THOUSAND + training_usd
    return None if calls.total_usd is None else calls.total_usd + training_usd


def _requests(fixed_usd: float, saved_per_1000: float) -> int | None:
    if saved_per_1000 <= 0:
        return None
    # A hair less, so that 3 / 0.2 is 15 in binary too.
    return math.ceil(fixed_usd / saved_per_1000 * _PER_THOUSAND * (1 - 1e-12))


def _price(usd: float) -> TaskEstimate:
    return TaskEstimate(value=usd, low=usd, high=usd, n=1, num_clusters=1, method="price")
