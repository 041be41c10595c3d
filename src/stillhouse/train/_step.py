"""One optimiser step: the only place where gradients and weights change."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from stillhouse.errors import NonFiniteLossError
from stillhouse.losses import Objective, head_loss_and_grad
from stillhouse.models import predicting_batch
from stillhouse.train._config import TrainConfig
from stillhouse.train._guides import Guide
from stillhouse.train._lessons import Lesson
from stillhouse.train._placement import gathered, local_part, on_device, place
from stillhouse.train._ranks import ALONE, Ranks


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
    """

    def __init__(
        self, network: Any, config: TrainConfig, num_steps: int, ranks: Ranks = ALONE
    ) -> None:
        self._ranks = ranks
        self._config = config
        self._num_steps = num_steps
        self._objective = Objective(config.objective, **config.objective_parameters)
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
        target = on_device(guide(lessons, batch), device)
        weights = [one.weight / total for one in lessons for _ in range(one.num_tokens)]
        weight_N = torch.tensor(weights, device=device)
        hidden_ND = self._placement.hidden_states(on_device(batch, device))
        loss_N, hidden_grad_ND = head_loss_and_grad(
            hidden_ND, self._placement.head(), target, self._objective, weight_N=weight_N
        )
        hidden_ND.backward(hidden_grad_ND)
        return float((loss_N.double() * weight_N.double()).sum()), batch.ids_BT.numel()

    def _clipped_norm(self) -> float:
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self._config.clip_norm)
        return gathered(norm).item()


def own_share(part: Sequence[Lesson], ranks: Ranks) -> list[Lesson]:
    """The lessons of a part that this rank learns.

    Where there are fewer than ranks, some learn one that others learn too, with no weight: all
    ranks must go through the layers together.
    """
    mine = list(part[ranks.rank :: ranks.size])
    return mine or [replace(part[0], weight=0.0)]
