"""The teacher's text preferred over the student's own, from text alone.

The source gives each prompt's two texts one after the other, with what the student as it was
before the first step thought of each; the guide makes of them what the sequence rule of `losses`
compares. Shape letters: S texts, L pairs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stillhouse.losses import Head, Preference, Segments, sequence_loss_and_grad, token_logprobs
from stillhouse.models import (
    PredictingBatch,
    output_head,
    predicting_batch,
    predicting_hidden_states,
)
from stillhouse.train._batches import Schedule
from stillhouse.train._black_box_config import PreferenceConfig
from stillhouse.train._lessons import Lesson, with_weight
from stillhouse.train._on_policy import Rollouts
from stillhouse.train._rollout_config import RolloutConfig
from stillhouse.train._rollouts import Drawer


@dataclass(frozen=True)
class PairedLesson(Lesson):
    """One of two texts on a prompt: the teacher's, then the student's.

    Attributes:
        reference_logprob: Of the whole completion under the student before training, nats.
    """

    reference_logprob: float = 0.0


class Reference:
    """The student as it was before the first step.

    A text is scored by itself, so that what it gets does not depend on the batch it is met in.

    Args:
        network: The student, which has learnt nothing yet; its weights may change later only if
            this is a copy.
    """

    def __init__(self, network: Any) -> None:
        self._network = network.requires_grad_(False)

    @torch.no_grad()
    def logprob(self, lesson: Lesson) -> float:
        """Log-probability of a whole completion, nats."""
        batch = predicting_batch([lesson.example])
        hidden_ND = predicting_hidden_states(self._network, batch)
        head = Head(output_head(self._network), None)
        return float(token_logprobs(hidden_ND, head, batch.target_ids_N).double().sum())


class PreferencePairs:
    """The dataset's text and a rollout on the same prompt, for each prompt of a batch.

    A pair counts alike whatever its lengths; one whose rollout was cut counts
    `rollout.truncated_weight`.

    Args:
        texts: The dataset's own texts, in the order that indices mean.
        draw: Draws the other one of each pair.
        reference: Scores both: the dataset's texts once in a run, rollouts when they are drawn.
        schedule: Which texts come, to draw those of coming steps together.
        config: How rollouts are drawn; one window of them as long as the run is plain DPO.
        longest: Tokens of prompt and completion together that the student can read.
    """

    def __init__(
        self,
        texts: Sequence[Lesson],
        draw: Drawer,
        reference: Reference,
        schedule: Schedule,
        config: RolloutConfig,
        *,
        longest: int,
    ) -> None:
        self._texts = texts
        self._reference = reference
        self._truncated_weight = config.truncated_weight
        self._max_tokens = config.max_tokens
        keep_all = config.model_copy(update={"truncated_weight": 1.0})
        self._rollouts = Rollouts(texts, draw, schedule, keep_all, share=1.0, longest=longest)
        self._scores: dict[str, float] = {}

    def lessons(self, step: int, indices: Sequence[int]) -> list[Lesson]:
        """Two lessons for each index, the dataset's text first.

        Raises:
            DataError: all of a step's rollouts were cut, and such ones are dropped.
        """
        rollouts = self._rollouts.lessons(step, indices)
        pairs: list[Lesson] = []
        for index, rollout in zip(indices, rollouts, strict=True):
            weight = self._truncated_weight if rollout.is_truncated else 1.0
            if weight > 0.0:
                pairs += self._pair(self._texts[index], rollout, weight)
        return with_weight(pairs, step, max_tokens=self._max_tokens)

    def update(self, step: int) -> None:
        """Nothing here learns."""

    def state(self) -> dict[str, Tensor]:
        """The rollouts, and what the reference said so far."""
        keys = [list(bytes.fromhex(key)) for key in self._scores]
        return {
            **self._rollouts.state(),
            "reference/keys": torch.tensor(keys, dtype=torch.uint8).reshape(-1, 32),
            "reference/logprobs": torch.tensor(list(self._scores.values()), dtype=torch.float64),
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take both over."""
        self._rollouts.restore(state)
        keys = [bytes(key).hex() for key in state["reference/keys"].tolist()]
        self._scores = dict(zip(keys, state["reference/logprobs"].tolist(), strict=True))

    def metrics(self) -> dict[str, float]:
        """What the rollouts were like."""
        return self._rollouts.metrics()

    def _pair(self, text: Lesson, rollout: Lesson, weight: float) -> list[Lesson]:
        # Texts have their own weights where prompts are to count alike.
        weight *= text.weight
        return [
            PairedLesson(
                lesson.example,
                # Of all tokens of a text together, so that its length does not matter.
                weight=weight / lesson.num_tokens,
                is_truncated=lesson.is_truncated,
                group=text.group,
                follows=lesson is rollout,
                reference_logprob=self._score(lesson),
            )
            for lesson in (text, rollout)
        ]

    def _score(self, lesson: Lesson) -> float:
        key = lesson.example.signal_key
        if key not in self._scores:
            self._scores[key] = self._reference.logprob(lesson)
        return self._scores[key]


@dataclass(frozen=True)
class PairTarget:
    """The pairs of a batch.

    Attributes:
        segments: Its texts, teacher's and student's in turn.
        reference_logprob_S: What the student before thought of them.
        config: How they are compared.
    """

    segments: Segments
    reference_logprob_S: Tensor
    config: PreferenceConfig

    def loss_and_grad(
        self, hidden_ND: Tensor, head: Head, weight_N: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The weighted sum of the pairs' losses and its gradient by the hidden states."""
        chosen_L = torch.arange(0, self.segments.num_segments, 2)
        rule = Preference(
            self.reference_logprob_S,
            chosen_L,
            chosen_L + 1,
            self.config.strength,
            self.config.is_length_normalized,
        )
        weight_S = self.segments.sums(weight_N)
        weight_L = weight_S[chosen_L] + weight_S[chosen_L + 1]
        loss_L, grad_ND = sequence_loss_and_grad(
            hidden_ND, head, self.segments, rule, weight_L=weight_L
        )
        return (loss_L.double() * weight_L.double()).sum(), grad_ND


class TeacherPreferred:
    """Guide of `PreferencePairs`."""

    def __init__(self, config: PreferenceConfig) -> None:
        self._config = config

    def __call__(self, lessons: Sequence[Lesson], batch: PredictingBatch) -> PairTarget:
        """The pairs of these lessons."""
        return PairTarget(
            texts_of(lessons, batch),
            torch.tensor([_reference_logprob(lesson) for lesson in lessons]),
            self._config,
        )


def texts_of(lessons: Sequence[Lesson], batch: PredictingBatch) -> Segments:
    """One segment for each text."""
    lengths = torch.tensor([lesson.num_tokens for lesson in lessons])
    text_N = torch.repeat_interleave(torch.arange(len(lessons)), lengths)
    return Segments(batch.target_ids_N, text_N, len(lessons))


def _reference_logprob(lesson: Lesson) -> float:
    assert isinstance(lesson, PairedLesson)
    return lesson.reference_logprob
