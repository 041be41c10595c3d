"""A text encoder on packed tokens: no padding, in training and in use.

The tokens of a batch lie one text after the other, so that what is done to single tokens (by far
the most) is done to real ones only; texts are laid side by side for attention alone. Letters: B
texts, T tokens of all of them, D width, H heads, M tokens of the longest text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stillhouse.classifiers._shape import EncoderShape
from stillhouse.classifiers._weights import Array, Arrays

_ACTIVATIONS: dict[str, Any] = {
    "gelu": F.gelu,
    "gelu_new": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
}


@dataclass(frozen=True)
class TokenBatch:
    """Tokens of several texts, one text after the other.

    Attributes:
        ids_T: (T,) token ids.
        lengths: Tokens of each text, at least one.
    """

    ids_T: Tensor
    lengths: tuple[int, ...]

    @classmethod
    def of(cls, ids: Sequence[Sequence[int]]) -> "TokenBatch":
        """The batch of these texts' token ids."""
        flat = [token for text in ids for token in text]
        return cls(torch.tensor(flat), tuple(map(len, ids)))

    @property
    def longest(self) -> int:
        """Tokens of the longest text."""
        return max(self.lengths)

    @cached_property
    def rows_T(self) -> Tensor:
        """(T,) which text each token belongs to."""
        return torch.repeat_interleave(torch.arange(len(self.lengths)), self.lengths_B)

    @cached_property
    def lengths_B(self) -> Tensor:
        """(B,) tokens of each text."""
        return torch.tensor(self.lengths)

    @cached_property
    def positions_T(self) -> Tensor:
        """(T,) the place of each token in its text, from 0."""
        if len(self.lengths) == 1:
            return torch.arange(len(self.ids_T))
        return torch.arange(len(self.ids_T)) - self.starts_B[self.rows_T]

    @cached_property
    def starts_B(self) -> Tensor:
        """(B,) where each text begins."""
        return self.lengths_B.cumsum(0) - self.lengths_B

    @cached_property
    def slots_T(self) -> Tensor:
        """(T,) where each token lies when the texts are laid side by side."""
        return self.rows_T * self.longest + self.positions_T

    @cached_property
    def mask_B11M(self) -> Tensor | None:
        """(B, 1, 1, M) what is a token; None where all texts are of one length."""
        if min(self.lengths) == self.longest:
            return None
        return (torch.arange(self.longest) < self.lengths_B[:, None])[:, None, None, :]


class Encoder(nn.Module):
    """Token ids to one state a text.

    Args:
        shape: Its sizes.
        dropout: Of states, embeddings and attention, while training.
    """

    def __init__(self, shape: EncoderShape, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.shape = shape
        self.dropout = nn.Dropout(dropout)
        self.tokens = nn.Embedding(shape.vocabulary, shape.width)
        self.positions = nn.Embedding(shape.positions, shape.width)
        self.norm = nn.LayerNorm(shape.width, eps=shape.epsilon)
        self.layers = nn.ModuleList(EncoderLayer(shape, dropout) for _ in range(shape.layers))

    def forward(self, batch: TokenBatch) -> Tensor:
        """(B, D) states of the texts."""
        states_TD = self.tokens(batch.ids_T) + self.positions(batch.positions_T)
        states_TD = self.dropout(self.norm(states_TD))
        for layer in self.layers:
            states_TD = layer(states_TD, batch)
        return self._pool(states_TD, batch)

    def _pool(self, states_TD: Tensor, batch: TokenBatch) -> Tensor:
        if self.shape.pooling == "cls":
            return states_TD[batch.starts_B]
        if len(batch.lengths) == 1:
            return states_TD.mean(dim=0, keepdim=True)
        sums_BD = states_TD.new_zeros(len(batch.lengths), states_TD.shape[1])
        sums_BD = sums_BD.index_add(0, batch.rows_T, states_TD)
        return sums_BD / batch.lengths_B[:, None]


def load_encoder(weights: Arrays, shape: EncoderShape, *, dropout: float = 0.0) -> Encoder:
    """A network with copies of float32 weights, to be trained or to compare with.

    Args:
        weights: All of `float_shapes(shape)`.
        shape: Its sizes.
        dropout: For training.
    """
    with torch.device("meta"):  # random weights would be drawn only to be thrown away
        network = Encoder(shape, dropout=dropout)
    tensors = {name: torch.from_numpy(array.copy()) for name, array in weights.items()}
    network.load_state_dict(tensors, assign=True)
    return network.requires_grad_().eval()


def encoder_weights(network: Encoder) -> dict[str, Array]:
    """Copies of a network's weights, by the names of `float_shapes`."""
    return {name: tensor.numpy().copy() for name, tensor in network.state_dict().items()}


class EncoderLayer(nn.Module):
    """Attention and a feed-forward part, each added to its input and then normalised."""

    def __init__(self, shape: EncoderShape, dropout: float) -> None:
        super().__init__()
        self.heads = shape.heads
        self.dropout = nn.Dropout(dropout)
        self.query_key_value = nn.Linear(shape.width, 3 * shape.width)
        self.attended = nn.Linear(shape.width, shape.width)
        self.attention_norm = nn.LayerNorm(shape.width, eps=shape.epsilon)
        self.inner = nn.Linear(shape.width, shape.inner_width)
        self.outer = nn.Linear(shape.inner_width, shape.width)
        self.norm = nn.LayerNorm(shape.width, eps=shape.epsilon)
        self._activation = _ACTIVATIONS[shape.activation]

    def forward(self, states_TD: Tensor, batch: TokenBatch) -> Tensor:
        """(T, D) states after this layer."""
        seen_TD = self.attended(self._attend(self.query_key_value(states_TD), batch))
        states_TD = self.attention_norm(states_TD + self.dropout(seen_TD))
        inner_TI = self._activation(self.inner(states_TD))
        states_TD = self.norm(states_TD + self.dropout(self.outer(inner_TI)))
        return states_TD

    def _attend(self, joint_TE: Tensor, batch: TokenBatch) -> Tensor:
        """(T, D) what each token sees of its text; `joint_TE` holds queries, keys and values."""
        num_texts, num_tokens = len(batch.lengths), batch.longest
        is_packed = batch.mask_B11M is not None
        if is_packed:
            side_by_side = joint_TE.new_zeros(num_texts * num_tokens, joint_TE.shape[1])
            joint_TE = side_by_side.index_copy(0, batch.slots_T, joint_TE)
        parts = joint_TE.view(num_texts, num_tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        queries_BHMd, keys_BHMd, values_BHMd = parts.unbind(0)
        seen_BHMd = F.scaled_dot_product_attention(
            queries_BHMd,
            keys_BHMd,
            values_BHMd,
            attn_mask=batch.mask_B11M,
            dropout_p=self.dropout.p if self.training else 0.0,
        )
        seen_TD = seen_BHMd.transpose(1, 2).reshape(num_texts * num_tokens, -1)
        return seen_TD[batch.slots_T] if is_packed else seen_TD
