"""The numbers to remember."""

from stillhouse.evaluate._task._records import TaskEstimate
from stillhouse.evaluate._task._report._words import (
    NBSP,
    dollars,
    milliseconds,
    multiple,
    share,
    share_interval,
)
from stillhouse.evaluate._task._results import TaskResults
from stillhouse.pages import Tile, duration, parameters, significant, size


def tiles(results: TaskResults) -> list[Tile]:
    """Those of the recommended student; what was not measured has no tile."""
    found = [
        _gold_tile(results),
        _agreement_tile(results),
        _time_tile(results),
        _size_tile(results),
        _cost_tile(results),
    ]
    return [one for one in found if one is not None]


def paying_tiles(results: TaskResults) -> tuple[Tile, ...]:
    """Who pays, in four figures of the recommended student; what is unknown says so."""
    student, even = results.student, results.break_even.get(results.student.name)
    calls = None
    if even is not None:
        calls = max(even.fixed_usd - (student.training_usd or 0.0), 0.0)
    spent = Tile(
        "The teacher's answers so far",
        "unknown" if calls is None else dollars(calls),
        (f"{results.counts.teacher_answers:,} answers",),
    )
    trained = "unknown" if student.training_usd is None else dollars(student.training_usd)
    seconds = student.training_seconds
    training = Tile("Training", trained, () if seconds is None else (duration(seconds),))
    mine, theirs = student.usd_per_1000, results.teacher.usd_per_1000
    answers = Tile(
        "1,000 answers",
        "unknown" if mine is None else dollars(mine.value),
        (f"of the teacher {'unknown' if theirs is None else dollars(theirs.value)}",),
    )
    if even is None:
        return spent, training, answers, Tile("Pays back after", "unknown", ())
    value = "never" if even.requests is None else significant(even.requests)
    return spent, training, answers, Tile("Pays back after", value, ("requests",))


def _gold_tile(results: TaskResults) -> Tile | None:
    student, teacher = results.student.gold, results.teacher.gold
    if student is None or teacher is None:
        return None
    label = "Right answers" if results.task.is_binary else "Score on right answers"
    return Tile(label, share(student), (_interval(student), f"teacher {share(teacher)}"))


def _agreement_tile(results: TaskResults) -> Tile | None:
    agreement = results.student.agreement
    if agreement is None:
        return None
    ceiling = results.self_agreement.agreement
    itself = f"teacher with itself {share(ceiling)}" if ceiling else "teacher with itself: unknown"
    return Tile("Like the teacher", share(agreement), (_interval(agreement), itself))


def _time_tile(results: TaskResults) -> Tile | None:
    latency = results.student.latency
    if latency is None:
        return None
    details = ["median, one at a time"]
    if latency.p95_s is not None:
        details.append(f"95{NBSP}% within {milliseconds(latency.p95_s.value)}")
    return Tile("Time of an answer", milliseconds(latency.median_s.value), tuple(details))


def _size_tile(results: TaskResults) -> Tile | None:
    student = results.student
    if student.num_bytes is None:
        return None
    details = [student.kind] if student.kind else []
    if student.num_parameters:
        details.append(f"{parameters(student.num_parameters)} parameters")
    return Tile("Size", size(student.num_bytes), tuple(details))


def _cost_tile(results: TaskResults) -> Tile | None:
    student, teacher = results.student.usd_per_1000, results.teacher.usd_per_1000
    if student is None:
        return None
    if teacher is None:
        return Tile("1,000 answers", dollars(student.value), ("teacher: price unknown",))
    details = [f"teacher {dollars(teacher.value)}"]
    if 0 < student.value < teacher.value:
        details[0] += f", {multiple(teacher.value / student.value)} as much"
    even = results.break_even.get(results.student.name)
    if even is not None:
        after = "never" if even.requests is None else f"after {significant(even.requests)} requests"
        details.append(f"pays back {after}")
    return Tile("1,000 answers", dollars(student.value), tuple(details))


def _interval(one: TaskEstimate) -> str:
    return f"95{NBSP}% interval {share_interval(one)}"
