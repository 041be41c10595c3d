"""A student that answers with labels, and the checks that all its exports pass.

Letters: N texts, L labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from stillhouse.artifacts import Artifact
from stillhouse.classifiers import Classifier, probabilities
from stillhouse.errors import DataError, ExportRefusedError
from stillhouse.export._config import ExportConfig
from stillhouse.export._fixtures import fixture_texts
from stillhouse.export._report import Figure, MetricComparison
from stillhouse.records import unit_of
from stillhouse.statistics import compare_paired_binary
from stillhouse.tasks import TaskAnswer, answer_labels, task_of

Answer = str | Sequence[str]
Floats = npt.NDArray[np.float64]

_YES = 0.5


@dataclass(frozen=True)
class ClassifierSource:
    """A student that answers with labels.

    Attributes:
        artifact: It on disk.
        classifier: It in memory.
        config: What is asked for.
        dataset: What its metric is measured on; None without `--data`.
    """

    artifact: Artifact
    classifier: Classifier
    config: ExportConfig
    dataset: Artifact | None

    @cached_property
    def rows(self) -> Sequence[TaskAnswer]:
        """Held-out rows of the dataset with a valid answer; none without a dataset.

        Raises:
            DataError: the dataset has none, or is of another task.
        """
        if self.dataset is None:
            return ()
        task = task_of(self.dataset.manifest.results)
        if set(task.labels) != set(self.classifier.labels):
            raise DataError(
                f"{self.dataset.path} has other labels than the student. Give one of its task."
            )
        found = [
            row
            for row in self.dataset.rows("answers", TaskAnswer)
            if row.split == "held_out" and row.answer is not None
        ]
        if not found:
            raise DataError(
                f"{self.dataset.path} has no held-out row with a valid answer. Give a dataset with "
                "some, or export without --data."
            )
        return found

    @cached_property
    def texts(self) -> Sequence[str]:
        """What every export is asked: the fixtures, then the held-out texts."""
        return (*fixture_texts(), *(row.text for row in self.rows))

    @cached_property
    def given_NL(self) -> Floats:
        """(N, L) the student's probabilities of `texts`."""
        return probabilities(self.classifier, self.texts)


def answers_of(classifier: Classifier, given_NL: Floats) -> list[Answer]:
    """The likeliest label of each row, or all from one half on where a text may have several."""
    names = classifier.labels
    if not classifier.is_multiple:
        return [names[best] for best in given_NL.argmax(axis=1)]
    return [
        [name for name, probability in zip(names, row, strict=True) if probability >= _YES]
        for row in given_NL
    ]


def answer_figures(
    source: ClassifierSource, answers: Sequence[Answer], given_NL: Floats
) -> tuple[Figure, ...]:
    """How far an export's answers and probabilities are from the student's.

    Raises:
        ExportRefusedError: it answers with other labels.
    """
    if given_NL.shape != source.given_NL.shape:
        raise ExportRefusedError(
            f"The export has {given_NL.shape[-1]} labels and the student "
            f"{source.given_NL.shape[-1]}. Nothing was exported. Report this, with the kind."
        )
    total = len(source.texts)
    expected = answers_of(source.classifier, source.given_NL)
    num_same = sum(list(a) == list(b) for a, b in zip(answers, expected, strict=True))
    gap = float(np.abs(given_NL - source.given_NL).max())
    return (
        Figure(name="identical_answers", value=num_same, n=total, at_least=total),
        Figure(
            name="largest_probability_gap",
            value=gap,
            n=total,
            at_most=source.config.max_probability_gap,
        ),
    )


def answer_metric(source: ClassifierSource, answers: Sequence[Answer]) -> MetricComparison | None:
    """Agreement with the answers of the dataset beside the student's; None without data."""
    if source.dataset is None:
        return None
    num_rows = len(source.rows)
    student = answers_of(source.classifier, source.given_NL)[-num_rows:]
    exported_N, student_N = (
        np.array(
            [_agrees(source, row, answer) for row, answer in zip(source.rows, of, strict=True)]
        )
        for of in (answers[-num_rows:], student)
    )
    found = compare_paired_binary(
        exported_N,
        student_N,
        margin=source.config.metric_margin,
        clusters=np.array([unit_of(row.prompt_id, row.group) for row in source.rows]),
    )
    return MetricComparison.of(
        "agreement", found, exported=float(exported_N.mean()), student=float(student_N.mean())
    )


def _agrees(source: ClassifierSource, row: TaskAnswer, answer: Answer) -> float:
    assert source.dataset is not None
    assert row.answer is not None
    task = task_of(source.dataset.manifest.results)
    named = [answer] if isinstance(answer, str) else answer
    return float(set(named) == set(answer_labels(task, row.answer)))
