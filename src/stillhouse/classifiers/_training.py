"""Train an encoder with its head on soft targets: steps, the running average, and its state.

Letters: N texts, B texts of a part, D width, S labels that can be learnt.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stillhouse.classifiers._configs import EncoderConfig
from stillhouse.classifiers._linear import LinearHead
from stillhouse.classifiers._losses import disagreement, target_loss
from stillhouse.classifiers._memory import give_back_memory
from stillhouse.classifiers._network import Encoder, TokenBatch, encoder_weights
from stillhouse.classifiers._precision import autocast
from stillhouse.classifiers._weights import Array
from stillhouse.errors import CheckpointError, NonFiniteLossError

_READ_TOKENS = 4_096  # of a part that is only read: no activations are kept

Ids = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Lessons:
    """What is learnt.

    Attributes:
        ids: N texts as token ids.
        targets_NS: (N, S) float32 probabilities.
        weights_N: (N,) float32, how much each text counts; their mean is 1.
        is_multiple: Whether a text may have several labels.
    """

    ids: Ids
    targets_NS: Tensor
    weights_N: Tensor
    is_multiple: bool


class Trainer:
    """A network in training.

    Args:
        network: Is trained in place, with dropout of its own.
        head: Where the head begins.
        lessons: What is learnt.
        config: How.
        seed: Of order and dropout. Each epoch begins anew from it, so that an epoch is the same
            whether those before it ran in this process or in another.

    Attributes:
        num_done: Steps taken.
        learning_rate: Of the encoder in the last step.
    """

    def __init__(
        self,
        network: Encoder,
        head: LinearHead,
        lessons: Lessons,
        config: EncoderConfig,
        *,
        seed: int,
    ) -> None:
        self._lessons = lessons
        self._config = config
        self._seed = seed
        self._network = network
        self._head = nn.Linear(*head.weights_FL.shape)
        with torch.no_grad():
            self._head.weight.copy_(torch.from_numpy(head.weights_FL.T))
            self._head.bias.copy_(torch.from_numpy(head.bias_L))
        self._parts = nn.ModuleDict({"encoder": network, "head": self._head})
        self._parameters = dict(self._parts.named_parameters())
        self._averages = {name: p.detach().clone() for name, p in self._parameters.items()}
        self._optimizer = torch.optim.AdamW(self._groups(), betas=(0.9, 0.999), fused=True)
        self.num_done = 0
        self.learning_rate = 0.0

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of an epoch."""
        return math.ceil(len(self._lessons.ids) / self._config.batch_size)

    def run_epoch(self, epoch: int) -> Iterator[float]:
        """Train over all texts once, and yield the mean loss of each step in nats.

        Raises:
            NonFiniteLossError: a loss or gradient is not finite; its step was not taken.
        """
        self._parts.train()
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._lessons.ids))
        for start in range(0, len(order), self._config.batch_size):
            batch = order[start : start + self._config.batch_size]
            with torch.random.fork_rng(devices=[]):
                # Dropout of each step from its own seed: a step is the same after a restart.
                state = np.random.SeedSequence([self._seed, self.num_done]).generate_state(1)
                torch.manual_seed(int(state[0]))
                loss = self._learn(batch)
            self._update(loss)
            give_back_memory()
            yield loss
        self._parts.eval()

    def averaged_logits(self, ids: Ids) -> Tensor:
        """(N, S) float32 logits that the running average gives."""
        self._swap()
        try:
            with torch.no_grad():
                logits_NS: Tensor = self._head(read_states(self._network, ids))
            return logits_NS
        finally:
            self._swap()

    def averaged(self) -> tuple[dict[str, Array], LinearHead]:
        """Copies of the running average: the encoder's weights and the head."""
        self._swap()
        try:
            weights = np.ascontiguousarray(self._head.weight.detach().numpy().T)
            return encoder_weights(self._network), LinearHead(
                weights, self._head.bias.detach().numpy().copy()
            )
        finally:
            self._swap()

    def state(self) -> dict[str, Tensor]:
        """All that an epoch leaves for the next."""
        tensors = {"num_done": torch.tensor(self.num_done)}
        for name, parameter in self._parameters.items():
            of_optimizer = self._optimizer.state[parameter]
            tensors |= {
                f"weights.{name}": parameter.detach(),
                f"average.{name}": self._averages[name],
                f"mean.{name}": of_optimizer["exp_avg"],
                f"square.{name}": of_optimizer["exp_avg_sq"],
            }
        return tensors

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take up where `state` was taken.

        Raises:
            CheckpointError: it is of another network.
        """
        try:
            self.num_done = int(state["num_done"])
            for name, parameter in self._parameters.items():
                parameter.data.copy_(state[f"weights.{name}"])
                self._averages[name].copy_(state[f"average.{name}"])
                self._optimizer.state[parameter] = {
                    "step": torch.tensor(float(self.num_done)),
                    "exp_avg": state[f"mean.{name}"].clone(),
                    "exp_avg_sq": state[f"square.{name}"].clone(),
                }
        except (KeyError, RuntimeError) as err:
            raise CheckpointError(
                f"The checkpoint is of another student ({err}). Remove it to begin again."
            ) from err

    def _learn(self, batch: Array) -> float:
        """Gradients of a batch, and its mean loss."""
        self._optimizer.zero_grad()
        total = 0.0
        for part in _parts(batch, self._lessons.ids, self._config.part_tokens):
            loss = self._loss(part) / len(batch)
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        return total

    def _loss(self, part: Sequence[int]) -> Tensor:
        """The sum of the losses of some texts."""
        lessons = self._lessons
        targets_BS, weights_B = lessons.targets_NS[list(part)], lessons.weights_N[list(part)]
        readings = 2 if self._config.r_drop else 1
        batch = TokenBatch.of([lessons.ids[row] for row in part] * readings)
        with autocast(self._config.training_precision):
            states_BD = self._network(batch)
        states_BD = F.dropout(states_BD.float(), self._config.dropout, self._parts.training)
        logits = self._head(states_BD).chunk(readings)
        is_multiple = lessons.is_multiple
        each = [target_loss(one, targets_BS, is_multiple=is_multiple) for one in logits]
        losses_B = torch.stack(each).mean(dim=0)
        if self._config.r_drop:
            apart_B = disagreement(*logits, is_multiple=is_multiple)
            losses_B = losses_B + self._config.r_drop * apart_B
        return (losses_B * weights_B).sum()

    def _update(self, loss: float) -> None:
        norm = nn.utils.clip_grad_norm_(self._parameters.values(), self._config.clip_norm)
        if not (math.isfinite(loss) and math.isfinite(float(norm))):
            raise NonFiniteLossError(
                f"Loss {loss} and gradient norm {float(norm)} at step {self.num_done}. Lower "
                "learning_rate."
            )
        share = self._rate_share()
        self.learning_rate = self._config.learning_rate * share
        for group in self._optimizer.param_groups:
            group["lr"] = group["peak"] * share
        self._optimizer.step()
        self.num_done += 1
        # At first the average follows closely, or it would remember the untrained weights.
        decay = min(self._config.average_decay, self.num_done / (self.num_done + 9))
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                self._averages[name].lerp_(parameter, 1 - decay)

    def _rate_share(self) -> float:
        total = self.steps_per_epoch * self._config.epochs
        warmup = self._config.warmup_fraction * total
        if self.num_done < warmup:
            return self.num_done / warmup
        return 0.5 * (1 + math.cos(math.pi * (self.num_done - warmup) / (total - warmup)))

    def _groups(self) -> list[dict[str, object]]:
        groups: list[dict[str, object]] = []
        for name, parameter in self._parameters.items():
            is_matrix = parameter.ndim > 1 and name != "encoder.tokens.weight"
            factor = self._config.head_rate_factor if name.startswith("head") else 1.0
            groups.append(
                {
                    "params": [parameter],
                    "peak": self._config.learning_rate * factor,
                    "weight_decay": self._config.weight_decay if is_matrix else 0.0,
                }
            )
        return groups

    def _swap(self) -> None:
        for name, parameter in self._parameters.items():
            parameter.data, self._averages[name] = self._averages[name], parameter.data


def read_states(network: Encoder, ids: Ids) -> Tensor:
    """(N, D) float32 states of texts, without dropout; texts of like length are read together."""
    was_training = network.training
    network.eval()
    states_ND = torch.empty(len(ids), network.shape.width)
    with torch.no_grad():
        for part in _parts(np.arange(len(ids)), ids, _READ_TOKENS):
            states_ND[part] = network(TokenBatch.of([ids[row] for row in part]))
    network.train(was_training)
    return states_ND


def _parts(rows: Array, ids: Ids, most_tokens: int) -> Iterator[list[int]]:
    """Rows by length, in groups of `most_tokens` with the padding of attention."""
    part: list[int] = []
    for row in sorted(rows.tolist(), key=lambda row: len(ids[row])):
        if part and (len(part) + 1) * len(ids[row]) > most_tokens:
            yield part
            part = []
        part.append(row)
    if part:
        yield part
