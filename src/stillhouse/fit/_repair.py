"""What a posterior over the right labels does to the rows to learn from, and the log of it.

Letters: N rows, L labels.
"""

from dataclasses import dataclass, replace
from typing import Literal

from stillhouse.fit._config import NoiseAction
from stillhouse.fit._rows import Floats, TaskRows
from stillhouse.fit._validation import predicted_answers
from stillhouse.records import Record

RepairReason = Literal["committee", "confident"]


class RepairRow(Record):
    """One training row whose answer is probably wrong."""

    prompt_id: str
    old: str
    """The teacher's answer."""
    new: str
    """The answer that is more probably right."""
    confidence: float
    """Its probability."""
    reason: RepairReason
    """Who says so: several teachers, or students of other rows."""


@dataclass(frozen=True)
class Repaired:
    """Training rows with what is learnt in place of what the teacher answered.

    Attributes:
        rows: Those to learn from.
        log: Every row whose answer was found wrong.
    """

    rows: TaskRows
    log: tuple[RepairRow, ...]


def repaired(
    rows: TaskRows,
    posterior_NL: Floats,
    *,
    soft_NL: Floats,
    action: NoiseAction,
    reason: RepairReason,
) -> Repaired:
    """The rows after a repair.

    Args:
        rows: As they are.
        posterior_NL: (N, L) probability of each label to be right.
        soft_NL: (N, L) what to learn where answers are softened.
        action: What becomes of them.
        reason: Who found out.
    """
    settled, confidences_N = predicted_answers(rows.task, posterior_NL)
    log = tuple(
        RepairRow(
            prompt_id=row.prompt_id, old=old, new=new, confidence=float(confidence), reason=reason
        )
        for row, old, new, confidence in zip(
            rows.rows, rows.answers, settled, confidences_N, strict=True
        )
        if new != old
    )
    if action == "drop":
        kept = [
            number
            for number, (old, new) in enumerate(zip(rows.answers, settled, strict=True))
            if old == new
        ]
        return Repaired(rows.chosen(kept), log)
    targets_NL = soft_NL if action == "soften" else rows.columns(settled)
    return Repaired(replace(rows, targets_NL=targets_NL), log)
