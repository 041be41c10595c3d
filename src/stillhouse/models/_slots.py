"""A static KV cache with one slot per running completion."""

from typing import Any

import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin


class SlotLayer(CacheLayerMixin):
    """Keys and values of one layer, (slots, heads, tokens, head dimension)."""

    def __init__(self, cache: "SlotCache") -> None:
        super().__init__()
        self._cache = cache

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Allocate for the heads and head dimension that the first call shows."""
        slots, tokens = self._cache.num_slots, self._cache.num_tokens
        self.keys = key_states.new_zeros(slots, key_states.shape[1], tokens, key_states.shape[3])
        self.values = value_states.new_zeros(
            slots, value_states.shape[1], tokens, value_states.shape[3]
        )
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Store new keys and values and return what this call attends to."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        cache = self._cache
        if cache.prefill_slots is not None:
            start, end = cache.prefill_start, cache.prefill_start + key_states.shape[2]
            # One row of keys, of a prefix that all slots share, is written to each of them.
            self.keys[cache.prefill_slots, :, start:end] = key_states
            self.values[cache.prefill_slots, :, start:end] = value_states
            if start == 0:
                return key_states, value_states
            return self.keys[cache.prefill_slots, :, :end], self.values[
                cache.prefill_slots, :, :end
            ]
        rows = slice(0, key_states.shape[0])
        self.keys[cache.rows_A, :, cache.positions_A] = key_states[:, :, 0]
        self.values[cache.rows_A, :, cache.positions_A] = value_states[:, :, 0]
        return self.keys[rows, :, : cache.width], self.values[rows, :, : cache.width]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Reading a prompt attends to that prompt only; decoding brings its own masks."""
        return query_length, 0

    def get_seq_length(self) -> int:
        """Zero: positions are given with each call."""
        return 0

    def get_max_length(self) -> int:
        """Tokens that a slot holds."""
        return self._cache.num_tokens


class SlotCache(Cache):
    """Slots 0 to A - 1 are running; each has its own length.

    Attributes:
        prefill_slots: The slots that a prefill call fills; None while decoding.
        prefill_start: The position at which it begins; what lies before was filled already.
        rows_A: 0 .. A - 1 while decoding.
        positions_A: Where each running row writes its next token.
        width: How many cached tokens the longest running row attends to.
    """

    def __init__(self, *, num_layers: int) -> None:
        self.num_slots = 0
        self.num_tokens = 0
        self.prefill_slots: slice | None = None
        self.prefill_start = 0
        self.rows_A = torch.empty(0, dtype=torch.long)
        self.positions_A = torch.empty(0, dtype=torch.long)
        self.width = 0
        super().__init__(layers=[SlotLayer(self) for _ in range(num_layers)])

    @torch.inference_mode()
    def resize(self, *, num_slots: int, num_tokens: int) -> None:
        """Make `num_slots` slots of `num_tokens` tokens, keeping what fits of what they hold."""
        # Negative padding cuts.
        padding = (0, 0, 0, num_tokens - self.num_tokens, 0, 0, 0, num_slots - self.num_slots)
        self.num_slots, self.num_tokens = num_slots, num_tokens
        for layer in self.layers:
            if layer.is_initialized:
                layer.keys = torch.nn.functional.pad(layer.keys, padding)
                layer.values = torch.nn.functional.pad(layer.values, padding)

    def begin_step(self, lengths_A: Tensor) -> None:
        """Decode one token for each of the first A slots, which hold `lengths_A` tokens."""
        self.prefill_slots = None
        self.rows_A = torch.arange(len(lengths_A))
        self.positions_A = lengths_A
        self.width = int(lengths_A.max()) + 1

    @torch.inference_mode()
    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens of a slot over another."""
        for layer in self.layers:
            layer.keys[target, :, :length] = layer.keys[source, :, :length]
            layer.values[target, :, :length] = layer.values[source, :, :length]
