"""The rows that a certificate rests on: independent, answered, and none that the student learnt.

Letters: N rows.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass

from stillhouse.artifacts import Artifact
from stillhouse.errors import DataError
from stillhouse.provenance import lineage
from stillhouse.records import unit_of
from stillhouse.tasks import Task, TaskAnswer, task_of


@dataclass(frozen=True)
class CalibrationRows:
    """What is certified on, and what the student was made of.

    Attributes:
        task: Of the dataset.
        dataset: Where the rows are from.
        rows: N rows, one of each group.
        dropped: Rows that were left out, by reason.
        training: What the student's dataset has to learn from.
    """

    task: Task
    dataset: Artifact
    rows: tuple[TaskAnswer, ...]
    dropped: Counter[str]
    training: tuple[TaskAnswer, ...]

    @property
    def texts(self) -> list[str]:
        """What is read."""
        return [row.text for row in self.rows]


def read_calibration(
    student: Artifact, dataset: Artifact, *, max_rows: int | None
) -> CalibrationRows:
    """The rows of a dataset that may certify a student.

    Of the dataset that the student was made of, the held-out ones; of another one, all. A row
    without any answer of the teacher says nothing; one whose answers are all invalid stays, and
    whatever the student says to it is a difference. Of each group one row is kept, by hash, since
    rows of a group are no independent evidence. Texts that the student learnt are left out.

    Args:
        student: Made by fit or train.
        dataset: Made by curate with a task.
        max_rows: Most rows, chosen by hash; None takes all.

    Raises:
        DataError: the dataset has no task, the student comes from no dataset of a task, or no row
            is left.
    """
    task = task_of(dataset.manifest.results)
    source = _dataset_of(student)
    training = tuple(row for row in source.rows("answers", TaskAnswer) if row.split == "train")
    is_own = source.manifest_sha256 == dataset.manifest_sha256
    learnt = {_folded(row.text) for row in training}
    dropped: Counter[str] = Counter()
    kept: dict[str, TaskAnswer] = {}
    rows = [
        row for row in dataset.rows("answers", TaskAnswer) if not is_own or row.split == "held_out"
    ]
    for row in sorted(rows, key=lambda row: _place(row.prompt_id)):
        unit = unit_of(row.prompt_id, row.group)
        if not row.num_answers:
            dropped["unanswered"] += 1
        elif _folded(row.text) in learnt:
            dropped["repeats_training_text"] += 1
        elif unit in kept:
            dropped["shares_group"] += 1
        elif max_rows is not None and len(kept) >= max_rows:
            dropped["beyond_max_rows"] += 1
        else:
            kept[unit] = row
    if not kept:
        raise DataError(_why_none(dataset, is_own, dropped))
    wanted = {row.prompt_id for row in kept.values()}
    ordered = tuple(row for row in rows if row.prompt_id in wanted)
    return CalibrationRows(task, dataset, ordered, dropped, training)


def _dataset_of(student: Artifact) -> Artifact:
    """The dataset that a student was made of."""
    for node in lineage(student.path).nodes:
        if node.manifest.kind == "dataset":
            return node
    raise DataError(
        f"{student.path} comes from no dataset, so that nobody knows what it learnt. Fit or train "
        "it on a dataset that curate made with the task."
    )


def _why_none(dataset: Artifact, is_own: bool, dropped: Counter[str]) -> str:
    if dropped:
        why = ", ".join(f"{number:,} {reason}" for reason, number in dropped.most_common())
        return f"No row of {dataset.path} can certify a student ({why}). Hold out other rows."
    where = "held-out rows" if is_own else "rows with an answer"
    return (
        f"{dataset.path} has no {where} to certify on. Mark prompts with split: held_out, and "
        "collect and curate again."
    )


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _place(name: str) -> bytes:
    return hashlib.sha256(f"stillhouse certify:{name}".encode("utf-8", "replace")).digest()


def text_sha256(text: str) -> str:
    """The hash that rows name a text by."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def is_set_aside(rows: Sequence[TaskAnswer], known: Set[str]) -> list[bool]:
    """Whether the student's training set each row aside.

    Args:
        rows: Training rows.
        known: Hashes of the texts that it set aside by its own record; where there is no record,
            every tenth row is taken for it, by hash.
    """
    if known:
        return [text_sha256(row.text) in known for row in rows]
    return [_place(row.prompt_id)[0] < 26 for row in rows]
