"""Students' models before any training: what they do with the task and not a single answer.

Letters: N texts, L labels, D width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stillhouse.answers import Given, Question
from stillhouse.artifacts import Artifact
from stillhouse.errors import IntegrityError
from stillhouse.models import LanguageModel, StudentStart, load_model, locate_model
from stillhouse.tasks import Task

Floats = npt.NDArray[np.float32]
Embed = Callable[[Sequence[str]], Floats]
"""(N, D) states of N texts."""


@dataclass(frozen=True)
class NearestNameAnswerer:
    """Answers with the label whose name an untrained encoder places nearest to the message.

    Attributes:
        task: A classification.
        embed: The encoder.
        names_LD: States of the labels' names, of length 1.
    """

    task: Task
    embed: Embed
    names_LD: Floats

    def answer(self, questions: Sequence[Question]) -> list[Given]:
        """One answer a question, in order."""
        texts_ND = _unit(self.embed([question.text for question in questions]))
        nearest_N = (texts_ND @ self.names_LD.T).argmax(axis=1)
        return [Given(self.task.labels[place]) for place in nearest_N.tolist()]


def nearest_name(task: Task, embed: Embed) -> NearestNameAnswerer:
    """The answers of an encoder that was not trained for `task`."""
    return NearestNameAnswerer(task, embed, _unit(embed([name_text(name) for name in task.labels])))


def name_text(label: str) -> str:
    """A label as one would say it: `card_arrival` is `card arrival`."""
    return " ".join(label.replace("_", " ").replace("-", " ").split()) or label


def untuned_model(student: Artifact) -> LanguageModel | None:
    """The model that a student was trained from; None where it began from random weights.

    Raises:
        IntegrityError: its weights have changed since.
    """
    if StudentStart.read(student.path).random_seed is not None:
        return None
    config = student.manifest.config
    folder = locate_model(str(config["base"]).removeprefix("local:"))
    if config["base_revision"] != folder.revision:
        raise IntegrityError(
            f"{student.path} was made from {config['base']!r}, whose weights have changed since: "
            "what it could do before training cannot be measured. Restore them, or train again."
        )
    return load_model(folder.path)


def _unit(states_ND: Floats) -> Floats:
    lengths_N1 = np.linalg.norm(states_ND, axis=1, keepdims=True)
    return np.asarray(states_ND / np.maximum(lengths_N1, 1e-12), dtype=np.float32)
