"""Draws of the teacher: the `sampled` codec (RS-KD, arXiv:2503.16870)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from stillhouse.errors import ConfigError, ShapeError
from stillhouse.signal._half import from_half, to_half
from stillhouse.signal._id_order import IdOrder
from stillhouse.signal._planes import Bytes, join_bytes, split_bytes
from stillhouse.signal._signals import IdArray, SampledSignal

_MAX_DRAWS = 255


@dataclass(frozen=True)
class SampledCodec:
    """Ids drawn from p ** flatten, normalised, with their number of draws or their weight.

    Where `flatten` is 1 the counts are stored and the weights are exact; elsewhere a weight is a
    float16, off by at most 5e-4 of itself.

    Attributes:
        draws: Draws per token, with replacement.
        flatten: 1 draws from the teacher itself, less than 1 from a flatter distribution.
    """

    draws: int
    flatten: float = 1.0

    name: ClassVar[str] = "sampled"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not 1 <= self.draws <= _MAX_DRAWS:
            raise ConfigError(f"draws={self.draws}; it lies between 1 and {_MAX_DRAWS}.")
        if not 0.0 < self.flatten <= 1.0:
            raise ConfigError(f"flatten={self.flatten}; it is above 0 and at most 1.")

    @property
    def parameters(self) -> dict[str, Any]:
        """See `Codec`."""
        return {"draws": self.draws, "flatten": self.flatten}

    def stored_ids(self, signals: Sequence[SampledSignal]) -> IdArray:
        """See `Codec`."""
        return np.concatenate([signal.ids[signal.weights > 0] for signal in signals])

    def encode(self, signals: Sequence[SampledSignal], order: IdOrder) -> list[Bytes]:
        """See `Codec`."""
        is_drawn = [signal.weights > 0 for signal in signals]
        numbers = np.concatenate([drawn.sum(axis=1) for drawn in is_drawn])
        if numbers.size and not 1 <= numbers.min() <= numbers.max() <= self.draws:
            raise ShapeError(f"{numbers.min()} to {numbers.max()} ids of {self.draws} draws.")
        pairs = list(zip(signals, is_drawn, strict=True))
        ids = np.concatenate([signal.ids[drawn] for signal, drawn in pairs])
        weights = np.concatenate([signal.weights[drawn] for signal, drawn in pairs])
        return [
            numbers.astype(np.uint8),
            *self._weight_planes(weights),
            *order.encode(ids),
        ]

    def decode(self, planes: Sequence[Bytes], order: IdOrder) -> SampledSignal:
        """See `Codec`."""
        end = 2 if self.flatten == 1.0 else 3
        numbers = planes[0].astype(np.int64)
        is_real = np.arange(int(numbers.max(initial=1))) < numbers[:, None]
        ids = np.zeros(is_real.shape, dtype=np.int32)
        weights = np.zeros(is_real.shape, dtype=np.float32)
        ids[is_real] = order.decode(planes[end:])
        weights[is_real] = self._weights(planes[1:end])
        return SampledSignal(ids, weights)

    def _weights(self, planes: Sequence[Bytes]) -> npt.NDArray[np.float32]:
        if self.flatten == 1.0:
            return planes[0].astype(np.float32) / np.float32(self.draws)
        return from_half(join_bytes(planes).astype(np.uint16), "float16")

    def _weight_planes(self, weights: npt.NDArray[np.float32]) -> list[Bytes]:
        if self.flatten != 1.0:
            return split_bytes(to_half(weights, "float16"), 2)
        counts = weights.astype(np.float64) * self.draws
        if not np.allclose(counts, np.rint(counts), atol=1e-3):
            raise ShapeError(f"A weight is no multiple of 1 / {self.draws}: no count of draws.")
        return [np.rint(counts).astype(np.uint8)]
