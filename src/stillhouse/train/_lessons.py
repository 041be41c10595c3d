"""What one row of a batch teaches."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stillhouse.chat import EncodedExample
from stillhouse.errors import DataError


@dataclass(frozen=True)
class Lesson:
    """A text to learn from, and how it came about.

    Attributes:
        example: The text as tokens.
        weight: Factor of each of its tokens in the loss, where others have 1.
        behaviour_logprobs: (n,) float32, log-probabilities of the completion's tokens under what
            wrote them, nats at temperature 1; None for a text that was not drawn here.
        is_truncated: Whether it was cut before its end.
        age_steps: Updates of the student since it drew the text.
        group: Of the example that it, or its prompt, comes from.
        follows: Whether it means nothing without the lesson before it.
    """

    example: EncodedExample
    weight: float = 1.0
    behaviour_logprobs: npt.NDArray[np.float32] | None = None
    is_truncated: bool = False
    age_steps: int = 0
    group: str | None = None
    follows: bool = False

    @property
    def num_tokens(self) -> int:
        """Tokens to learn."""
        return len(self.example.completion_ids)


def with_weight(lessons: Sequence[Lesson], step: int, *, max_tokens: int) -> list[Lesson]:
    """Those of a step's lessons that count: rollouts that were cut may have no weight.

    Args:
        lessons: All of the step's.
        step: Which one.
        max_tokens: Where rollouts are cut.

    Raises:
        DataError: none counts.
    """
    kept = [lesson for lesson in lessons if lesson.weight > 0.0]
    if not kept:
        raise DataError(
            f"Step {step}: all rollouts were cut at rollout.max_tokens={max_tokens}, and "
            "rollout.truncated_weight=0 drops such ones. Raise either of them, or train on the "
            "dataset's texts first."
        )
    return kept


def units_of(lessons: Sequence[Lesson]) -> list[list[Lesson]]:
    """Lessons in the smallest groups that may be learnt apart."""
    units: list[list[Lesson]] = []
    for lesson in lessons:
        if lesson.follows and units:
            units[-1].append(lesson)
        else:
            units.append([lesson])
    return units
