"""Top-k with a tail: the `topk` and `adaptive` codecs.

A token's ids are in falling order of probability, so the codes of its values only rise: their
differences are small, and truncation is a prefix.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from stillhouse.errors import ConfigError, ShapeError
from stillhouse.signal._grid import (
    REST,
    Probs,
    decode_probs,
    decode_tails,
    encode_probs,
    encode_tails,
)
from stillhouse.signal._id_order import IdOrder
from stillhouse.signal._planes import Bytes, join_bytes, split_bytes
from stillhouse.signal._signals import IdArray, TopKSignal, log_of_rest

_MAX_TOP_K = 4_096
_CODE_BYTES = 2
_LARGE_STEPS = 6  # of a token: apart from the others, both compress better by 1.4 bytes a token


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
        return _encode(joined, np.full(len(joined), self.top_k), order)

    def decode(self, planes: Sequence[Bytes], order: IdOrder) -> TopKSignal:
        """See `Codec`."""
        counts = np.full(len(planes[0]), self.top_k)
        return _decode(planes, counts, order)

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
        planes = _encode(joined, counts, order)
        return [*split_bytes(counts.astype(np.uint16), 2), *planes]

    def decode(self, planes: Sequence[Bytes], order: IdOrder) -> TopKSignal:
        """See `Codec`."""
        counts = join_bytes(planes[:2]).astype(np.int64)
        return _decode(planes[2:], counts, order)

    def _kept(self, signal: TopKSignal) -> npt.NDArray[np.bool_]:
        """Which entries of (n, K) are stored."""
        mass_before = np.cumsum(np.exp(signal.logprobs.astype(np.float64)), axis=1)
        mass_before = np.concatenate([np.zeros((len(signal), 1)), mass_before[:, :-1]], axis=1)
        kept = (1.0 - mass_before > self.tail_mass) & np.isfinite(signal.logprobs)
        kept[:, :1] = True
        kept[:, self.top_k :] = False
        return np.logical_and.accumulate(kept, axis=1)


def _decode(planes: Sequence[Bytes], counts: npt.NDArray[np.int64], order: IdOrder) -> TopKSignal:
    """What `_encode` was given, as wide as the largest count."""
    tail = decode_tails(join_bytes(planes[6:8]))
    if not len(counts):
        return TopKSignal.of(np.zeros((0, 1)), np.zeros((0, 1)))
    ids = order.decode(planes[8:])
    codes = _codes(planes[:6], counts)
    width = int(counts.max())
    if width * len(counts) != len(ids):
        ids, codes = _filled(ids, codes, counts)
    ids, codes = ids.reshape(-1, width), codes.reshape(-1, width)
    return TopKSignal(ids, _logprobs(codes, tail), tail.astype(np.float32))


def _codes(planes: Sequence[Bytes], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
    starts = np.cumsum(counts) - counts
    places = np.arange(int(counts.sum())) - np.repeat(starts, counts)
    steps = np.zeros(len(places), dtype=np.uint32)
    is_large, is_small = _step_kinds(places)
    steps[is_large], steps[is_small] = join_bytes(planes[2:4]), join_bytes(planes[4:6])
    risen = np.cumsum(steps, dtype=np.uint32)  # may wrap; differences stay right
    # No step leads to a token's first entry, so the sum there is that of the tokens before.
    lifted = join_bytes(planes[:2]) - risen[starts]
    codes: npt.NDArray[np.uint32] = risen + np.repeat(lifted, counts)
    return codes


def _step_kinds(
    places: npt.NDArray[np.integer],
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which entries, by their place in their token, large steps lead to, and which small ones."""
    return (places >= 1) & (places <= _LARGE_STEPS), places > _LARGE_STEPS


def _logprobs(codes: npt.NDArray[np.uint32], tail_logprob: Probs) -> npt.NDArray[np.float32]:
    """Values of (n, K) codes, scaled to what the tail leaves of 1."""
    probs = decode_probs(codes)
    kept = -np.expm1(tail_logprob)
    is_rest = codes[:, 0] == REST
    probs[:, 0] += np.where(is_rest, kept - probs.sum(axis=1), 0.0)
    probs *= (kept / probs.sum(axis=1))[:, None]
    with np.errstate(divide="ignore"):
        return np.log(probs).astype(np.float32)


def _filled(
    ids: npt.NDArray[np.int32], codes: npt.NDArray[np.uint32], counts: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint32]]:
    """Ragged entries as rows of one width: fillers repeat the first id and have no mass."""
    is_real = np.arange(int(counts.max())) < counts[:, None]
    firsts = np.cumsum(counts) - counts
    wide_ids = np.repeat(ids[firsts][:, None], is_real.shape[1], axis=1)
    wide_codes = np.full(is_real.shape, encode_probs(np.zeros(1))[0], dtype=np.uint32)
    wide_ids[is_real], wide_codes[is_real] = ids, codes
    return wide_ids, wide_codes


def _encode(signal: TopKSignal, counts: npt.NDArray[np.int64], order: IdOrder) -> list[Bytes]:
    """Planes of the first code, large and small steps between codes, tails and ranks of ids."""
    falling = np.argsort(-signal.logprobs, axis=1, kind="stable")
    ids = np.take_along_axis(signal.ids, falling, axis=1)
    probs = np.exp(np.take_along_axis(signal.logprobs, falling, axis=1).astype(np.float64))
    places = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
    is_kept = places < counts[:, None]
    codes = encode_probs(probs)
    if (codes[:, 0] == encode_probs(np.zeros(1))).any():
        raise ShapeError(
            "A token whose ids have no probability at all: nothing could be read back."
        )
    steps = np.diff(codes, axis=1, prepend=codes[:, :1])
    is_large, is_small = _step_kinds(places)
    tail = _tail(signal, probs, is_kept)
    return [
        *split_bytes(codes[:, 0], _CODE_BYTES),
        *split_bytes(steps[is_kept & is_large], _CODE_BYTES),
        *split_bytes(steps[is_kept & is_small], _CODE_BYTES),
        *split_bytes(encode_tails(tail), _CODE_BYTES),
        *order.encode(ids[is_kept]),
    ]


def _tail(
    signal: TopKSignal, probs: Probs, is_kept: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float32]:
    """The given tail where all is kept, else with what is not kept."""
    cut = log_of_rest(np.where(is_kept, probs, 0.0).sum(axis=1))
    is_cut = (~is_kept & (probs > 0)).any(axis=1)
    return np.where(is_cut, cut, signal.tail_logprob)


def _flat(ids: Sequence[IdArray]) -> IdArray:
    return np.concatenate([part.reshape(-1) for part in ids])


def _check_top_k(top_k: int) -> None:
    if not 1 <= top_k <= _MAX_TOP_K:
        raise ConfigError(f"top_k={top_k}; it lies between 1 and {_MAX_TOP_K}.")
