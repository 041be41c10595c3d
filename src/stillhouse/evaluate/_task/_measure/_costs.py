"""What answers cost, and from how many on a student has paid for itself, as estimates.

The formulas are those of the room `economics`.
"""

from stillhouse.economics import (
    TeacherCalls,
    break_even_volume,
    machine_usd,
    mean_cost,
    num_cores,
    whole_requests,
)
from stillhouse.evaluate._task._config import TaskEvaluateConfig
from stillhouse.evaluate._task._records import BreakEven, Latency, TaskEstimate

_PER_THOUSAND = 1_000


def teacher_cost(calls: TeacherCalls, config: TaskEvaluateConfig) -> TaskEstimate | None:
    """US dollars for 1,000 answers of the teacher; None where nobody knows."""
    if config.teacher_usd_per_1000 is not None:
        return _price(config.teacher_usd_per_1000)
    mean = mean_cost(calls, cores=num_cores(), usd_per_core_hour=config.usd_per_core_hour)
    if mean is None or calls.usd_N is None:
        return None
    ends = {name: _PER_THOUSAND * value for name, value in mean}
    number = len(calls.usd_N)
    return TaskEstimate(**ends, n=number, num_clusters=number, method="formula")


def student_cost(latency: Latency | None, config: TaskEvaluateConfig) -> TaskEstimate | None:
    """US dollars for 1,000 answers given one at a time, by the price of the cores that they take.

    None where the student was not timed.
    """
    if latency is None or latency.num_threads is None:
        return None
    price = config.usd_per_core_hour
    factor = machine_usd(_PER_THOUSAND, cores=latency.num_threads, usd_per_core_hour=price)
    mean = latency.mean_s
    ends = {name: factor * getattr(mean, name) for name in ("value", "low", "high")}
    return mean.model_copy(update=ends)


def training_cost(seconds: float, config: TaskEvaluateConfig) -> float:
    """US dollars for all cores of this machine for so long."""
    return machine_usd(seconds, cores=num_cores(), usd_per_core_hour=config.usd_per_core_hour)


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
    if calls.total_usd is None:
        return None
    return calls.total_usd + training_cost(calls.machine_seconds, config) + training_usd


def _requests(fixed_usd: float, saved_per_1000: float) -> int | None:
    return whole_requests(break_even_volume(fixed_usd, saved_per_1000 / _PER_THOUSAND))


def _price(usd: float) -> TaskEstimate:
    return TaskEstimate(value=usd, low=usd, high=usd, n=1, num_clusters=1, method="price")
