"""Guides that ask a teacher in every step: exact distributions on texts that nobody has seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stillhouse.chat import ChatTokenizer
from stillhouse.errors import ConfigError, VocabularyMismatchError
from stillhouse.losses import Head, HiddenTarget, MixtureTarget, ScoredTarget, token_logprobs
from stillhouse.models import (
    LanguageModel,
    PredictingBatch,
    load_model,
    output_head,
    predicting_batch,
    predicting_hidden_states,
)
from stillhouse.train._lessons import Lesson
from stillhouse.train._running_means import RunningMeans


@dataclass(frozen=True)
class LiveTeacher:
    """A teacher in memory that shares the student's ids.

    Attributes:
        model: The teacher.
        num_ids: Ids that teacher and student both know; either may have more, as padding.
    """

    model: LanguageModel
    num_ids: int

    def target(self, batch: PredictingBatch) -> HiddenTarget:
        """Hidden states and head at the predicting positions, over the shared ids."""
        return HiddenTarget(self.hidden_states(batch), self.head_VE)

    @property
    def head_VE(self) -> Tensor:
        """The head's rows of the shared ids."""
        return output_head(self.model.network).detach()[: self.num_ids]

    @torch.no_grad()
    def hidden_states(self, batch: PredictingBatch) -> Tensor:
        """What the head turns into predictions, (N, E)."""
        return predicting_hidden_states(self.model.network, batch)


def open_live_teacher(spec: str, chat: ChatTokenizer, *, num_student_ids: int) -> LiveTeacher:
    """Load a teacher for a student.

    Args:
        spec: `local:` and where it is.
        chat: The student's tokenizer and template.
        num_student_ids: Rows of the student's head.

    Raises:
        VocabularyMismatchError: it has another tokenizer or template than the student.
        ConfigError: nothing is there, or its head cannot be used.
    """
    model = load_model(spec.removeprefix("local:"))
    for what, found, wanted in (
        ("tokenizer", model.chat.vocabulary_sha256, chat.vocabulary_sha256),
        ("chat template", model.chat.template_sha256, chat.template_sha256),
    ):
        if found != wanted:
            raise VocabularyMismatchError(
                f"The teacher {spec} has another {what} than the student ({found[:12]}, needed "
                f"{wanted[:12]}), so that it would read the student's texts as something else. "
                "Use a teacher of the student's family, or capture a signal across tokenizers."
            )
    model.network.requires_grad_(False)
    return LiveTeacher(model, min(num_student_ids, output_head(model.network).shape[0]))


def open_any_teacher(spec: str) -> LiveTeacher:
    """Load a teacher whose tokens need not be the student's.

    Raises:
        ConfigError: nothing is there, or its head cannot be used.
    """
    model = load_model(spec.removeprefix("local:"))
    model.network.requires_grad_(False)
    return LiveTeacher(model, output_head(model.network).shape[0])


class TeacherDistribution:
    """The distribution of one teacher."""

    def __init__(self, teacher: LiveTeacher) -> None:
        self._teacher = teacher

    def __call__(self, lessons: Sequence[Lesson], batch: PredictingBatch) -> HiddenTarget:
        """Its hidden states and head; logits exist for one tile at a time."""
        return self._teacher.target(batch)


class AveragedTeachers:
    """The mean of several teachers' probabilities.

    Args:
        teachers: By name.
        weights: By name, any positive numbers; only their proportions count.
    """

    def __init__(self, teachers: Mapping[str, LiveTeacher], weights: Mapping[str, float]) -> None:
        self._teachers = list(teachers.values())
        total = sum(weights.values())
        self._shares = torch.tensor([weights[name] / total for name in teachers])
        self._num_ids = min(teacher.num_ids for teacher in self._teachers)

    def __call__(self, lessons: Sequence[Lesson], batch: PredictingBatch) -> MixtureTarget:
        """All of them, equally at every position."""
        weights_NM = self._shares.expand(len(batch.target_ids_N), -1)
        targets = tuple(teacher.target(batch) for teacher in self._teachers)
        return MixtureTarget(weights_NM, targets).cut(self._num_ids)


