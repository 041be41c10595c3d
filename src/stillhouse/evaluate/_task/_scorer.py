"""Students scored one after the other, for who compares many and needs no report."""

from collections.abc import Sequence
from dataclasses import dataclass

from stillhouse.answers import Question, questions_of
from stillhouse.artifacts import Artifact
from stillhouse.evaluate._task._config import TaskEvaluateConfig
from stillhouse.evaluate._task._held_out import HeldOut
from stillhouse.evaluate._task._measure._scores import Scored, score
from stillhouse.evaluate._task._systems._open import Workshop


@dataclass(frozen=True)
class TaskScorer:
    """Scores students of a task on the held-out messages of its dataset.

    Attributes:
        held_out: The messages.
    """

    held_out: HeldOut
    _questions: Sequence[Question]
    _workshop: Workshop

    @classmethod
    def of(
        cls, dataset: Artifact, config: TaskEvaluateConfig, *, needs_messages: bool
    ) -> "TaskScorer":
        """A scorer on a dataset that `curate` made with a task.

        Args:
            dataset: Its held-out rows are asked.
            config: How many of them, and how long an answer may be.
            needs_messages: Whether students read whole conversations, as language models do.

        Raises:
            DataError: the dataset has no task or too few held-out messages, or the conversation of
                one is not in its lineage.
        """
        held_out = HeldOut.of(dataset, config)
        questions = questions_of(held_out.rows, dataset, needs_messages=needs_messages)
        return cls(held_out, questions, Workshop(held_out.task, dataset, config))

    def score(self, name: str, student: Artifact) -> Scored:
        """What a student answers, and what that is worth.

        Raises:
            ConfigError: it was fitted for other labels.
            IntegrityError: its files are damaged.
            MissingDependencyError: it needs a package that is not installed.
        """
        system = self._workshop.student(name, student)
        return score(self.held_out, system.answerer.answer(self._questions))
