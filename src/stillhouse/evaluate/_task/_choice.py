"""Which student to take: chosen on validation rows, confirmed on held-out ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stillhouse.evaluate._task._records import SystemResult
from stillhouse.evaluate._task._validation import ValidationRows, compare_on_validation


@dataclass(frozen=True)
class Choice:
    """A student, and the one that it is held against.

    Attributes:
        student: What is recommended.
        best: The best student on validation rows; None where there was nothing to choose by.
        rule: How it was chosen, in words.
    """

    student: str
    best: str | None
    rule: str


def choose(
    students: Sequence[SystemResult],
    rows: Mapping[str, ValidationRows],
    margin: float,
    wanted: str | None = None,
) -> Choice:
    """The cheapest student that validation rows show to be no worse than the best one on them.

    Held-out messages have no say in it: whoever picks the best of several on them finds one that
    was lucky there. Cost is that of an answer or, untimed, the size on disk.

    Args:
        students: All, in the order in which they were given.
        rows: By student, its answers to the rows that were set aside in training.
        margin: Tolerated loss, in units of the score.
        wanted: The student that was asked for beforehand; None chooses.
    """
    if wanted is not None:
        return Choice(wanted, None, "It is the student that was asked for beforehand.")
    if len(students) == 1:
        return Choice(students[0].name, None, "It is the only student.")
    measured = [one for one in students if one.validation is not None]
    if not measured:
        return Choice(
            students[0].name,
            None,
            "The first student that was given: no training measured anything on rows that it did "
            "not learn from, so there was nothing to choose by.",
        )
    best = max(measured, key=_on_validation)
    near = [one for one in measured if one is best or _is_near(one, best, rows, margin)]
    by_cost = all(one.usd_per_1000 is not None for one in near)
    chosen = min(near, key=_cost if by_cost else _size)
    return Choice(chosen.name, best.name, _rule(best, margin, by_cost) + _left_out(students))


def _is_near(
    student: SystemResult, best: SystemResult, rows: Mapping[str, ValidationRows], margin: float
) -> bool:
    if student.name not in rows or best.name not in rows:
        return False
    verdict = compare_on_validation(rows[student.name], rows[best.name], margin)
    return verdict in ("better", "non_inferior")


def _rule(best: SystemResult, margin: float, by_cost: bool) -> str:
    assert best.validation is not None  # it was the best of those that have one
    what = "whose answers cost least" if by_cost else "that is smallest on disk"
    return (
        f"Of the best student on validation rows ({best.name}, "
        f"{100 * best.validation.agreement:.1f} % like the teacher, n = {best.validation.n:,}) and "
        f"those that these rows show to be no worse than it within {100 * margin:g} points, the "
        f"one {what}. Validation rows come from the training side; held-out messages had no say."
    )


def _left_out(students: Sequence[SystemResult]) -> str:
    names = [one.name for one in students if one.validation is None]
    if not names:
        return ""
    return (
        f" Without a figure on validation rows, {' and '.join(names)} could not be chosen; name a "
        "student beforehand to have the report be about it."
    )


def _on_validation(student: SystemResult) -> float:
    assert student.validation is not None  # asked of those that have one
    return student.validation.agreement


def _cost(student: SystemResult) -> tuple[float, float]:
    return (student.usd_per_1000.value if student.usd_per_1000 else float("inf"), _size(student))


def _size(student: SystemResult) -> float:
    return float("inf") if student.num_bytes is None else float(student.num_bytes)
