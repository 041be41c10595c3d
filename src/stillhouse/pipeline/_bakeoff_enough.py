"""Whether a student is good enough to stop at, by rows of its own training side.

Letters: N validation rows.
"""

from collections.abc import Sequence

import numpy as np

from stillhouse.artifacts import Artifact
from stillhouse.fit import ValidationRow
from stillhouse.pipeline._scan_measure import interval_over
from stillhouse.records import unit_of
from stillhouse.statistics import compare_paired_binary
from stillhouse.tasks import TaskAnswer


def good_enough(student: Artifact, dataset: Artifact, *, margin: float) -> str | None:
    """Why a bake-off may stop at `student`; None where it goes on.

    Where validation rows have right answers, the student has to be shown no worse than the teacher
    against these, within the margin. Where none has, the teacher is right by definition, and at
    least 1 - margin of its answers have to be shown to be the student's as well. Held-out rows
    have no say.

    Args:
        student: What fit made; its validation rows are those that were set aside.
        dataset: What it was fitted on.
        margin: Tolerated loss as a fraction.
    """
    rows = list(student.rows("validation", ValidationRow))
    if not rows:
        return None
    references = {
        row.prompt_id: row.reference
        for row in dataset.rows("answers", TaskAnswer)
        if row.reference is not None
    }
    known = [row for row in rows if row.prompt_id in references]
    if known:
        return _against_gold(known, references, margin)
    return _against_teacher(rows, margin)


def _against_gold(
    rows: Sequence[ValidationRow], references: dict[str, str], margin: float
) -> str | None:
    compared = compare_paired_binary(
        [row.predicted == references[row.prompt_id] for row in rows],
        [row.answer == references[row.prompt_id] for row in rows],
        margin=margin,
        clusters=_units(rows),
    )
    if compared.verdict not in ("better", "non_inferior"):
        return None
    return f"on validation rows, {compared.sentence('it', 'the teacher')}"


def _against_teacher(rows: Sequence[ValidationRow], margin: float) -> str | None:
    agrees_N = np.array([row.predicted == row.answer for row in rows], dtype=np.float64)
    found = interval_over(agrees_N, _units(rows))
    if found.low < 1 - margin:
        return None
    return (
        f"on {found.n:,} validation rows it gives the teacher's answer to {found.value:.1%} "
        f"[{found.low:.1%}, {found.high:.1%}], and {1 - margin:.1%} would do."
    )


def _units(rows: Sequence[ValidationRow]) -> list[str]:
    return [unit_of(row.prompt_id, row.group) for row in rows]
