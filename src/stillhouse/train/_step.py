"""One optimiser step: the only place where gradients and weights change."""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch

from stillhouse.errors import ConfigError, NonFiniteLossError
from stillhouse.losses import Objective, head_loss_and_grad, token_logprobs
from stillhouse.models import predicting_batch
from stillhouse.train._config import TrainConfig
from stillhouse.train._guides import Guide, TextTarget
from stillhouse.train._lessons import Lesson
from stillhouse.train._match import HiddenMatch
from stillhouse.train._methods import OBJECTIVES
from stillhouse.train._placement import gathered, local_part, on_device, place
from stillhouse.train._ranks import ALONE, Ranks
from stillhouse.train._staleness import chosen_correction, prefix_factors


@dataclass(frozen=True)
class StepResult:
    """What a step measured.

    Attributes:
        loss_nats: Mean loss over the completion tokens of the batch.
        grad_norm: Norm of all gradients before clipping.
        num_tokens: Completion tokens learnt.
        num_padded_tokens: Tokens that went through the model, padding included.
    """

    loss_nats: float
    grad_norm: float
    num_tokens: int
    num_padded_tokens: int


class Stepper:
    """A network with its optimiser and learning-rate schedule.

    Args:
        network: What is trained; stays in evaluation mode, so no dropout draws random numbers.
        config: Rates, decay and clipping.
        num_steps: Length of the schedule.
        ranks: The processes that share each batch.
        num_ids: Learn the first so many ids alone, where a teacher knows no more.
        match: Adds the distance of hidden states to the loss that is descended, not to the one
            that is told.
    """

    def __init__(
        self,
        network: Any,
        config: TrainConfig,
        num_steps: int,
        ranks: Ranks = ALONE,
        *,
        num_ids: int | None = None,
        match: HiddenMatch | None = None,
    ) -> None:
        self._ranks = ranks
        self._match = match
        self._num_ids = num_ids
        self._correction = chosen_correction(config.rollout, config.objective)
        self._config = config
        self._num_steps = num_steps
        self._objective = per_token_objective(config)
        self._placement = place(network, config.device, ranks)
        self.network = self._placement.network
        self._parameters = [p for p in self.network.parameters() if p.requires_grad]
        matrices = [p for p in self._parameters if p.ndim > 1]
        vectors = [p for p in self._parameters if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": config.weight_decay},
                {"params": vectors, "weight_decay": 0.0},
            ],
            lr=config.learning_rate,
            betas=(0.9, 0.95),
            fused=True,
        )

    def learning_rate(self, step: int) -> float:
        """Linear warm-up to the peak, then linear to zero; never zero itself."""
        warmup = max(1, round(self._config.warmup_fraction * self._num_steps))
        if step < warmup:
            return self._config.learning_rate * (step + 1) / warmup
        left = (self._num_steps - step) / max(1, self._num_steps - warmup)
        return self._config.learning_rate * left

    def learn(self, step: int, parts: Sequence[Sequence[Lesson]], guide: Guide) -> StepResult:
        """Leave the gradients of one batch, given in parts that are processed one by one.

        The sum is divided by the weight of all tokens of the batch, in whichever part they are and
        on whichever rank.

        Raises:
            NonFiniteLossError: loss or gradient is NaN or infinite; the gradients are dropped.
        """
        lessons = [lesson for part in parts for lesson in part]
        total = sum(lesson.weight * lesson.num_tokens for lesson in lessons)
        # Gradients and losses are averaged over the ranks, so that each counts for all of them.
        total /= self._ranks.size
        sums = [0.0, 0.0]
        for part in parts:
            loss, num_padded = self._learn_part(own_share(part, self._ranks), guide, total)
            sums = [sums[0] + loss, sums[1] + num_padded]
        loss, padded = self._ranks.total(sums)
        loss /= self._ranks.size
        norm = self._clipped_norm()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self.optimizer.zero_grad(set_to_none=False)
            raise NonFiniteLossError(
                f"Step {step}: loss {loss}, gradient norm {norm}. The weights were not changed. "
                f"{self._advice(step)}"
            )
        return StepResult(loss, norm, sum(lesson.num_tokens for lesson in lessons), round(padded))

    def update(self, step: int) -> None:
        """Change the weights by the gradients that `learn` left: nothing else does."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=False)

    def finish(self) -> None:
        """Bring the trained weights to the network that was given."""
        self._placement.copy_back()

    def check_weights(self, step: int) -> None:
        """Refuse weights that the last update broke, which no later loss would show.

        Raises:
            NonFiniteLossError: a weight is NaN or infinite.
        """
        parts = (local_part(parameter) for parameter in self._parameters)
        is_broken = float(not all(bool(part.isfinite().all()) for part in parts))
        if self._ranks.total([is_broken]) != [0.0]:
            raise NonFiniteLossError(
                f"Step {step} left weights that are not finite. {self._advice(step)}"
            )

    def _advice(self, step: int) -> str:
        if step == 0:
            return "Nothing was learnt yet: check the base model's weights and the signal."
        return f"Lower learning_rate (now {self._config.learning_rate:g}) and run again."

    def _learn_part(
        self, lessons: Sequence[Lesson], guide: Guide, total: float
    ) -> tuple[float, int]:
        """Add the gradients of some lessons; returns their loss and the tokens that were read."""
        device = self._ranks.device
        batch = predicting_batch([lesson.example for lesson in lessons])
        weights = [one.weight / total for one in lessons for _ in range(one.num_tokens)]
        weight_N = torch.tensor(weights, device=device)
        with self._match.watching() if self._match else nullcontext():
            target = on_device(guide(lessons, batch), device)
            hidden_ND = self._placement.hidden_states(on_device(batch, device))
        head = self._placement.head()
        if self._num_ids is not None:
            head = head.cut(self._num_ids)
        if self._correction != "none" and any(one.age_steps for one in lessons):
            logprob_N = token_logprobs(hidden_ND, head, batch.target_ids_N)
            limit = self._config.rollout.max_ratio
            weight_N = weight_N * prefix_factors(lessons, logprob_N, self._correction, limit)
        if isinstance(target, TextTarget):
            loss, hidden_grad_ND = target.loss_and_grad(hidden_ND, head, weight_N)
        else:
            assert self._objective is not None
            loss_N, hidden_grad_ND = head_loss_and_grad(
                hidden_ND, head, target, self._objective, weight_N=weight_N
            )
            loss = (loss_N.double() * weight_N.double()).sum()
        if self._match is None:
            hidden_ND.backward(hidden_grad_ND)
        else:
            added = self._match.loss(batch, weight_N)
            torch.autograd.backward([hidden_ND, added], [hidden_grad_ND, None])
        return float(loss), batch.ids_BT.numel()

    def _clipped_norm(self) -> float:
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self._config.clip_norm)
        return gathered(norm).item()


def per_token_objective(config: TrainConfig) -> Objective | None:
    """The objective with its parameters; None for one whose target brings its loss with it.

    Raises:
        ConfigError: a parameter is unknown or out of range.
    """
    parameters = config.objective_parameters
    if OBJECTIVES[config.objective].is_per_token:
        return Objective(config.objective, **parameters)
    if parameters:
        raise ConfigError(
            f"objective {config.objective} has no parameter {min(parameters)!r}; its settings are "
            "in a section of their own (docs/config.md)."
        )
    return None


def own_share(part: Sequence[Lesson], ranks: Ranks) -> list[Lesson]:
    """The lessons of a part that this rank learns.

    Where there are fewer than ranks, some learn one that others learn too, with no weight: all
    ranks must go through the layers together.
    """
    mine = list(part[ranks.rank :: ranks.size])
    return mine or [replace(part[0], weight=0.0)]
