"""A certified cascade on disk: what a server needs of it, checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from stillhouse.artifacts import Artifact, check_files, open_artifact
from stillhouse.cascade._gate import Gate, load_gate
from stillhouse.cascade._rule import CascadeRule, Route
from stillhouse.cascade._watch import CascadeWatch, WatchConfig, WatchSnapshot
from stillhouse.errors import IntegrityError
from stillhouse.records import Record
from stillhouse.tasks import Task, input_text, task_of

RULE_NAME = "rule.json"
ROWS_STEM = "rows"

Floats = npt.NDArray[np.float64]


class CascadeRow(Record):
    """One row that a cascade was certified on."""

    prompt_id: str
    group: str | None
    text_sha256: str
    """Of the text, which is in the dataset."""
    answer: str | None
    """The teacher's; None where it gave none that the task allows."""
    predicted: str | None
    """The student's; None where it gave none that the task allows."""
    confidence: float | None
    """Of the student in that answer."""
    novelty: float
    """Of the text, as the gate gives it."""
    loss: float
    """1 minus the score of the student's answer against the teacher's."""
    route: Route
    """Who answers it by the rule."""


@dataclass(frozen=True)
class Cascade:
    """A certified cascade.

    Attributes:
        artifact: Its folder.
        task: What is asked.
        rule: Who answers.
        gate: Tells unfamiliar texts.
        student: Folder of the student that it was certified for, as it was then.
        confidences_N: Of the calibration rows; 0 where the student had no valid answer.
        novelties_N: Of the same rows.
    """

    artifact: Artifact
    task: Task
    rule: CascadeRule
    gate: Gate
    student: Artifact
    confidences_N: Floats
    novelties_N: Floats

    def novelty(self, texts: Sequence[str], states_ND: npt.ArrayLike | None = None) -> Floats:
        """(N,) how unlike the training texts each text is, in [0, 1].

        Args:
            texts: N messages of the user, as students read them.
            states_ND: The student's own states of them, where `gate.needs_states`.

        Raises:
            ShapeError: states are missing or of another shape.
        """
        return task_novelty(self.task, self.gate, texts, states_ND)

    def watch(
        self, config: WatchConfig | None = None, snapshot: WatchSnapshot | None = None
    ) -> CascadeWatch:
        """A monitor for serving it.

        Args:
            config: How to watch; None takes the defaults.
            snapshot: Of an earlier watch with the same settings, to go on from.

        Raises:
            ConfigError: the snapshot belongs to another rule or other settings.
            DataError: it is damaged.
        """
        watch = CascadeWatch(self.rule, self.confidences_N, self.novelties_N, config=config)
        if snapshot is not None:
            watch.restore(snapshot)
        return watch


def task_novelty(
    task: Task, gate: Gate, texts: Sequence[str], states_ND: npt.ArrayLike | None = None
) -> Floats:
    """(N,) novelties of messages of a task; a gate of texts reads the inputs in them alone.

    Fixed words of the task's template would make all messages alike.
    """
    if gate.needs_states:
        return gate.novelty(texts, states_ND)
    return gate.novelty([input_text(task, text) for text in texts])


def open_cascade(path: Path, *, student: Path | None = None) -> Cascade:
    """The cascade in a folder, with the student that it was certified for.

    All files of both are read and compared with their hashes: a certificate says nothing of a
    student that has changed.

    Args:
        path: What certify wrote, or a copy.
        student: Where the student lies now; None for where it was when it was certified.

    Raises:
        ConfigError: the folder is of another kind.
        DataError: its manifest names no task.
        IntegrityError: files are missing or damaged, or the student is gone or another one.
    """
    artifact = open_artifact(path, kind="cascade")
    check_files(artifact)
    rule = _read_rule(artifact)
    gate = load_gate(path)
    if gate.threshold != rule.novelty_threshold:
        raise IntegrityError(
            f"{path}: the gate's threshold {gate.threshold} is not the rule's "
            f"{rule.novelty_threshold}. Certify the student again."
        )
    rows = list(artifact.rows(ROWS_STEM, CascadeRow))
    return Cascade(
        artifact=artifact,
        task=task_of(artifact.manifest.results),
        rule=rule,
        gate=gate,
        student=_student(artifact, student),
        confidences_N=np.array([row.confidence or 0.0 for row in rows]),
        novelties_N=np.array([row.novelty for row in rows]),
    )


def _read_rule(artifact: Artifact) -> CascadeRule:
    path = artifact.file(RULE_NAME)
    try:
        return CascadeRule.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as err:
        reason = str(err).strip().split("\n")[0]
        raise IntegrityError(
            f"{path} is no rule that this stillhouse reads ({reason}). Certify the student again."
        ) from err


def _student(artifact: Artifact, moved_to: Path | None) -> Artifact:
    ref = artifact.manifest.parents[0]
    path = (moved_to or artifact.path / ref.path).resolve()
    try:
        student = open_artifact(path)
        if student.manifest_sha256 != ref.sha256:
            raise IntegrityError(f"{path / 'manifest.json'} is of another student.")
        check_files(student)
    except IntegrityError as err:
        raise IntegrityError(
            f"{artifact.path} is certified for the student in {path} as it was then, and that is "
            f"not what is there now ({err}). Restore it, or certify the new one."
        ) from err
    return student
