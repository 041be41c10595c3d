"""What a student makes of the rows that were set aside.

Letters: N rows, L labels.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from stillhouse.fit._rows import Flags, Floats, TaskRows
from stillhouse.records import Record
from stillhouse.tasks import LABEL_SEPARATOR, Task, parse_answer

_YES = 0.5
_NO_LABEL = "[]"


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
        Canonical answers, the likeliest label or all that are likelier than not, and (N,)
        probabilities of these very answers.
    """
    if not task.multiple:
        best_N = given_NL.argmax(axis=1)
        return [task.labels[best] for best in best_N], given_NL.max(axis=1)
    is_given_NL = given_NL >= _YES
    confidences_N = np.where(is_given_NL, given_NL, 1.0 - given_NL).prod(axis=1)
    return [_several(task, is_given_L) for is_given_L in is_given_NL], confidences_N


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


def _several(task: Task, is_given_L: Flags) -> str:
    named = [label for label, given in zip(task.labels, is_given_L, strict=True) if given]
    if len(named) > 1 and task.out_of_scope in named:
        named.remove(str(task.out_of_scope))
    # Parsed, so that no label at all reads as the teacher's answer does.
    return str(parse_answer(task, LABEL_SEPARATOR.join(named) or _NO_LABEL))
