"""Students that are classifiers."""

from collections.abc import Sequence
from dataclasses import dataclass

from stillhouse.answers._given import Given, Question, most_likely
from stillhouse.classifiers import Classifier, probabilities
from stillhouse.errors import ConfigError
from stillhouse.tasks import Task

_MAX_SHOWN = 5


@dataclass(frozen=True)
class ClassifierAnswerer:
    """Answers with the most likely label."""

    task: Task
    classifier: Classifier

    def answer(self, questions: Sequence[Question]) -> list[Given]:
        """One answer a question, in order."""
        texts = [question.text for question in questions]
        given_NL = probabilities(self.classifier, texts)
        return most_likely(self.task, given_NL, self.classifier.labels)


def require_same_labels(name: str, classifier: Classifier, task: Task) -> None:
    """Refuse a student of another task.

    Raises:
        ConfigError: its labels are not those of the task, or it gives one where the task has
            several.
    """
    extra = [label for label in classifier.labels if label not in task.labels]
    lacking = [label for label in task.labels if label not in classifier.labels]
    if extra or lacking:
        parts = [
            f"{what} {_shown(labels)}"
            for what, labels in (("has", extra), ("lacks", lacking))
            if labels
        ]
        raise ConfigError(
            f"The student {name!r} was fitted for other labels than those of task {task.name!r}: "
            f"it {' and '.join(parts)}. Fit it on this dataset, or give the one it was fitted on."
        )
    if classifier.is_multiple != task.multiple:
        number = "several labels" if classifier.is_multiple else "one label"
        raise ConfigError(
            f"The student {name!r} gives {number} a message, and task {task.name!r} does not. Fit "
            "it on this dataset."
        )


def _shown(labels: Sequence[str]) -> str:
    shown = ", ".join(repr(label) for label in labels[:_MAX_SHOWN])
    more = len(labels) - _MAX_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
