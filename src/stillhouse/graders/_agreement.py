"""How often a teacher agrees with itself: the most that a student of it can be asked for."""

from collections.abc import Callable, Iterable, Mapping
from itertools import combinations
from typing import NamedTuple

from stillhouse.errors import DataError
from stillhouse.tasks import TaskAnswer


class SelfAgreement(NamedTuple):
    """The agreement of a teacher's answers with one another, prompt by prompt.

    Attributes:
        prompt_ids: The prompts with two valid answers of one teacher, or more.
        scores: Of each, the mean score over all pairs of one teacher's answers.
        groups: What each prompt is about, for intervals that resample groups.
    """

    prompt_ids: tuple[str, ...]
    scores: tuple[float, ...]
    groups: tuple[str | None, ...]

    @property
    def mean(self) -> float:
        """Over the prompts."""
        return sum(self.scores) / len(self.scores)


def self_agreement(
    answers: Iterable[TaskAnswer], score: Callable[[str, str], float] | None = None
) -> SelfAgreement:
    """What two answers that a teacher gives to the same prompt have in common.

    Args:
        answers: Rows of a dataset's `answers`. Invalid answers are left out, and so are prompts
            that no teacher answered twice.
        score: Of a pair of answers; by default whether they are equal. The mean of both orders
            counts, and an answer beside its equal scores 1.

    Raises:
        DataError: no prompt has two valid answers of one teacher.
    """
    rows = [(row, _agreements(row.votes, score or _equal)) for row in answers]
    rows = [(row, found) for row, found in rows if found]
    if not rows:
        raise DataError(
            "No prompt has two valid answers of one teacher, so nobody can say how far the teacher "
            "agrees with itself. Collect with samples_per_prompt of 2 or more."
        )
    return SelfAgreement(
        prompt_ids=tuple(row.prompt_id for row, _ in rows),
        scores=tuple(sum(found) / len(found) for _, found in rows),
        groups=tuple(row.group for row, _ in rows),
    )


def _agreements(
    votes: Mapping[str, Mapping[str, int]], score: Callable[[str, str], float]
) -> list[float]:
    """The mean score over pairs, for each teacher with two answers or more."""
    found = []
    for counts in votes.values():
        total = sum(counts.values())
        if total < 2:
            continue
        agreed = sum(times * (times - 1) / 2 for times in counts.values())
        for (one, times), (other, other_times) in combinations(counts.items(), 2):
            agreed += times * other_times * (score(one, other) + score(other, one)) / 2
        found.append(agreed / (total * (total - 1) / 2))
    return found


def _equal(one: str, other: str) -> float:
    return float(one == other)
