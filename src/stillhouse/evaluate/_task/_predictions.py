"""What every system answered to every message: the rows of an evaluation."""

from collections.abc import Iterator, Mapping

import numpy as np

from stillhouse.evaluate._task._held_out import HeldOut
from stillhouse.evaluate._task._measure._scores import Scored
from stillhouse.records import Record

_RIGHT = 1.0 - 1e-9


class PredictionRow(Record):
    """One answer to one held-out message."""

    student: str
    """Who answered: a student, or a baseline that it is held against."""
    prompt_id: str
    group: str | None
    answer: str | None
    """Canonical; None where the task does not allow what was said."""
    problem: str | None
    """What is wrong with such an answer."""
    confidence: float | None
    agreement: float | None
    """Score against the teacher's answer; None where it gave none that is valid."""
    agrees: bool | None
    """Whether that is a full score."""
    gold: float | None
    """Score against the right answer; None where there is none."""
    is_right: bool | None
    """Whether that is a full score."""


def prediction_rows(held_out: HeldOut, scored: Mapping[str, Scored]) -> Iterator[PredictionRow]:
    """All rows, system by system."""
    for name, answers in scored.items():
        for place, (row, given) in enumerate(zip(held_out.rows, answers.given, strict=True)):
            agreement = _number(answers.agreement_N[place])
            gold = _number(answers.gold_N[place])
            yield PredictionRow(
                student=name,
                prompt_id=row.prompt_id,
                group=row.group,
                answer=given.text,
                problem=given.problem,
                confidence=given.confidence,
                agreement=agreement,
                agrees=None if agreement is None else agreement >= _RIGHT,
                gold=gold,
                is_right=None if gold is None else gold >= _RIGHT,
            )


def _number(score: float) -> float | None:
    return float(score) if np.isfinite(score) else None
