"""Answers of a system beside those of the teacher and the right ones.

Letters: N messages.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stillhouse.answers import Given
from stillhouse.evaluate._task._held_out import HeldOut
from stillhouse.graders import Grader, agreement_grader, grader_of

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Scored:
    """What one system answered, and what that is worth.

    Attributes:
        given: Its answers.
        agreement_N: Scores against the teacher's answers; NaN where the teacher has none.
        gold_N: Scores against the right answers; NaN where there is none.
    """

    given: tuple[Given, ...]
    agreement_N: Floats
    gold_N: Floats

    @property
    def texts(self) -> list[str | None]:
        """The canonical answers; None where the task does not allow what was said."""
        return [one.text for one in self.given]

    @property
    def is_valid_N(self) -> Flags:
        """Which answers the task allows."""
        return np.array([one.text is not None for one in self.given])

    @property
    def confidence_N(self) -> Floats | None:
        """(N,) confidences in [0, 1]; None where the system has none."""
        found = [one.confidence for one in self.given if one.confidence is not None]
        if len(found) < len(self.given):
            return None
        return np.array(np.clip(found, 0.0, 1.0))

    def problems(self) -> dict[str, int]:
        """Invalid answers by what is wrong with them, the most frequent first."""
        found = Counter(str(one.problem) for one in self.given if one.text is None)
        return dict(found.most_common())


def score(held_out: HeldOut, given: Sequence[Given]) -> Scored:
    """The scores of answers to all held-out messages, in their order."""
    texts = [one.text for one in given]
    teacher = [row.answer for row in held_out.rows]
    gold = [row.reference for row in held_out.rows]
    return Scored(
        given=tuple(given),
        agreement_N=_scores(agreement_grader(held_out.task), texts, teacher),
        gold_N=_scores(grader_of(held_out.task), texts, gold) if any(gold) else _none(len(gold)),
    )


def score_teacher(held_out: HeldOut) -> Scored:
    """The teacher's own answers; one that the task does not allow is as wrong as a student's."""
    given = [Given(row.answer) for row in held_out.rows]
    gold = [row.reference for row in held_out.rows]
    return Scored(
        given=tuple(given),
        agreement_N=_none(len(given)),
        gold_N=_scores(grader_of(held_out.task), [one.text for one in given], gold),
    )


def _scores(
    grader: Grader, answers: Sequence[str | None], expected: Sequence[str | None]
) -> Floats:
    scores_N = _none(len(answers))
    for place, (answer, wanted) in enumerate(zip(answers, expected, strict=True)):
        if wanted is not None:
            scores_N[place] = 0.0 if answer is None else grader.score(answer, wanted)
    return scores_N


def _none(number: int) -> Floats:
    return np.full(number, np.nan)
