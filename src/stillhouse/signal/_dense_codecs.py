"""One vector or number per token: the `actual`, `hidden` and `kl_cache` codecs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from stillhouse.errors import ConfigError, ShapeError
from stillhouse.signal._half import HalfType, from_half, to_half
from stillhouse.signal._id_order import NO_IDS, IdOrder
from stillhouse.signal._planes import Bytes, join_bytes, split_bytes
from stillhouse.signal._signals import (
    FloatArray,
    HeadCacheSignal,
    HiddenSignal,
    IdArray,
    TokenSignal,
)

_STEP_NATS = 2.0**-11


@dataclass(frozen=True)
class TokenCodec:
    """The actual token's log-probability in 16 bits: steps of 2 ** -11 nats down to -31.99."""

    name: ClassVar[str] = "actual"
    version: ClassVar[int] = 1

    @property
    def parameters(self) -> dict[str, Any]:
        """See `Codec`."""
        return {}

    def stored_ids(self, signals: Sequence[TokenSignal]) -> IdArray:
        """See `Codec`."""
        return NO_IDS

    def encode(self, signals: Sequence[TokenSignal], order: IdOrder) -> list[Bytes]:
        """See `Codec`."""
        logprobs = np.concatenate([signal.logprobs for signal in signals]).astype(np.float64)
        codes = np.clip(np.rint(-logprobs / _STEP_NATS), 0, 65_535)
        return split_bytes(codes.astype(np.uint16), 2)

    def decode(self, planes: Sequence[Bytes], order: IdOrder) -> TokenSignal:
        """See `Codec`."""
        return TokenSignal((join_bytes(planes) * -_STEP_NATS).astype(np.float32))


@dataclass(frozen=True)
class _HeadCodec:
    """Vectors that mean something for one head alone.

    Attributes:
        head_shape: (V, D) of that head.
        head_sha256: SHA-256 of its float32 bytes.
        dtype: How a number of a vector is kept.

    Raises:
        ConfigError: the type is unknown.
    """

    head_shape: tuple[int, int]
    head_sha256: str
    dtype: HalfType = "float16"

    def __post_init__(self) -> None:
        if self.dtype not in ("float16", "bfloat16"):
            raise ConfigError(f"dtype={self.dtype!r}; float16 and bfloat16 are known.")

    @property
    def parameters(self) -> dict[str, Any]:
        """See `Codec`."""
        return {
            "head_shape": list(self.head_shape),
            "head_sha256": self.head_sha256,
            "dtype": self.dtype,
        }

    def stored_ids(self, signals: Sequence[Any]) -> IdArray:
        """See `Codec`."""
        return NO_IDS

    def _planes(self, vectors: FloatArray) -> list[Bytes]:
        width = self.head_shape[1]
        if vectors.ndim != 2 or vectors.shape[1] != width:
            raise ShapeError(f"Vectors of shape {vectors.shape}; the head takes (n, {width}).")
        return split_bytes(to_half(vectors, self.dtype), 2)

    def _vectors(self, planes: Sequence[Bytes]) -> FloatArray:
        halves = join_bytes(planes).astype(np.uint16)
        return from_half(halves, self.dtype).reshape(-1, self.head_shape[1])


class HiddenCodec(_HeadCodec):
    """The teacher's last hidden states in 16 bits, for a head of its own that is stored once."""

    name: ClassVar[str] = "hidden"
    version: ClassVar[int] = 1

    def encode(self, signals: Sequence[HiddenSignal], order: IdOrder) -> list[Bytes]:
        """See `Codec`."""
        return self._planes(np.concatenate([signal.hidden for signal in signals]))

    def decode(self, planes: Sequence[Bytes], order: IdOrder) -> HiddenSignal:
        """See `Codec`."""
        return HiddenSignal(self._vectors(planes))


class HeadCacheCodec(_HeadCodec):
    """W^T p for a frozen student head W, in 16 bits, and the teacher's entropy."""

    name: ClassVar[str] = "kl_cache"
    version: ClassVar[int] = 1

    def encode(self, signals: Sequence[HeadCacheSignal], order: IdOrder) -> list[Bytes]:
        """See `Codec`."""
        planes = self._planes(np.concatenate([signal.vectors for signal in signals]))
        entropies = np.concatenate([signal.negative_entropy for signal in signals])
        return [*planes, *split_bytes(entropies.astype(np.float32), 4)]

    def decode(self, planes: Sequence[Bytes], order: IdOrder) -> HeadCacheSignal:
        """See `Codec`."""
        return HeadCacheSignal(self._vectors(planes[:2]), join_bytes(planes[2:]).view(np.float32))
