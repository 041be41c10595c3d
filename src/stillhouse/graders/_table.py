"""All graders by name."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from stillhouse.errors import ConfigError, DataError
from stillhouse.graders._code import code
from stillhouse.graders._fields import document, fields
from stillhouse.graders._labels import label, label_jaccard
from stillhouse.graders._numeric import numeric
from stillhouse.graders._texts import edit, exact, text, tokens
from stillhouse.tasks import GraderName, Task


class Grader(NamedTuple):
    """One way to grade.

    Attributes:
        score: Of a canonical answer beside the expected text, in [0, 1].
        is_binary: Whether scores are 0 or 1 only, so that exact tests for fractions hold.
    """

    score: Callable[[str, str], float]
    is_binary: bool


GRADERS: dict[GraderName, Grader] = {
    "label": Grader(label, is_binary=True),
    "label_jaccard": Grader(label_jaccard, is_binary=False),
    "fields": Grader(fields, is_binary=False),
    "document": Grader(document, is_binary=True),
    "text": Grader(text, is_binary=False),
    "tokens": Grader(tokens, is_binary=False),
    "edit": Grader(edit, is_binary=False),
    "exact": Grader(exact, is_binary=True),
    "numeric": Grader(numeric, is_binary=True),
    "code": Grader(code, is_binary=True),
}
"""Every grader but `judge`, which compares two answers and asks a teacher."""


def grader_of(task: Task) -> Grader:
    """The grader of a task.

    Raises:
        ConfigError: it is `judge`, which is no function of an answer and an expected text.
    """
    if task.grader_name not in GRADERS:
        raise ConfigError(
            f"The grader {task.grader_name!r} of task {task.name!r} needs a teacher that judges. "
            f"Take one of {', '.join(GRADERS)}, or compare in an arena."
        )
    return GRADERS[task.grader_name]


def agreement_grader(task: Task) -> Grader:
    """How an answer is compared with the teacher's.

    The tests that grade code are no answer of the teacher's, so programs are compared as texts.

    Raises:
        ConfigError: the task's grader asks a judge, who compares two answers and scores none.
    """
    if task.grader_name == "code":
        return GRADERS["exact"]
    if task.grader_name == "judge":
        raise ConfigError(
            f"Task {task.name!r} is graded by a judge, who compares systems in pairs: run an "
            "arena. For figures beside it, set the task's grader to text, tokens, edit or exact."
        )
    return grader_of(task)


def grade(
    grader: Grader, answers: Sequence[str | None], expected: Sequence[str]
) -> tuple[float, ...]:
    """The score of each answer beside what is expected of it; an invalid answer (None) scores 0.

    Raises:
        DataError: there are no answers, or not as many as expected texts.
        RecordError: an expected text cannot be read.
    """
    if not answers or len(answers) != len(expected):
        raise DataError(
            f"{len(answers)} answers and {len(expected)} expected texts were given to a grader. "
            "Give as many of one as of the other, and at least one."
        )
    return tuple(
        0.0 if answer is None else grader.score(answer, wanted)
        for answer, wanted in zip(answers, expected, strict=True)
    )
