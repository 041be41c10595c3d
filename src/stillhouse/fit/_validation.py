"""What a student makes of the rows that were set aside.

Letters: N rows, L labels.
"""

import hashlib
from collections.abc import Sequence

from stillhouse.fit._rows import Floats, TaskRows
from stillhouse.records import Record
from stillhouse.tasks import Task, likeliest_answers


class ValidationRow(Record):
    """One row that was set aside: what a cascade is calibrated on."""

    prompt_id: str
    group: str | None
    text_sha256: str
    """Of the text, which is in the dataset."""
    answer: str
    """The teacher's."""
    settled: str
    """What is taken to be right: the same, unless answers were repaired."""
    predicted: str
    """The student's."""
    confidence: float
    """Probability of `predicted`, calibrated."""


def predicted_answers(task: Task, given_NL: Floats) -> tuple[list[str], Floats]:
    """The answers that probabilities stand for, and how probable each is.

    Args:
        task: A classification.
        given_NL: (N, L) in the order of its labels; rows sum to 1 unless it has several.

    Returns:
        Canonical answers, and (N,) probabilities of these very answers.
    """
    answers, confidences_N = likeliest_answers(task, given_NL, task.labels)
    return [str(answer) for answer in answers], confidences_N


def validation_rows(
    aside: TaskRows, settled: Sequence[str], given_NL: Floats
) -> list[ValidationRow]:
    """The rows with the student's answers, for the artefact.

    Args:
        aside: N rows that were set aside.
        settled: Their answers after repair.
        given_NL: (N, L) the student's probabilities.
    """
    predicted, confidences_N = predicted_answers(aside.task, given_NL)
    return [
        ValidationRow(
            prompt_id=row.prompt_id,
            group=row.group,
            text_sha256=hashlib.sha256(row.text.encode("utf-8", "replace")).hexdigest(),
            answer=answer,
            settled=right,
            predicted=guess,
            confidence=float(confidence),
        )
        for row, answer, right, guess, confidence in zip(
            aside.rows, aside.answers, settled, predicted, confidences_N, strict=True
        )
    ]
