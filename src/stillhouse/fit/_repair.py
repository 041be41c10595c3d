"""What a posterior over the right labels does to the rows to learn from, and the log of it.

Letters: N rows, L labels.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from stillhouse.fit._config import NoiseAction
from stillhouse.fit._rows import Floats, TaskRows, given_answer
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
    rows: TaskRows, posterior_NL: Floats, *, action: NoiseAction, reason: RepairReason
) -> Repaired:
    """The rows after a repair.

    Args:
        rows: As they are.
        posterior_NL: (N, L) probability of each label to be right.
        action: What becomes of them.
        reason: Who found out.
    """
    settled, confidences_N = predicted_answers(rows.task, posterior_NL)
    log = tuple(
        RepairRow(
            prompt_id=row.prompt_id,
            old=given_answer(row),
            new=answer,
            confidence=float(confidence),
            reason=reason,
        )
        for row, answer, confidence in zip(rows.rows, settled, confidences_N, strict=True)
        if answer != given_answer(row)
    )
    if action == "drop":
        found = {entry.prompt_id for entry in log}
        kept = [number for number, row in enumerate(rows.rows) if row.prompt_id not in found]
        return Repaired(rows.chosen(kept), log)
    targets_NL = posterior_NL if action == "soften" else rows.columns(settled)
    return Repaired(TaskRows(rows.task, rows.rows, np.asarray(targets_NL)), log)
