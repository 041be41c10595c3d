"""Which student to take: chosen on validation rows, confirmed on held-out ones."""

from collections.abc import Sequence
from dataclasses import dataclass

from stillhouse.evaluate._task._records import SystemResult

_ROUNDING = 1e-9


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


def choose(students: Sequence[SystemResult], margin: float, wanted: str | None = None) -> Choice:
    """The cheapest of the students that are within the margin of the best on validation rows.

    Held-out messages have no say in it: whoever picks the best of several on them finds one that
    was lucky there. Cost is that of an answer or, untimed, the size on disk.

    Args:
        students: All, in the order in which they were given.
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
    near = [
        one for one in measured if _on_validation(one) >= _on_validation(best) - margin - _ROUNDING
    ]
    by_cost = all(one.usd_per_1000 is not None for one in near)
    chosen = min(near, key=_cost if by_cost else _size)
    what = "lowest cost of an answer" if by_cost else "smallest size on disk"
    return Choice(
        chosen.name,
        best.name,
        f"Of the students whose agreement on validation rows is at most {100 * margin:g} points "
        f"below the best one's ({best.name}, {100 * _on_validation(best):.1f} %), the one with the "
        f"{what}. Validation rows come from the training side; held-out messages had no say."
        f"{_left_out(students)}",
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
