"""Lists of ids and probabilities, as long as each token needs them, as planes and back.

A token's ids are in falling order of probability, so the codes of its values only rise: their
differences are small, and truncation is a prefix.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stillhouse.errors import ShapeError
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
from stillhouse.signal._signals import TopKSignal, log_of_rest

Counts = npt.NDArray[np.int64]

_CODE_BYTES = 2
_LARGE_STEPS = 6  # of a token: apart from the others, both compress better by 1.4 bytes a token
_NO_UNITS = np.ones(1)


def encode_lists(
    signal: TopKSignal, counts: Counts, order: IdOrder, units: Probs = _NO_UNITS
) -> list[Bytes]:
    """Planes of the first code, large and small steps between codes, tails and ranks of ids.

    Args:
        signal: Of n tokens.
        counts: Ids that are kept of each token, (n,), its most likely ones.
        order: That of the part.
        units: What probabilities below a half are counted in, one for all or (n,); none of these
            may come to half a unit.

    Raises:
        ShapeError: the ids of a token have no probability.
    """
    falling = np.argsort(-signal.logprobs, axis=1, kind="stable")
    ids = np.take_along_axis(signal.ids, falling, axis=1)
    probs = np.exp(np.take_along_axis(signal.logprobs, falling, axis=1).astype(np.float64))
    places = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
    is_kept = places < counts[:, None]
    codes = encode_probs(probs, units[:, None])
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


def decode_lists(
    planes: Sequence[Bytes], counts: Counts, order: IdOrder, units: Probs = _NO_UNITS
) -> TopKSignal:
    """What `encode_lists` was given, as wide as the largest count.

    Raises:
        IntegrityError: the ranks do not fit the order.
    """
    tail = decode_tails(join_bytes(planes[6:8]))
    if not len(counts):
        return TopKSignal.of(np.zeros((0, 1)), np.zeros((0, 1)))
    ids = order.decode(planes[8:])
    codes = _codes(planes[:6], counts)
    logprobs = _logprobs(codes, counts, units, tail)
    width = int(counts.max())
    if width * len(counts) != len(ids):
        ids, logprobs = _filled(ids, logprobs, counts)
    return TopKSignal(ids.reshape(-1, width), logprobs.reshape(-1, width), tail.astype(np.float32))


def _codes(planes: Sequence[Bytes], counts: Counts) -> npt.NDArray[np.uint32]:
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


def _logprobs(
    codes: npt.NDArray[np.uint32], counts: Counts, units: Probs, tail_logprob: Probs
) -> npt.NDArray[np.float32]:
    """Values of all entries, one token after the other, scaled to what the tail leaves of 1."""
    probs = decode_probs(codes)
    if len(units) > 1:
        probs *= np.repeat(units, counts)
    firsts = np.cumsum(counts) - counts
    sums = np.add.reduceat(probs, firsts)
    kept = -np.expm1(tail_logprob)
    is_rest = codes[firsts] == REST
    probs[firsts] += np.where(is_rest, kept - sums, 0.0)
    probs *= np.repeat(kept / np.where(is_rest, kept, sums), counts)
    with np.errstate(divide="ignore"):
        return np.log(probs).astype(np.float32)


def _filled(
    ids: npt.NDArray[np.int32], logprobs: npt.NDArray[np.float32], counts: Counts
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Entries as rows of one width: fillers repeat the first id and have no mass."""
    is_real = np.arange(int(counts.max())) < counts[:, None]
    firsts = np.cumsum(counts) - counts
    wide_ids = np.repeat(ids[firsts], is_real.shape[1]).reshape(is_real.shape)
    wide_logprobs = np.full(is_real.shape, -np.inf, dtype=np.float32)
    wide_ids[is_real], wide_logprobs[is_real] = ids, logprobs
    return wide_ids, wide_logprobs


def _tail(
    signal: TopKSignal, probs: Probs, is_kept: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float32]:
    """The given tail where all is kept, else with what is not kept."""
    cut = log_of_rest(np.where(is_kept, probs, 0.0).sum(axis=1))
    is_cut = (~is_kept & (probs > 0)).any(axis=1)
    return np.where(is_cut, cut, signal.tail_logprob)
