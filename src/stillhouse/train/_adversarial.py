"""On-policy learning from a teacher that only answers in text (GAD, arXiv:2511.10643).

A discriminator learns to tell the teacher's texts from the student's; the student learns, by a
policy gradient, to write what is rated higher than its other texts on the same prompt. First both
warm up: the student on the teacher's text, the discriminator on what the student writes meanwhile.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stillhouse.chat import EncodedExample
from stillhouse.errors import ConfigError
from stillhouse.losses import Head, Objective, SampledTarget, head_loss_and_grad
from stillhouse.models import PredictingBatch
from stillhouse.train._batches import Schedule
from stillhouse.train._black_box_config import AdversarialConfig
from stillhouse.train._discriminator import Contest, Discriminator, Ratings
from stillhouse.train._lessons import Lesson, with_weight
from stillhouse.train._rollout_config import RolloutConfig
from stillhouse.train._rollouts import Draft, Drawer, Rollout, seed_of

_SMALLEST_SPREAD = 1e-4  # of a prompt's ratings: what is alike is not blown up to differ
_CROSS_ENTROPY = Objective("sampled_cross_entropy")


@dataclass(frozen=True)
class RatedLesson(Lesson):
    """A text, and how much more or less of it is wanted.

    Attributes:
        advantage: Factor of the gradient of its log-probability; 1 is to learn it as it is.
    """

    advantage: float = 1.0


class RatedRollouts:
    """Rollouts with their ratings, and the discriminator that learns to give them.

    Rollouts are drawn anew in every step, so that the policy gradient needs no correction.

    Args:
        texts: The dataset's own texts, in the order that indices mean.
        draw: Draws the student's.
        discriminator: Rates both.
        schedule: Of the run: how many steps the warm-up has.
        config: How many are drawn, and for how long both warm up.
        rollout: How long they may be, and what becomes of those that were cut.
        longest: Tokens of prompt and completion together that the models can read.

    Raises:
        ConfigError: the run would end within the warm-up.
    """

    def __init__(
        self,
        texts: Sequence[Lesson],
        draw: Drawer,
        discriminator: Discriminator,
        schedule: Schedule,
        config: AdversarialConfig,
        rollout: RolloutConfig,
        *,
        longest: int,
    ) -> None:
        self._texts = texts
        self._draw = draw
        self._discriminator = discriminator
        self._seed = schedule.seed
        self._config = config
        self._rollout = rollout
        self._longest = longest
        warmup = replace(schedule, epochs=config.warmup_epochs)
        self._num_warmup = warmup.num_steps if config.warmup_epochs else 0
        self._metrics: dict[str, float] = {}
        if self._num_warmup >= schedule.num_steps:
            raise ConfigError(
                f"adversarial.warmup_epochs={config.warmup_epochs:g} leaves nothing of "
                f"epochs={schedule.epochs:g}. Train longer, or warm up for less."
            )

    def lessons(self, step: int, indices: Sequence[int]) -> list[Lesson]:
        """Draw, rate, and leave the discriminator's gradients for `update`.

        Raises:
            NonFiniteLossError: the discriminator diverged.
            DataError: all rollouts were cut, and such ones are dropped.
        """
        started_s = time.monotonic()
        rollouts = self._draw(
            [self._draft(step, index, n) for index in indices for n in range(self._config.samples)]
        )
        drawn_s = time.monotonic() - started_s
        owners = [index for index in indices for _ in range(self._config.samples)]
        drawn = [self._example(*pair) for pair in zip(owners, rollouts, strict=True)]
        ratings = self._discriminator.learn(
            Contest([self._texts[index].example for index in indices], drawn)
        )
        self._metrics = {**_metrics(ratings, rollouts), "time/rollouts_s": drawn_s}
        if step < self._num_warmup:
            return [self._texts[index] for index in indices]
        wanted = advantages_of(ratings.student_PG).flatten().tolist()
        rated: list[Lesson] = [
            RatedLesson(
                example,
                weight=self._weight(index, rollout),
                behaviour_logprobs=rollout.logprobs,
                is_truncated=rollout.is_truncated,
                advantage=advantage,
            )
            for index, example, rollout, advantage in zip(
                owners, drawn, rollouts, wanted, strict=True
            )
        ]
        return with_weight(rated, step, max_tokens=self._rollout.max_tokens)

    def update(self, step: int) -> None:
        """Let the discriminator learn from the texts of this step."""
        self._discriminator.update()

    def state(self) -> dict[str, Tensor]:
        """The discriminator; rollouts are drawn anew."""
        return {f"discriminator/{key}": one for key, one in self._discriminator.state().items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take the discriminator over."""
        self._discriminator.restore(
            {key.removeprefix("discriminator/"): value for key, value in state.items()}
        )

    def metrics(self) -> dict[str, float]:
        """Ratings before the last step's update, and what the rollouts were like."""
        return self._metrics

    def _draft(self, step: int, index: int, number: int) -> Draft:
        example = self._texts[index].example
        return Draft(
            prompt_ids=example.ids[: example.num_prompt],
            max_tokens=min(self._rollout.max_tokens, self._longest - example.num_prompt),
            seed=seed_of(self._seed, "rated", step, index, number),
        )

    def _weight(self, index: int, rollout: Rollout) -> float:
        """That of the text whose prompt it answers, less if it was cut."""
        factor = self._rollout.truncated_weight if rollout.is_truncated else 1.0
        return factor * self._texts[index].weight

    def _example(self, index: int, rollout: Rollout) -> EncodedExample:
        prompt = self._texts[index].example
        return EncodedExample((*prompt.ids[: prompt.num_prompt], *rollout.ids), prompt.num_prompt)


