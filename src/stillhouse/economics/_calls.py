"""What the teacher's calls behind a dataset were logged to cost and to take.

Letters: N calls.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stillhouse.artifacts import Artifact
from stillhouse.economics._range import Range, exactly
from stillhouse.records import Completion
from stillhouse.statistics import paired_means

_SECONDS_PER_HOUR = 3_600
_CONFIDENCE = 0.95
_ON_OWN_MACHINES = ("local", "gguf")


@dataclass(frozen=True)
class TeacherCalls:
    """What the teacher's calls for a dataset were logged to cost.

    Attributes:
        usd_N: Of each call that answered; None where a price is unknown.
        seconds_N: Of each call that has a time.
        total_usd: Of all calls together; None where a price is unknown.
        num_calls: All of them.
        machine_seconds: Time of stages whose teacher ran on the maker's own machine, where nothing
            is paid for a call and the machine still costs.
        prompt_tokens: Read for those that answered, as far as logged.
        completion_tokens: Written for them.
    """

    usd_N: tuple[float, ...] | None
    seconds_N: tuple[float, ...]
    total_usd: float | None
    num_calls: int
    machine_seconds: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0


def logged_calls(completions: Sequence[Artifact]) -> TeacherCalls:
    """The calls behind the completions that a dataset was made from.

    Each counts once, though completions that were split or replayed hold it again.
    """
    completions = [artifact for artifact in completions if _provider(artifact) != "replay"]
    costs: list[float | None] = []
    seconds: list[float] = []
    tokens = np.zeros(2, dtype=np.int64)
    known: set[str] = set()
    for artifact in completions:
        for completion in artifact.rows("completions", Completion):
            if completion.error is None and completion.request_id not in known:
                known.add(completion.request_id)
                costs.append(completion.usage.cost_usd)
                seconds.append(completion.usage.seconds)
                tokens += (completion.usage.prompt_tokens, completion.usage.completion_tokens)
    usd_N = _all_known(costs)
    total = _all_known([artifact.manifest.usage.cost_usd for artifact in completions])
    if total is None:  # imported calls have prices of their own, and no stage that spent them
        total = usd_N
    own = [one for one in completions if _provider(one) in _ON_OWN_MACHINES]
    return TeacherCalls(
        usd_N=usd_N,
        seconds_N=tuple(second for second in seconds if second > 0),
        total_usd=None if total is None else sum(total),
        num_calls=len(costs),
        machine_seconds=sum(one.manifest.usage.seconds for one in own),
        prompt_tokens=int(tokens[0]),
        completion_tokens=int(tokens[1]),
    )


def machine_usd(seconds: float, *, cores: int, usd_per_core_hour: float) -> float:
    """US dollars for so many cores for so long."""
    return seconds * cores * usd_per_core_hour / _SECONDS_PER_HOUR


def num_cores() -> int:
    """Cores of this machine, which a stage is taken to have had to itself."""
    return os.cpu_count() or 1


def mean_cost(calls: TeacherCalls, *, cores: int, usd_per_core_hour: float) -> Range | None:
    """The mean price of one logged call, with its 95 % t interval.

    A teacher on the maker's own machine costs its share of the machine's time.

    Returns:
        None where a price is unknown, or fewer than two calls were logged.
    """
    if calls.usd_N is None or len(calls.usd_N) < 2:
        return None
    paid = mean_of(calls.usd_N)
    machine = machine_usd(calls.machine_seconds, cores=cores, usd_per_core_hour=usd_per_core_hour)
    own = machine / calls.num_calls
    return Range(value=paid.value + own, low=paid.low + own, high=paid.high + own)


def mean_of(values_N: Sequence[float]) -> Range:
    """The mean of two or more numbers of 0 or more, with its 95 % t interval, cut at 0."""
    found = paired_means(np.asarray(values_N), np.zeros(len(values_N))).interval(_CONFIDENCE)
    if found.low == found.high:
        return exactly(found.value)
    return Range(value=found.value, low=max(found.low, 0.0), high=found.high)


def _provider(completions: Artifact) -> str:
    """Who was asked; `replay` where nobody was: the answers are those that it was made from."""
    teacher = completions.manifest.teacher
    return "" if teacher is None else teacher.provider


def _all_known(costs: Sequence[float | None]) -> tuple[float, ...] | None:
    known = tuple(cost for cost in costs if cost is not None)
    return known if known and len(known) == len(costs) else None
