"""Compute what all rows of a batch begin with once.

Prompts of one task share their chat preamble, their system message and their instruction. Causal
attention makes the hidden states of such a prefix the same in every row, so one row can stand for
all: its keys and values are shared, and so is its gradient, which autograd sums over the rows. The
result is exact up to rounding, and a batch of B rows saves B - 1 times the prefix.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin

MIN_SHARED_TOKENS = 8
"""Shorter prefixes are not worth a forward call of their own."""


def shared_prefix(ids: Sequence[tuple[int, ...]], *, limit: int) -> int:
    """How many leading ids all sequences share, at most `limit`; 0 if too few to pay."""
    first, last = min(ids), max(ids)  # in sorted order these two differ first
    length = 0
    while length < min(limit, len(first), len(last)) and first[length] == last[length]:
        length += 1
    return length if length >= MIN_SHARED_TOKENS and len(ids) > 1 else 0


def hidden_states_after_prefix(network: Any, ids_BT: Tensor, num_shared: int) -> Tensor:
    """Hidden states of the columns after the first `num_shared`, which all rows share.

    Returns:
        (B, T - num_shared, D), differentiable.
    """
    decoder = network.get_decoder()
    cache = _PrefixCache(network.config.get_text_config().num_hidden_layers)
    decoder(input_ids=ids_BT[:1, :num_shared], past_key_values=cache, use_cache=True)
    cache.is_recording = False
    positions_1S = torch.arange(num_shared, ids_BT.shape[1]).unsqueeze(0)
    hidden_BSD: Tensor = decoder(
        input_ids=ids_BT[:, num_shared:],
        position_ids=positions_1S,
        attention_mask=causal_masks(network.config.get_text_config(), positions_1S[0]),
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state
    return hidden_BSD


def causal_masks(config: Any, positions_S: Tensor) -> Tensor | dict[str, Tensor]:
    """What queries at `positions_S` see of all positions up to the last, (1, 1, S, T) of bool.

    Models that mix kinds of layers get one mask per kind.
    """
    key_T = torch.arange(int(positions_S[-1]) + 1)
    causal_ST = key_T <= positions_S.unsqueeze(1)
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    masks = {"full_attention": causal_ST[None, None]}
    if "sliding_attention" in kinds:
        near_ST = key_T > (positions_S - int(config.sliding_window)).unsqueeze(1)
        masks["sliding_attention"] = (causal_ST & near_ST)[None, None]
    return masks if len(kinds) > 1 else masks[kinds.pop()]


class _PrefixLayer(CacheLayerMixin):
    def __init__(self, cache: "_PrefixCache") -> None:
        super().__init__()
        self._cache = cache

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        if self._cache.is_recording:
            self.keys, self.values = key_states, value_states
            self.is_initialized = True
            return key_states, value_states
        rows = key_states.shape[0]
        keys = torch.cat([self.keys.expand(rows, -1, -1, -1), key_states], dim=2)
        values = torch.cat([self.values.expand(rows, -1, -1, -1), value_states], dim=2)
        return keys, values

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return query_length, 0

    def get_seq_length(self) -> int:
        return 0

    def get_max_length(self) -> int:
        return -1


class _PrefixCache(Cache):
    def __init__(self, num_layers: int) -> None:
        self.is_recording = True
        super().__init__(layers=[_PrefixLayer(self) for _ in range(num_layers)])
