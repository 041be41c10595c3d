"""The teacher against itself, and a student against the same single answers.

Letters: P prompts that the teacher answered twice or more.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stillhouse.errors import DataError
from stillhouse.evaluate._task._held_out import HeldOut
from stillhouse.evaluate._task._measure._scores import Scored
from stillhouse.graders import agreement_grader, self_agreement

Floats = npt.NDArray[np.float64]

HOW_TO_MEASURE = "not measured: collect with --samples 2 or more"


@dataclass(frozen=True)
class Repeated:
    """Held-out messages that a teacher answered more than once.

    Attributes:
        places: Of the messages among all, ascending.
        scores_P: Mean score of one of its answers against another.
        votes: Of each message, its answers with how often they were given, by teacher.
    """

    places: tuple[int, ...]
    scores_P: Floats
    votes: tuple[tuple[tuple[str, float], ...], ...]

    def of_student(self, student: Scored, score: Callable[[str, str], float]) -> Floats:
        """(P,) the mean score of the student's answer against one answer of the teacher."""
        scores = []
        for place, votes in zip(self.places, self.votes, strict=True):
            answer = student.given[place].text
            share = 0.0 if answer is None else sum(w * score(answer, text) for text, w in votes)
            scores.append(share)
        return np.array(scores)


def repeated_answers(held_out: HeldOut) -> Repeated | None:
    """The messages that a teacher answered more than once; None where there are none."""
    score = agreement_grader(held_out.task).score
    try:
        found = self_agreement(held_out.rows, score)
    except DataError:
        return None
    places = {row.prompt_id: place for place, row in enumerate(held_out.rows)}
    at = [places[prompt_id] for prompt_id in found.prompt_ids]
    return Repeated(
        places=tuple(at),
        scores_P=np.array(found.scores),
        votes=tuple(_shares(held_out.rows[place].votes) for place in at),
    )


def _shares(votes: dict[str, dict[str, int]]) -> tuple[tuple[str, float], ...]:
    """Answers with the chance that one drawn from one of the teachers is it."""
    asked_twice = [counts for counts in votes.values() if sum(counts.values()) > 1]
    return tuple(
        (text, times / sum(counts.values()) / len(asked_twice))
        for counts in asked_twice
        for text, times in counts.items()
    )
