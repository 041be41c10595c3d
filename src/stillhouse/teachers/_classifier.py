"""A student that `fit` made, asked as a teacher is: it answers with a label.

Letters: N requests, L labels.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from stillhouse.artifacts import Artifact, open_artifact
from stillhouse.classifiers import Classifier, load_classifier, probabilities
from stillhouse.errors import ConfigError
from stillhouse.records import Completion, Request, Usage
from stillhouse.runlog import Answer
from stillhouse.tasks import last_user_text
from stillhouse.teachers._answers import answer_of, check_labels
from stillhouse.teachers._base import Pull, Teacher, TeacherInfo

_GROUP = 64  # as many answers are recorded together; not tuned
_REVISION_DIGITS = 12


class ClassifierTeacher(Teacher):
    """Answers with the likeliest of its labels, and the probability of each.

    It reads the last message of the user, as it did when it was fitted. The labels of a prompt are
    those that it was fitted for, in any order; any others end the stream.

    Attributes:
        artifact: The student.

    Raises:
        ConfigError: a text may have several of its labels.
        IntegrityError: the folder is no sound artefact.
        MissingDependencyError: the kind of student needs a package that is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self.artifact: Artifact = open_artifact(folder, kind="classifier")
        if self._classifier.is_multiple:
            raise ConfigError(
                f"The student {folder} gives several labels a text, and is asked for one here. "
                "Judge it with: stillhouse evaluate DATASET STUDENT"
            )

    @cached_property
    def _classifier(self) -> Classifier:
        return load_classifier(self.artifact.path)

    @property
    def info(self) -> TeacherInfo:
        """What answers; its revision is the hash of the artefact's manifest."""
        revision = self.artifact.manifest_sha256
        return TeacherInfo(
            id=f"local:{self.artifact.path.resolve().name}@{revision[:_REVISION_DIGITS]}",
            provider="local",
            revision=revision,
            reads_labels=True,
            needs_labels=True,
            labels=self._classifier.labels,
        )

    def stream(self, pull: Pull) -> Iterator[list[Answer]]:
        """Answer everything that `pull` hands out; see `Teacher.stream`.

        Raises:
            ConfigError: a prompt has no labels, or others than the student's.
        """
        while requests := pull(_GROUP):
            for request in requests:
                check_labels(self.info, request.labels, prompt_id=request.prompt_id)
            yield self._answers(requests)

    def close(self) -> None:
        """Nothing to release."""

    def _answers(self, requests: Sequence[Request]) -> list[Answer]:
        texts = [last_user_text(request) for request in requests]
        shares_NL = probabilities(self._classifier, texts)
        return [
            self._answer(request, shares_L.tolist())
            for request, shares_L in zip(requests, shares_NL, strict=True)
        ]

    def _answer(self, request: Request, shares_L: list[float]) -> Answer:
        by_label = dict(zip(self._classifier.labels, shares_L, strict=True))
        completion = Completion(
            request_id=request.id,
            prompt_id=request.prompt_id,
            sample_index=request.sample_index,
            text=max(by_label, key=by_label.__getitem__),
            finish_reason="stop",
            model=self.artifact.path.resolve().name,
            usage=Usage(cost_usd=0.0),
            created_utc=datetime.now(UTC),
            label_probabilities=by_label,
        )
        return answer_of(completion)
