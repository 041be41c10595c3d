"""Where the texts of a batch come from: whose words the student reads on while it learns."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

from stillhouse.train._lessons import Lesson


@runtime_checkable
class Companion(Protocol):
    """What goes on from step to step beside the student, such as a buffer or a running mean."""

    def update(self, step: int) -> None:
        """Let what it has of its own learn; called with the student's update and never apart."""
        ...

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint must keep, so that a resumed run goes on as it would have."""
        ...

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take up where `state` was taken."""
        ...

    def metrics(self) -> dict[str, float]:
        """What the last step was like, under `train/...` names."""
        ...


class Source(Companion, Protocol):
    """Texts for each step. What it gives depends on the step, the seed and its state alone."""

    def lessons(self, step: int, indices: Sequence[int]) -> list[Lesson]:
        """The lessons of a step, from the training examples at `indices` or from their prompts."""
        ...


class TeacherText:
    """The dataset's own completions: off-policy, the same in every epoch."""

    def __init__(self, texts: Sequence[Lesson]) -> None:
        self._lessons = list(texts)

    def lessons(self, step: int, indices: Sequence[int]) -> list[Lesson]:
        """The examples at `indices`."""
        return [self._lessons[index] for index in indices]

    def update(self, step: int) -> None:
        """Nothing here learns."""

    def state(self) -> dict[str, Tensor]:
        """Nothing: all of it is in the dataset."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Nothing to do."""

    def metrics(self) -> dict[str, float]:
        """Nothing changes from step to step."""
        return {}
