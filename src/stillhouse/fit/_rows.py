"""The rows that a student learns from: the training side of a dataset's answers.

Letters: N rows, L labels.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from stillhouse.artifacts import Artifact
from stillhouse.errors import ConfigError, DataError, IntegrityError
from stillhouse.records import unit_of
from stillhouse.tasks import Task, TaskAnswer, answer_labels, task_of

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Targets = Literal["soft", "hard"]

_SUM_TOLERANCE = 1e-3  # of probabilities that a provider rounded


@dataclass(frozen=True)
class TaskRows:
    """Rows of a classification task, each with a valid answer.

    Attributes:
        task: The task.
        rows: As `curate` wrote them.
        targets_NL: (N, L) what to learn; rows sum to 1 unless a text may have several labels.
    """

    task: Task
    rows: tuple[TaskAnswer, ...]
    targets_NL: Floats

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def texts(self) -> tuple[str, ...]:
        """What is read."""
        return tuple(row.text for row in self.rows)

    @property
    def answers(self) -> tuple[str, ...]:
        """The teacher's answers."""
        return tuple(given_answer(row) for row in self.rows)

    @property
    def units(self) -> list[str]:
        """What each row hangs together with."""
        return [unit_of(row.prompt_id, row.group) for row in self.rows]

    def columns(self, answers: Sequence[str]) -> Floats:
        """(N, L) 1 for the labels of each canonical answer."""
        columns = {label: column for column, label in enumerate(self.task.labels)}
        flags_NL = np.zeros((len(answers), len(columns)))
        for index, answer in enumerate(answers):
            for label in answer_labels(self.task, answer):
                flags_NL[index, columns[label]] = 1.0
        return flags_NL

    def chosen(self, indices: Sequence[int] | Integers) -> "TaskRows":
        """The rows with these numbers."""
        rows = tuple(self.rows[index] for index in indices)
        return TaskRows(self.task, rows, self.targets_NL[np.asarray(indices, dtype=np.int64)])


def joined(first: TaskRows, second: TaskRows) -> TaskRows:
    """The rows of both, in order."""
    targets_NL = np.concatenate([first.targets_NL, second.targets_NL])
    return TaskRows(first.task, (*first.rows, *second.rows), targets_NL)


def classification_of(dataset: Artifact) -> Task:
    """The task of a dataset, which has labels.

    Raises:
        DataError: the dataset has no task.
        ConfigError: its task has no labels.
    """
    task = task_of(dataset.manifest.results)
    if task.kind != "classification":
        raise ConfigError(
            f"The task {task.name!r} of {dataset.path} is of kind {task.kind!r}; fit makes "
            "students that answer with labels. Use: stillhouse train"
        )
    return task


def read_rows(dataset: Artifact, *, targets: Targets) -> tuple[TaskRows, Counter[str]]:
    """The training rows with a valid answer, and why others were dropped.

    Held-out rows are passed over whatever they hold.

    Args:
        dataset: What `curate` made with a classification task.
        targets: `soft` are the teacher's probabilities, `hard` its answer alone.

    Raises:
        DataError: the dataset has no task or answers, no row is left, or probabilities are none.
        ConfigError: its task has no labels.
        IntegrityError: an answer is none to the task.
    """
    task = classification_of(dataset)
    dropped: Counter[str] = Counter()
    kept = []
    for row in dataset.rows("answers", TaskAnswer):
        if row.split == "held_out":
            continue
        reason = _reason_to_drop(row)
        if reason is None:
            kept.append(row)
        else:
            dropped[reason] += 1
    if not kept:
        raise DataError(_why_nothing_is_left(dataset, dropped))
    columns = {label: column for column, label in enumerate(task.labels)}
    targets_NL = np.zeros((len(kept), len(columns)))
    for index, row in enumerate(kept):
        for answer, share in _shares(row, targets).items():
            for label in _known_labels(task, answer, row, columns):
                targets_NL[index, columns[label]] += share
    # Sums of shares of several labels may pass 1 by a rounding error.
    return TaskRows(task, tuple(kept), np.minimum(targets_NL, 1.0)), dropped


def given_answer(row: TaskAnswer) -> str:
    """The teacher's answer to a row that has one."""
    assert row.answer is not None  # rows without one are dropped as they are read
    return row.answer


def _reason_to_drop(row: TaskAnswer) -> str | None:
    if not row.num_answers:
        return "unanswered"
    if row.answer is None:
        return row.invalid[0].split(":", 1)[0] if row.invalid else "invalid_answer"
    return None if row.text.strip() else "blank_text"


def _shares(row: TaskAnswer, targets: Targets) -> Mapping[str, float]:
    """What to learn from a row, by answer; 1 in all."""
    if targets == "hard":
        return {given_answer(row): 1.0}
    shares = row.probabilities.values()
    is_sound = all(math.isfinite(share) and share >= 0 for share in shares)
    total = sum(shares)
    if not is_sound or abs(total - 1) > _SUM_TOLERANCE:
        raise DataError(
            f"The teacher's probabilities of prompt {row.prompt_id!r} are no distribution (their "
            f"sum is {total:g}). Curate again, or fit with targets=hard."
        )
    return {answer: share / total for answer, share in row.probabilities.items()}


def _known_labels(
    task: Task, answer: str, row: TaskAnswer, columns: Mapping[str, int]
) -> tuple[str, ...]:
    labels = answer_labels(task, answer)
    if strange := [label for label in labels if label not in columns]:
        raise IntegrityError(
            f"The answer to prompt {row.prompt_id!r} has the label {strange[0]!r}, which is none "
            f"of the task {task.name!r}. Curate again."
        )
    return labels


def _why_nothing_is_left(dataset: Artifact, dropped: Counter[str]) -> str:
    if not dropped:
        return (
            f"{dataset.path} has no training rows in its answers. Collect prompts whose split is "
            "train, and curate them with the task."
        )
    reasons = ", ".join(f"{reason} {times}" for reason, times in dropped.most_common())
    return (
        f"None of {dropped.total()} training rows of {dataset.path} can be learnt from ({reasons}"
        "). Correct the task, or ask again."
    )