class RoutedTeachers:
    """Each lesson's own teacher.

    Args:
        teachers: By name.
        routes: A group of examples to the name of its teacher.
    """

    def __init__(self, teachers: Mapping[str, LiveTeacher], routes: Mapping[str, str]) -> None:
        self._teachers = teachers
        self._routes = routes
        self._num_ids = min(teacher.num_ids for teacher in teachers.values())

    def __call__(self, lessons: Sequence[Lesson], batch: PredictingBatch) -> MixtureTarget:
        """A mixture in which one teacher has all the weight at each position.

        Raises:
            ConfigError: a lesson's group has no teacher.
        """
        owners = [route_of(lesson.group, self._routes) for lesson in lessons]
        counts = torch.tensor([lesson.num_tokens for lesson in lessons])
        columns, targets = [], []
        for name, teacher in self._teachers.items():
            is_owner_B = torch.tensor([owner == name for owner in owners])
            is_owner_N = is_owner_B.repeat_interleave(counts)
            columns.append(is_owner_N.float())
            targets.append(_partial_target(teacher, lessons, is_owner_B.tolist(), is_owner_N))
        return MixtureTarget(torch.stack(columns, dim=1), tuple(targets)).cut(self._num_ids)


class ScoredTokens:
    """What the teacher thinks of the tokens that the student drew, and nothing else.

    Args:
        teacher: Scores them.
        future_discount: How much a token answers for the log-ratios of those after it.
        baseline: By position of a rollout, what the cost of a token is compared with; None for
            nothing. No token that it is taken off from has a part in it, so that the mean of the
            gradient over draws stays what it is.
    """

    def __init__(
        self,
        teacher: LiveTeacher,
        *,
        future_discount: float = 0.0,
        baseline: RunningMeans | None = None,
    ) -> None:
        self._teacher = teacher
        self._discount = future_discount
        self._baseline = baseline

    def __call__(self, lessons: Sequence[Lesson], batch: PredictingBatch) -> ScoredTarget:
        """Log-probabilities of teacher and sampler."""
        behaviour_N = torch.cat([_behaviour(lesson) for lesson in lessons])
        head = Head(self._teacher.head_VE)
        teacher_N = token_logprobs(self._teacher.hidden_states(batch), head, batch.target_ids_N)
        lengths = [lesson.num_tokens for lesson in lessons]
        if self._discount:
            gains = (teacher_N - behaviour_N).split(lengths)
            future = [discounted_sum(gain_T, self._discount) for gain_T in gains]
            teacher_N = behaviour_N + torch.cat(future)
        baseline_N = None
        if self._baseline is not None:
            places_N = torch.cat([torch.arange(length) for length in lengths])
            baseline_N = self._baseline.means_P.float()[places_N]
            self._baseline.observe(places_N, behaviour_N - teacher_N)
        return ScoredTarget(batch.target_ids_N, teacher_N, behaviour_N, baseline_N)

    def update(self, step: int) -> None:
        """Let the baseline learn from this step."""
        if self._baseline is not None:
            self._baseline.update()

    def state(self) -> dict[str, Tensor]:
        """The baseline."""
        return self._baseline.state() if self._baseline is not None else {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take the baseline over."""
        if self._baseline is not None:
            self._baseline.restore(state)

    def metrics(self) -> dict[str, float]:
        """Nothing that the loss does not say."""
        return {}


def discounted_sum(value_T: Tensor, discount: float) -> Tensor:
    """At each position, itself and what follows: sum over s >= t of discount**(s - t) * value_s.

    MiniLLM's long-term part (Gu et al. 2023, arXiv:2306.08543); the discount keeps the variance
    of a long text's sum from drowning what a token does at its own place.
    """
    sums, total = [], value_T.new_zeros(())
    for value in reversed(value_T.unbind()):
        total = value + discount * total
        sums.append(total)
    return torch.stack(sums[::-1])


def route_of(group: str | None, routes: Mapping[str, str]) -> str:
    """The teacher of a group.

    Raises:
        ConfigError: it has none.
    """
    if group is None or group not in routes:
        raise ConfigError(
            f"An example of the group {group!r} has no teacher; live.routes names "
            f"{', '.join(sorted(routes)[:10])}. Add it, or leave such examples out of the dataset."
        )
    return routes[group]


def _behaviour(lesson: Lesson) -> Tensor:
    assert lesson.behaviour_logprobs is not None  # the table of methods pairs us with rollouts
    return torch.from_numpy(lesson.behaviour_logprobs)


def _partial_target(
    teacher: LiveTeacher, lessons: Sequence[Lesson], is_owner_B: list[bool], is_owner_N: Tensor
) -> HiddenTarget:
    """A teacher's hidden states on its own lessons, zeros elsewhere."""
    head_VE = teacher.head_VE
    hidden_NE = head_VE.new_zeros(len(is_owner_N), head_VE.shape[1])
    own = [one.example for one, is_own in zip(lessons, is_owner_B, strict=True) if is_own]
    if own:
        hidden_NE[is_owner_N] = teacher.hidden_states(predicting_batch(own))
    return HiddenTarget(hidden_NE, head_VE)
