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

from stillhouse.models._masks import attention_masks

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
    config = network.config.get_text_config()
    cache = _PrefixCache(config.num_hidden_layers)
    decoder(input_ids=ids_BT[:1, :num_shared], past_key_values=cache, use_cache=True)
    cache.is_recording = False
    positions_1S = torch.arange(num_shared, ids_BT.shape[1], device=ids_BT.device).unsqueeze(0)
    hidden_BSD: Tensor = decoder(
        input_ids=ids_BT[:, num_shared:],
        position_ids=positions_1S,
        attention_mask=attention_masks(config, positions_1S, ids_BT.shape[1]),
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state
    return hidden_BSD


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