def advantages_of(rating_PG: Tensor) -> Tensor:
    """How each rating compares with the others on its prompt: mean 0 and deviation 1 for each.

    Source: GRPO, arXiv:2402.03300.
    """
    rating_PG = rating_PG.double()
    centred_PG = rating_PG - rating_PG.mean(dim=1, keepdim=True)
    return centred_PG / (rating_PG.std(dim=1, keepdim=True) + _SMALLEST_SPREAD)


@dataclass(frozen=True)
class AdvantageTarget:
    """Tokens, and how much more of each is wanted.

    Attributes:
        ids_N: What was written.
        advantage_N: Of the text that each token is of.
    """

    ids_N: Tensor
    advantage_N: Tensor

    def loss_and_grad(
        self, hidden_ND: Tensor, head: Head, weight_N: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The weighted sum of -advantage * log q and its gradient by the hidden states."""
        target = SampledTarget(self.ids_N.unsqueeze(1), self.advantage_N.unsqueeze(1))
        loss_N, grad_ND = head_loss_and_grad(
            hidden_ND, head, target, _CROSS_ENTROPY, weight_N=weight_N
        )
        return (loss_N.double() * weight_N.double()).sum(), grad_ND


def advantages(lessons: Sequence[Lesson], batch: PredictingBatch) -> AdvantageTarget:
    """Guide of `RatedRollouts`; a lesson without a rating is learnt as it is."""
    of_texts = [one.advantage if isinstance(one, RatedLesson) else 1.0 for one in lessons]
    lengths = torch.tensor([lesson.num_tokens for lesson in lessons])
    return AdvantageTarget(batch.target_ids_N, torch.tensor(of_texts).repeat_interleave(lengths))


def _metrics(ratings: Ratings, rollouts: Sequence[Rollout]) -> dict[str, float]:
    return {
        "train/discriminator_loss_nats": ratings.loss_nats,
        "train/discriminator_accuracy": ratings.accuracy,
        "train/rating_teacher": float(ratings.teacher_P.mean()),
        "train/rating_student": float(ratings.student_PG.mean()),
        "train/rollout_mean_tokens": sum(len(one.ids) for one in rollouts) / len(rollouts),
        "train/truncated_fraction": sum(one.is_truncated for one in rollouts) / len(rollouts),
    }
