"""In words: what costs and times rest on, and what to know before believing figures."""

from collections.abc import Iterator, Sequence

from stillhouse.economics import TeacherCalls, num_cores
from stillhouse.evaluate._task._config import TaskEvaluateConfig
from stillhouse.evaluate._task._contamination import contamination_warnings
from stillhouse.evaluate._task._held_out import HeldOut
from stillhouse.evaluate._task._records import SystemResult
from stillhouse.evaluate._task._results import ContaminationFacts
from stillhouse.pages import fixed, money

_FEW = 100


def assumptions(
    config: TaskEvaluateConfig, calls: TeacherCalls, systems: Sequence[SystemResult]
) -> tuple[str, ...]:
    """What the costs and times rest on."""
    return tuple(_assumptions(config, calls, systems))


def warnings(
    held_out: HeldOut, contamination: ContaminationFacts, systems: Sequence[SystemResult]
) -> tuple[str, ...]:
    """What a reader should know first."""
    return (*contamination_warnings(contamination), *_warnings(held_out, systems))


def _assumptions(
    config: TaskEvaluateConfig, calls: TeacherCalls, systems: Sequence[SystemResult]
) -> Iterator[str]:
    price = money(config.usd_per_core_hour)
    yield (
        f"A core costs {price} an hour (usd_per_core_hour). A student's answer costs its mean time "
        "alone, times the cores that it may use, at that price; a server that waits costs as much "
        "and answers nothing."
    )
    if config.teacher_usd_per_1000 is not None:
        yield (
            f"1,000 answers of the teacher cost {money(config.teacher_usd_per_1000)}, as was given "
            "(teacher_usd_per_1000)."
        )
    elif calls.usd_N is None:
        yield "The price of the teacher's calls is not known; set teacher_usd_per_1000 to have one."
    else:
        yield f"The teacher costs what its {len(calls.usd_N):,} calls were logged to cost."
        if calls.machine_seconds:
            yield (
                f"It ran on a machine of yours for {calls.machine_seconds:,.0f} s, which count as "
                f"the {num_cores()} cores of this one at that price."
            )
    yield (
        "Spent before the first request are all calls of the teacher that the dataset comes from, "
        f"held-out messages included, and the student's training on all {num_cores()} cores of "
        "this machine. People's time is not in it."
    )
    threads = max((one.latency.num_threads or 0 for one in systems if one.latency), default=0)
    if threads:
        on = "one thread" if threads == 1 else f"up to {threads} threads"
        yield (
            f"Times are of this machine, on {on}, from text to answer, one message after another. "
            "Their intervals say nothing about other machines."
        )
    if any(one.latency and one.latency.is_logged for one in systems):
        yield (
            "The teacher's times are those of its logged calls, with network, queues and batches "
            "as they were."
        )


def _warnings(held_out: HeldOut, systems: Sequence[SystemResult]) -> Iterator[str]:
    number = len(held_out.rows)
    if held_out.num_groups < _FEW:
        what = "messages" if held_out.num_groups == number else "groups of messages"
        yield (
            f"Only {held_out.num_groups} held-out {what}: intervals are wide, and only large "
            "differences can be seen."
        )
    without = number - int(held_out.has_teacher_N.sum())
    if without:
        yield (
            f"The teacher gave no valid answer to {without:,} of {number:,} held-out messages "
            f"({fixed(100 * without / number, 1)} %). Agreement leaves them out; against right "
            "answers they count as wrong for the teacher."
        )
    for one in systems:
        invalid = sum(one.problems.values())
        if one.role == "student" and invalid:
            yield (
                f"{one.name} gave {invalid:,} answers that the task does not allow; they count as "
                "wrong."
            )
