"""What a student is asked and what it answers.

Letters: N messages, L labels.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from stillhouse.errors import IntegrityError
from stillhouse.records import Message
from stillhouse.tasks import AnswerProblem, Task, likeliest_answers

Floats = npt.NDArray[np.float64]


class Question(NamedTuple):
    """What a system is asked.

    Attributes:
        text: What the user says, which is all that a classifier reads.
        messages: The whole conversation; empty where no system needs it.
    """

    text: str
    messages: tuple[Message, ...] = ()


class Given(NamedTuple):
    """One answer.

    Attributes:
        text: Canonical; None where the task does not allow it.
        confidence: Probability of the answer by the system's own account, or for free text that of
            its tokens in the geometric mean; None where it gives none.
        problem: What is wrong with an answer that is not allowed.
    """

    text: str | None
    confidence: float | None = None
    problem: AnswerProblem | None = None


class Answerer(Protocol):
    """Answers messages; one message's answer does not depend on the others."""

    def answer(self, questions: Sequence[Question]) -> list[Given]:
        """One answer a question, in order."""
        ...


def most_likely(task: Task, probabilities_NL: Floats, labels: Sequence[str]) -> list[Given]:
    """The label with the highest probability, or all from one half on where there are several.

    Args:
        task: The task.
        probabilities_NL: (N, L); rows sum to 1 unless the task has several labels.
        labels: L names.
    """
    answers, confidences_N = likeliest_answers(task, probabilities_NL, labels)
    return [
        Given(answer.text, confidence, answer.problem)
        for answer, confidence in zip(answers, confidences_N.tolist(), strict=True)
    ]


def require_confidences(name: str, given: Sequence[Given]) -> None:
    """Refuse confidences that are no probabilities.

    Raises:
        IntegrityError: one is NaN, or outside [0, 1].
    """
    found = [one.confidence for one in given if one.confidence is not None]
    wrong = [value for value in found if not -1e-9 <= value <= 1 + 1e-6]
    if wrong:
        raise IntegrityError(
            f"{len(wrong)} of {len(found)} confidences of {name} are no probabilities, such as "
            f"{wrong[0]}: its weights are damaged. Train it again."
        )
