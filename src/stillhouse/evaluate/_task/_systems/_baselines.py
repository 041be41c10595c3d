"""What a student has to beat: answers that need no model, and a linear model on n-grams.

Letters: N rows, L labels.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stillhouse.answers import ClassifierAnswerer, Given, Question
from stillhouse.classifiers import fit_ngram
from stillhouse.errors import DataError
from stillhouse.evaluate._task._systems._answers import System, SystemFacts
from stillhouse.runlog import Listener
from stillhouse.tasks import Task, TaskAnswer, answer_labels, parse_answer

MAJORITY, COPY, NGRAM = "majority", "copy", "n-grams"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ConstantAnswerer:
    """Always says the same."""

    text: str

    def answer(self, questions: Sequence[Question]) -> list[Given]:
        """One answer a question, in order."""
        return [Given(self.text) for _ in questions]


@dataclass(frozen=True)
class CopyAnswerer:
    """Gives the message back."""

    task: Task

    def answer(self, questions: Sequence[Question]) -> list[Given]:
        """One answer a question, in order."""
        answers = [parse_answer(self.task, question.text) for question in questions]
        return [Given(answer.text, problem=answer.problem) for answer in answers]


def majority_system(task: Task, train: Sequence[TaskAnswer]) -> System:
    """The most frequent answer of the training rows; of equal ones the first in the alphabet.

    Raises:
        DataError: there are no training rows.
    """
    if not train:
        raise DataError(
            "The dataset has no training row with a valid answer, so there is no baseline to hold "
            "a student against. Curate a dataset with both splits."
        )
    times = Counter(row.answer for row in train if row.answer is not None)
    most = min(times, key=lambda text: (-times[text], text))
    facts = SystemFacts(name=MAJORITY, role="majority", answered_by="constant", is_timed=False)
    return System(facts, ConstantAnswerer(most))


def copy_system(task: Task) -> System:
    """The message itself, which is hard to beat where little is to be rewritten."""
    facts = SystemFacts(name=COPY, role="copy", answered_by="constant", is_timed=False)
    return System(facts, CopyAnswerer(task))


def ngram_system(
    task: Task,
    texts: Sequence[str],
    train: Sequence[TaskAnswer],
    *,
    seed: int,
    on_progress: Listener,
) -> System:
    """A linear model on n-grams, fitted here to the training rows.

    Args:
        task: A classification.
        texts: Of the training rows, as students read them.
        train: The rows.
        seed: Of the parts that are held out to choose its penalty.
        on_progress: Is told after each penalty that was tried.

    Raises:
        DataError: the rows do not teach anything, such as one label only.
    """
    classifier = fit_ngram(
        texts,
        label_targets(task, train),
        labels=task.labels,
        is_multiple=task.multiple,
        seed=seed,
        on_progress=on_progress,
    )
    facts = SystemFacts(
        name=NGRAM,
        role="ngram",
        answered_by="classifier",
        kind="ngram",
        num_parameters=classifier.num_parameters,
        num_bytes=classifier.num_bytes,
    )
    return System(facts, ClassifierAnswerer(task, classifier))


def label_targets(task: Task, rows: Sequence[TaskAnswer]) -> Floats:
    """(N, L) how probable each label is by the teacher's answers.

    Args:
        task: A classification.
        rows: With a valid answer each.
    """
    columns = {label: column for column, label in enumerate(task.labels)}
    targets_NL = np.zeros((len(rows), len(task.labels)))
    for place, row in enumerate(rows):
        for answer, probability in row.probabilities.items():
            for label in answer_labels(task, answer):
                targets_NL[place, columns[label]] += probability
    return targets_NL
