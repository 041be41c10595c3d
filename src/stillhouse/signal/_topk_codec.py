"""Top-k with a tail: the `topk`, `adaptive` and `relative` codecs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from stillhouse.errors import ConfigError, ShapeError
from stillhouse.signal._grid import Probs
from stillhouse.signal._id_order import IdOrder
from stillhouse.signal._planes import Bytes, join_bytes, split_bytes
from stillhouse.signal._signals import IdArray, TopKSignal
from stillhouse.signal._topk_planes import decode_lists, encode_lists

_MAX_TOP_K = 4_096
_SPREAD_CODES_PER_NAT = 16
_LARGEST_SPREAD_CODE = 147  # 1e-4: what is kept of a token closer to certain than that is no matter
_UNIT_SPREADS = 4.5  # an id below a half has less than 2.2 spreads, rounding included


@dataclass(frozen=True)
class TopKCodec:
    """The `top_k` most likely ids of every token.

    Attributes:
        top_k: Ids per token.
    """

    top_k: int

    name: ClassVar[str] = "topk"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        _check_top_k(self.top_k)

    @property
    def parameters(self) -> dict[str, Any]:
        """See `Codec`."""
        return {"top_k": self.top_k}

    def stored_ids(self, signals: Sequence[TopKSignal]) -> IdArray:
        """See `Codec`."""
        return _flat([self._checked(signal).ids for signal in signals])

    def encode(self, signals: Sequence[TopKSignal], order: IdOrder) -> list[Bytes]:
        """See `Codec`."""
        joined = TopKSignal.joined([self._checked(signal) for signal in signals])
        return encode_lists(joined, np.full(len(joined), self.top_k), order)

    def decode(self, planes: Sequence[Bytes], order: IdOrder) -> TopKSignal:
        """See `Codec`."""
        counts = np.full(len(planes[0]), self.top_k)
        return decode_lists(planes, counts, order)

    def _checked(self, signal: TopKSignal) -> TopKSignal:
        if signal.ids.shape[1] != self.top_k:
            raise ShapeError(
                f"A signal of {signal.ids.shape[1]} ids per token for a store of {self.top_k}. "
                "Truncate it, or capture with more."
            )
        return signal


@dataclass(frozen=True)
class AdaptiveCodec:
    """The fewest ids that leave at most `tail_mass` outside, and never more than `top_k`.

    Attributes:
        top_k: Most ids of a token.
        tail_mass: In (0, 1).
    """

    top_k: int
    tail_mass: float

    name: ClassVar[str] = "adaptive"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        _check_top_k(self.top_k)
        if not 0.0 < self.tail_mass < 1.0:
            raise ConfigError(f"tail_mass={self.tail_mass}; it lies between 0 and 1.")

    @property
    def parameters(self) -> dict[str, Any]:
        """See `Codec`."""
        return {"top_k": self.top_k, "tail_mass": self.tail_mass}

    def stored_ids(self, signals: Sequence[TopKSignal]) -> IdArray:
        """See `Codec`."""
        return _flat([signal.ids[self._kept(signal)] for signal in signals])

    def encode(self, signals: Sequence[TopKSignal], order: IdOrder) -> list[Bytes]:
        """See `Codec`."""
        joined = TopKSignal.joined(signals)
        counts = self._kept(joined).sum(axis=1)
        planes = encode_lists(joined, counts, order)
        return [*split_bytes(counts.astype(np.uint16), 2), *planes]

    def decode(self, planes: Sequence[Bytes], order: IdOrder) -> TopKSignal:
        """See `Codec`."""
        counts = join_bytes(planes[:2]).astype(np.int64)
        return decode_lists(planes[2:], counts, order)

    def _kept(self, signal: TopKSignal) -> npt.NDArray[np.bool_]:
        """Which entries of (n, K) are stored."""
        mass_before = np.cumsum(np.exp(signal.logprobs.astype(np.float64)), axis=1)
        mass_before = np.concatenate([np.zeros((len(signal), 1)), mass_before[:, :-1]], axis=1)
        kept = (1.0 - mass_before > self.tail_mass) & np.isfinite(signal.logprobs)
        kept[:, :1] = True
        kept[:, self.top_k :] = False
        return np.logical_and.accumulate(kept, axis=1)


@dataclass(frozen=True)
class RelativeCodec:
    """The ids whose probability is at least `threshold` spreads, and never more than `top_k`.

    A token's spread is the length that the gradient of KL by the logits has, to first order, for a
    student whose logits are one nat of independent noise away: near a half where two ids share
    the mass, small where one id has all of it or very many share it. An id below the threshold is
    too small beside that to be missed, so that few ids are spent on certain tokens and hundreds on
    open ones. Values are as fine as the spread asks for, too.

    Attributes:
        top_k: Most ids of a token.
        threshold: In (0, 1).
    """

    top_k: int
    threshold: float

    name: ClassVar[str] = "relative"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        _check_top_k(self.top_k)
        if not 0.0 < self.threshold < 1.0:
            raise ConfigError(f"threshold={self.threshold}; it lies between 0 and 1.")

    @property
    def parameters(self) -> dict[str, Any]:
        """See `Codec`."""
        return {"top_k": self.top_k, "threshold": self.threshold}

    def stored_ids(self, signals: Sequence[TopKSignal]) -> IdArray:
        """See `Codec`."""
        return _flat([signal.ids[self._kept(signal, _spread_codes(signal))] for signal in signals])

    def encode(self, signals: Sequence[TopKSignal], order: IdOrder) -> list[Bytes]:
        """See `Codec`."""
        joined = TopKSignal.joined(signals)
        spread_codes = _spread_codes(joined)
        counts = self._kept(joined, spread_codes).sum(axis=1)
        units = _UNIT_SPREADS * _spreads(spread_codes)
        return [
            *split_bytes(counts.astype(np.uint16), 2),
            spread_codes,
            *encode_lists(joined, counts, order, units),
        ]

    def decode(self, planes: Sequence[Bytes], order: IdOrder) -> TopKSignal:
        """See `Codec`."""
        counts = join_bytes(planes[:2]).astype(np.int64)
        return decode_lists(planes[3:], counts, order, _UNIT_SPREADS * _spreads(planes[2]))

    def _kept(self, signal: TopKSignal, spread_codes: Bytes) -> npt.NDArray[np.bool_]:
        """Which entries of (n, K) are stored."""
        smallest = self.threshold * _spreads(spread_codes)
        kept = np.exp(signal.logprobs.astype(np.float64)) >= smallest[:, None]
        kept[:, :1] = True
        kept[:, self.top_k :] = False
        return np.logical_and.accumulate(kept, axis=1)


def _spread_codes(signal: TopKSignal) -> Bytes:
    """Of each token: the spread is exp(-code / 16)."""
    probs = np.exp(signal.logprobs.astype(np.float64))
    # Sums from left to right, so that fillers, which are at the end, change no bit of them.
    squares = np.cumsum(probs**2, axis=1)[:, -1:]
    lengths = np.cumsum(probs**2 * ((1 - probs) ** 2 + squares - probs**2), axis=1)[:, -1]
    codes = -_SPREAD_CODES_PER_NAT * np.log(np.sqrt(np.maximum(lengths, 1e-12)))
    clipped: Bytes = np.clip(np.rint(codes), 0, _LARGEST_SPREAD_CODE).astype(np.uint8)
    return clipped


def _spreads(codes: Bytes) -> Probs:
    spreads: Probs = np.exp(codes.astype(np.float64) / -_SPREAD_CODES_PER_NAT)
    return spreads


def _flat(ids: Sequence[IdArray]) -> IdArray:
    return np.concatenate([part.reshape(-1) for part in ids])


def _check_top_k(top_k: int) -> None:
    if not 1 <= top_k <= _MAX_TOP_K:
        raise ConfigError(f"top_k={top_k}; it lies between 1 and {_MAX_TOP_K}.")
