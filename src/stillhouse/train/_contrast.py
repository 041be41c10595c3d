"""DistiLLM-2 (arXiv:2503.07067): both sides of a prompt, each with a divergence of its own.

The source gives the dataset's text and a rollout on the same prompt; the guide lets a live teacher
score both, and says how far each is skewed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stillhouse.losses import (
    Distillm2,
    Head,
    HiddenTarget,
    Samples,
    loss_and_grad_in_parts,
    token_logprobs,
)
from stillhouse.models import PredictingBatch
from stillhouse.train._batches import Schedule
from stillhouse.train._contrast_config import ContrastConfig
from stillhouse.train._lessons import Lesson
from stillhouse.train._live import LiveTeacher
from stillhouse.train._on_policy import Rollouts
from stillhouse.train._running_means import RunningMeans

_TEACHER, _STUDENT = 0, 1  # whose texts: places of the running means


@dataclass(frozen=True)
class ContrastLesson(Lesson):
    """One of two texts on a prompt.

    Attributes:
        is_teacher_text: Whose it is.
        student_weight: What the student's texts count in this step, 0 to 2.
    """

    is_teacher_text: bool = True
    student_weight: float = 1.0


class ContrastPairs:
    """The dataset's text and a rollout on the same prompt, for each prompt of a batch.

    Args:
        texts: The dataset's own texts, in the order that indices mean.
        rollouts: Draws the student's.
        schedule: Of the run: how many steps it has.
        config: How the weight moves from the dataset's texts to the rollouts.
    """

    def __init__(
        self,
        texts: Sequence[Lesson],
        rollouts: Rollouts,
        schedule: Schedule,
        config: ContrastConfig,
    ) -> None:
        self._texts = texts
        self._rollouts = rollouts
        self._config = config
        self._last_step = max(1, schedule.num_steps - 1)
        self._weight = config.first_student_weight

    def lessons(self, step: int, indices: Sequence[int]) -> list[Lesson]:
        """The dataset's texts, then the rollouts.

        Raises:
            DataError: all of a step's rollouts were cut, and such ones are dropped.
        """
        first, last = self._config.first_student_weight, self._config.last_student_weight
        self._weight = first + (last - first) * step / self._last_step
        texts = [_marked(self._texts[index], True, self._weight) for index in indices]
        drawn = self._rollouts.lessons(step, indices)
        return [*texts, *(_marked(lesson, False, self._weight) for lesson in drawn)]

    def update(self, step: int) -> None:
        """Nothing here learns."""

    def state(self) -> dict[str, Tensor]:
        """The rollouts."""
        return self._rollouts.state()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take the rollouts over."""
        self._rollouts.restore(state)

    def metrics(self) -> dict[str, float]:
        """What the rollouts were like, and what they count."""
        return {**self._rollouts.metrics(), "train/student_text_weight": self._weight}


def _marked(lesson: Lesson, is_teacher_text: bool, student_weight: float) -> ContrastLesson:
    return ContrastLesson(
        **vars(lesson), is_teacher_text=is_teacher_text, student_weight=student_weight
    )


@dataclass(frozen=True)
class ContrastTarget:
    """Texts of both authors, and what the teacher says of them.

    Attributes:
        teacher: Its distributions.
        samples: The texts.
        settings: Of the loss, in this step.
        usual_gaps: How much likelier texts are under who wrote them, for both authors. Before
            anything was measured they are 0, for which every skew is the largest.
    """

    teacher: HiddenTarget
    samples: Samples
    settings: Distillm2
    usual_gaps: RunningMeans

    def loss_and_grad(
        self, hidden_ND: Tensor, head: Head, weight_N: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The weighted sum of the losses and its gradient by the hidden states."""
        gaps = self.samples.gaps(hidden_ND, head)
        parts = self.settings.parts(self.samples, gaps, _of_both(self.usual_gaps))
        authors = [_TEACHER if is_its else _STUDENT for is_its in self.samples.is_teacher_text]
        self.usual_gaps.observe(torch.tensor(authors), torch.tensor(gaps, dtype=torch.float64))
        loss_N, grad_ND = loss_and_grad_in_parts(
            hidden_ND, head, self.teacher, parts, weight_N=weight_N
        )
        return (loss_N.double() * weight_N.double()).sum(), grad_ND


class ContrastedTexts:
    """Guide of `ContrastPairs`."""

    def __init__(self, teacher: LiveTeacher, config: ContrastConfig) -> None:
        self._teacher = teacher
        self._config = config
        self._gaps = RunningMeans("contrast/gaps", 2)

    def __call__(self, lessons: Sequence[Lesson], batch: PredictingBatch) -> ContrastTarget:
        """Let the teacher score these texts."""
        marked = [lesson for lesson in lessons if isinstance(lesson, ContrastLesson)]
        lengths = [lesson.num_tokens for lesson in marked]
        target = self._teacher.target(batch)
        logprob_N = token_logprobs(target.hidden_NE, Head(target.head_VE), batch.target_ids_N)
        samples = Samples(
            ids_N=batch.target_ids_N,
            lengths=tuple(lengths),
            teacher_logprobs=tuple(float(one.mean()) for one in logprob_N.split(lengths)),
            is_teacher_text=tuple(lesson.is_teacher_text for lesson in marked),
        )
        settings = Distillm2(marked[0].student_weight, self._config.base_skew)
        return ContrastTarget(target, samples, settings, self._gaps)

    def update(self, step: int) -> None:
        """Let the running means take this step in."""
        self._gaps.update()

    def state(self) -> dict[str, Tensor]:
        """The running means."""
        return self._gaps.state()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take the running means over."""
        self._gaps.restore(state)

    def metrics(self) -> dict[str, float]:
        """The running means, the last step included."""
        teacher, student = _of_both(self._gaps)
        return {"train/teacher_text_gap": teacher, "train/student_text_gap": student}


def _of_both(gaps: RunningMeans) -> tuple[float, float]:
    teacher, student = gaps.means_P.tolist()
    return teacher, student
