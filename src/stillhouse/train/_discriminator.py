"""A small model that rates how much like the teacher's a text is. It learns beside the student."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from stillhouse.chat import EncodedExample
from stillhouse.errors import NonFiniteLossError

_PART_TEXTS = 32  # that a forward pass reads together


class Contest(NamedTuple):
    """Texts on the same prompts.

    Attributes:
        teacher: One for each prompt.
        student: Those of the first prompt, then those of the second; equally many for each.
    """

    teacher: Sequence[EncodedExample]
    student: Sequence[EncodedExample]


class Ratings(NamedTuple):
    """What the discriminator thought before it learnt from a contest; higher is more teacher-like.

    Attributes:
        teacher_P: Of the teacher's texts, P prompts.
        student_PG: Of the student's, G for each prompt.
        loss_nats: Mean -log of the probability that it gives to the right order.
    """

    teacher_P: Tensor
    student_PG: Tensor
    loss_nats: float

    @property
    def accuracy(self) -> float:
        """Share of pairs that it has in the right order."""
        return float((self.teacher_P.unsqueeze(1) > self.student_PG).double().mean())


class Discriminator:
    """A language model without its head, and a rating of the last position.

    Args:
        network: A causal language model to start from; it is copied.
        learning_rate: Of AdamW.
        clip_norm: Of its gradients.

    Source: Bradley-Terry loss as in GAD, arXiv:2511.10643.
    """

    def __init__(self, network: Any, *, learning_rate: float, clip_norm: float) -> None:
        self._trunk = copy.deepcopy(network).get_decoder().requires_grad_(True)
        embedding = self._trunk.get_input_embeddings()
        embedding.sparse = False
        embedding.padding_idx = None
        width = embedding.weight.shape[1]
        # From zero, all texts are rated alike before anything is learnt.
        self._rating_D = torch.zeros(width, requires_grad=True)
        self._clip_norm = clip_norm
        self._parameters = {**dict(self._trunk.named_parameters()), "rating": self._rating_D}
        self._optimizer = torch.optim.AdamW(
            self._parameters.values(), lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.0
        )

    def rate(self, examples: Sequence[EncodedExample]) -> Tensor:
        """Ratings of texts, (n,), differentiable."""
        parts = [
            self._rate_part(examples[start : start + _PART_TEXTS])
            for start in range(0, len(examples), _PART_TEXTS)
        ]
        return torch.cat(parts)

    def learn(self, contest: Contest) -> Ratings:
        """Leave the gradients of telling the two apart; `update` applies them.

        Raises:
            NonFiniteLossError: the loss is NaN or infinite.
        """
        self._optimizer.zero_grad(set_to_none=True)
        num_prompts = len(contest.teacher)
        teacher_P = self.rate(contest.teacher)
        student_PG = self.rate(contest.student).reshape(num_prompts, -1)
        loss = -F.logsigmoid(teacher_P.unsqueeze(1) - student_PG).mean()
        if not bool(loss.isfinite()):
            raise NonFiniteLossError(
                f"The discriminator's loss is {loss.item()}. Lower adversarial.learning_rate and "
                "run again."
            )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(self._parameters.values()), self._clip_norm)
        return Ratings(teacher_P.detach(), student_PG.detach(), loss.item())

    def update(self) -> None:
        """Change the weights by the gradients that `learn` left."""
        self._optimizer.step()

    def state(self) -> dict[str, Tensor]:
        """Weights and moments."""
        weights = {f"weights/{name}": one.detach() for name, one in self._parameters.items()}
        moments = {
            f"{key}/{name}": value
            for name, parameter in self._parameters.items()
            for key, value in self._optimizer.state[parameter].items()
        }
        return {**weights, **moments}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take up where `state` was taken.

        Raises:
            KeyError: it is of another model.
        """
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(state[f"weights/{name}"])
        for entry, value in state.items():
            key, name = entry.split("/", 1)
            if key != "weights":
                self._optimizer.state[self._parameters[name]][key] = value

    def _rate_part(self, examples: Sequence[EncodedExample]) -> Tensor:
        width = max(len(example.ids) for example in examples)
        ids_BT = torch.zeros(len(examples), width, dtype=torch.long)
        for row, example in enumerate(examples):
            ids_BT[row, : len(example.ids)] = torch.tensor(example.ids)
        last_B = torch.tensor([len(example.ids) - 1 for example in examples])
        # Attention is causal and padding is on the right, so no mask is needed.
        hidden_BTD = self._trunk(input_ids=ids_BT, use_cache=False).last_hidden_state
        rated_B: Tensor = hidden_BTD[torch.arange(len(examples)), last_B] @ self._rating_D
        return rated_B
