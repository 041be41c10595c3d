"""The held-out messages of a task's dataset, and everything that they are judged by.

Letters: N messages.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from stillhouse.artifacts import Artifact
from stillhouse.errors import DataError
from stillhouse.evaluate._task._config import TaskEvaluateConfig
from stillhouse.records import unit_of
from stillhouse.tasks import Task, TaskAnswer, answer_labels, task_of

Clusters = npt.NDArray[np.str_]
"""(N,) what each message belongs to: its group, or itself."""


@dataclass(frozen=True)
class HeldOut:
    """The messages that everything is measured on.

    Attributes:
        task: What is asked of them.
        rows: In the order of the prompts.
        train: The rows that students learnt from, of which baselines are made.
    """

    task: Task
    rows: tuple[TaskAnswer, ...]
    train: tuple[TaskAnswer, ...]

    @classmethod
    def of(cls, dataset: Artifact, config: TaskEvaluateConfig) -> "HeldOut":
        """The held-out rows of a dataset that `curate` made with a task.

        Raises:
            DataError: the dataset has no task; or there are too few held-out messages, none with
                a valid answer of the teacher, or all with the same.
        """
        task = task_of(dataset.manifest.results)
        rows = list(dataset.rows("answers", TaskAnswer))
        chosen = first_by_hash(
            [row for row in rows if row.split == "held_out"], config.max_rows or len(rows)
        )
        held_out = cls(
            task, tuple(chosen), tuple(row for row in rows if row.split == "train" and row.answer)
        )
        _check_number(held_out, dataset, config)
        _check_answers(held_out, dataset)
        return held_out

    @cached_property
    def clusters_N(self) -> Clusters:
        """Rows of one group hang together; a row without a group stands alone."""
        return np.array([unit_of(row.prompt_id, row.group) for row in self.rows])

    @cached_property
    def has_teacher_N(self) -> npt.NDArray[np.bool_]:
        """Which messages the teacher gave a valid answer to."""
        return np.array([row.answer is not None for row in self.rows])

    @cached_property
    def has_gold_N(self) -> npt.NDArray[np.bool_]:
        """Which messages have a right answer."""
        return np.array([row.reference is not None for row in self.rows])

    @property
    def num_groups(self) -> int:
        """Independent pieces of evidence."""
        return len(set(self.clusters_N.tolist()))


def first_by_hash(rows: Sequence[TaskAnswer], wanted: int) -> list[TaskAnswer]:
    """`wanted` of the rows, chosen by the hash of their ids, in the order that they have."""
    ranked = sorted(rows, key=lambda row: hashlib.sha256(row.prompt_id.encode()).digest())
    kept = {row.prompt_id for row in ranked[:wanted]}
    return [row for row in rows if row.prompt_id in kept]


def problem_counts(rows: Sequence[TaskAnswer]) -> dict[str, int]:
    """Invalid answers of the teacher by what is wrong with them, the most frequent first."""
    problems = Counter(text.split(":", 1)[0] for row in rows for text in row.invalid)
    return dict(problems.most_common())


def _check_number(held_out: HeldOut, dataset: Artifact, config: TaskEvaluateConfig) -> None:
    if not held_out.rows:
        raise DataError(
            f"{dataset.path} holds no held-out messages, so that nothing can be said of a student. "
            "Mark prompts with split: held_out, and collect and curate again."
        )
    if held_out.num_groups < config.min_rows:
        what = f"{len(held_out.rows)} held-out messages"
        if held_out.num_groups < len(held_out.rows):
            what += f" in {held_out.num_groups} groups"
        raise DataError(
            f"{dataset.path} holds {what}: too few to judge a student on, whatever comes out. Hold "
            f"out {config.min_rows} or more; a margin of 2 points takes about 1,500 where two "
            "systems differ on a tenth of the messages."
        )


def _check_answers(held_out: HeldOut, dataset: Artifact) -> None:
    answers = [row.answer for row in held_out.rows if row.answer is not None]
    if not answers:
        problems: Mapping[str, int] = problem_counts(held_out.rows)
        why = ", ".join(f"{name} {times}" for name, times in problems.items()) or "none were given"
        raise DataError(
            f"The teacher gave no valid answer to any of {len(held_out.rows)} held-out messages of "
            f"{dataset.path} ({why}). Correct the task, and ask again."
        )
    labels = {label for answer in answers for label in answer_labels(held_out.task, answer)}
    if held_out.task.kind == "classification" and len(set(answers)) == 1:
        shown = repr(answers[0]) if labels else "no label"
        raise DataError(
            f"All {len(answers)} answers of the teacher to held-out messages are {shown}: whoever "
            "always says so is right, and nothing tells students apart. Hold out other messages."
        )
