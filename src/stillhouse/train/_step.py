"""One optimiser step: the only place where gradients and weights change."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from stillhouse.errors import NonFiniteLossError
from stillhouse.losses import Head, HeadTarget, Objective, head_loss_and_grad
from stillhouse.models import (
    PredictingBatch,
    output_head,
    predicting_batch,
    predicting_hidden_states,
)
from stillhouse.train._config import TrainConfig
from stillhouse.train._guides import Guide
from stillhouse.train._lessons import Lesson


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
    """

    def __init__(self, network: Any, config: TrainConfig, num_steps: int) -> None:
        self.network = network
        self._config = config
        self._num_steps = num_steps
        self._objective = Objective(config.objective)
        # transformers makes the pad token's embedding deaf to gradients; where pad is also the
        # end-of-turn token, as in SmolLM2-Instruct, that token is part of every prompt. Our own
        # padding reaches no valid position, so it adds nothing to any gradient.
        embedding = network.get_input_embeddings()
        embedding.padding_idx = None
        # A dense gradient of the embedding is V x D zeros per call, a sixth of a step's time; a
        # sparse one is added to the rows that the batch used, of a dense gradient made once.
        embedding.sparse = True
        if embedding.weight.requires_grad:
            embedding.weight.grad = torch.zeros_like(embedding.weight)
        self._head_VD = output_head(network)
        self._parameters = [p for p in network.parameters() if p.requires_grad]
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

        The sum is divided by the weight of all tokens of the batch, in whichever part they are.

        Raises:
            NonFiniteLossError: loss or gradient is NaN or infinite; the gradients are dropped.
        """
        lessons = [lesson for part in parts for lesson in part]
        num_tokens = sum(lesson.num_tokens for lesson in lessons)
        total = sum(lesson.weight * lesson.num_tokens for lesson in lessons)
        loss, num_padded = 0.0, 0
        for part in parts:
            batch = predicting_batch([lesson.example for lesson in part])
            num_padded += batch.ids_BT.numel()
            weights = [lesson.weight / total for lesson in part for _ in range(lesson.num_tokens)]
            loss += self._accumulate(batch, guide(part, batch), torch.tensor(weights))
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self._config.clip_norm).item()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self.optimizer.zero_grad(set_to_none=False)
            raise NonFiniteLossError(
                f"Step {step}: loss {loss}, gradient norm {norm}. The weights were not changed. "
                f"{self._advice(step)}"
            )
        return StepResult(loss, norm, num_tokens, num_padded)

    def update(self, step: int) -> None:
        """Change the weights by the gradients that `learn` left: nothing else does."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=False)

    def check_weights(self, step: int) -> None:
        """Refuse weights that the last update broke, which no later loss would show.

        Raises:
            NonFiniteLossError: a weight is NaN or infinite.
        """
        if not all(bool(parameter.isfinite().all()) for parameter in self._parameters):
            raise NonFiniteLossError(
                f"Step {step} left weights that are not finite. {self._advice(step)}"
            )

    def _advice(self, step: int) -> str:
        if step == 0:
            return "Nothing was learnt yet: check the base model's weights and the signal."
        return f"Lower learning_rate (now {self._config.learning_rate:g}) and run again."

    def _accumulate(
        self, batch: PredictingBatch, target: HeadTarget, weight_N: torch.Tensor
    ) -> float:
        hidden_ND = predicting_hidden_states(self.network, batch)
        head = self._head_VD
        if head.requires_grad and head.grad is None:
            head.grad = torch.zeros_like(head)
        loss_N, hidden_grad_ND = head_loss_and_grad(
            hidden_ND, Head(head.detach(), head.grad), target, self._objective, weight_N=weight_N
        )
        hidden_ND.backward(hidden_grad_ND)
        return float((loss_N.double() * weight_N.double()).sum())
