"""The keyed numbers behind every mark: a context is hashed, then a token in it, to 64 bits.

Version `splitmix64-v1` is fast and statistical: it passes for random in every test that we know,
but it is no cipher. Version `hmac-sha256-v1` rests on SHA-256 and costs a call for each token. Both
are published with test vectors in docs/watermark.md; a change of one bit is a new version.

Letters: T tokens of a text, N (context, token) pairs, V vocabulary. All arithmetic is modulo 2**64.
Source of the finaliser and of its constants: Steele, Lea and Flood, "Fast splittable pseudorandom
number generators" (2014), variant 13 of Stafford.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from stillhouse.errors import DataError, ShapeError

PrfName = Literal["splitmix64-v1", "hmac-sha256-v1", "synthid-v1"]
"""How numbers come from a key: ours, ours for evidence, and that of transformers' SynthID."""

MAX_CONTEXT_WIDTH = 64
UNIFORM_BITS = 52

U64 = npt.NDArray[np.uint64]
F64 = npt.NDArray[np.float64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_ONE = np.uint64(1)
_MASK = (1 << 64) - 1
_EXPONENT_OF_1 = np.uint64(0x3FF0000000000000)
_CONTEXT = b"stillhouse/watermark/1\0context\0"


@dataclass(frozen=True, slots=True)
class Subkeys:
    """The two halves of the 16 bytes that a key gives for one purpose.

    Attributes:
        k0: Of the context, below 2**64.
        k1: Of the token, below 2**64.
        prf: Which function they are for.
    """

    k0: int
    k1: int
    prf: PrfName = "splitmix64-v1"


def mix(x: U64) -> U64:
    """SplitMix64's finaliser of each element: a bijection of 64 bits. `x` is not changed."""
    return mix_in_place(x.copy(), np.empty_like(x))


def mix_in_place(x: U64, scratch: U64) -> U64:
    """`mix` into `x` itself: five times faster over a vocabulary than with new arrays.

    Args:
        x: Changed, and given back.
        scratch: Of the same shape; overwritten.
    """
    np.right_shift(x, np.uint64(30), out=scratch)
    np.bitwise_xor(x, scratch, out=x)
    np.multiply(x, _FIRST, out=x)
    np.right_shift(x, np.uint64(27), out=scratch)
    np.bitwise_xor(x, scratch, out=x)
    np.multiply(x, _SECOND, out=x)
    np.right_shift(x, np.uint64(31), out=scratch)
    np.bitwise_xor(x, scratch, out=x)
    return x


def spread(ids: npt.ArrayLike) -> U64:
    """(id + 1) * golden: no id is zero, and adjacent ids lie far apart.

    Raises:
        DataError: an id is negative or no integer.
    """
    given = np.asarray(ids)
    if given.size == 0:
        return np.zeros(given.shape, dtype=np.uint64)
    if given.dtype.kind not in "iu" or (given.dtype.kind == "i" and int(given.min()) < 0):
        least = f" from {given.min()} on" if given.dtype.kind == "i" else ""
        raise DataError(
            f"Token ids are whole numbers from 0 on, and these are {given.dtype}{least}. Give the "
            "ids that a tokenizer gave."
        )
    return (given.astype(np.uint64) + _ONE) * _GOLDEN


def context_hashes(ids_T: npt.ArrayLike, width: int) -> U64:
    """The hash of the `width` ids before each token that has so many before it.

    No key is in it: the same contexts are hashed once for a thousand keys. Order counts.

    Args:
        ids_T: One text.
        width: Ids in a context, 1 to 64.

    Returns:
        (max(0, T - width),) uint64: entry n belongs to the token at position n + width.

    Raises:
        DataError: an id is negative or no integer; the width is not from 1 to 64.
        ShapeError: more than one dimension.
    """
    check_width(width)
    spread_T = spread(ids_T)
    if spread_T.ndim != 1:
        raise ShapeError(
            f"Ids of shape {spread_T.shape} were given; contexts are of one text, (T,). Hash each "
            "text by itself."
        )
    num_contexts = max(0, len(spread_T) - width)
    hashes_N = np.full(num_contexts, width, dtype=np.uint64)
    scratch_N = np.empty_like(hashes_N)
    for offset in range(width):
        np.bitwise_xor(hashes_N, spread_T[offset : offset + num_contexts], out=hashes_N)
        mix_in_place(hashes_N, scratch_N)
    return hashes_N


def context_hash(ids: Sequence[int]) -> int:
    """The hash of one context, as in `context_hashes`: quick for few ids."""
    found = len(ids)
    for token_id in ids:
        found = mix_one(found ^ ((token_id + 1) * int(_GOLDEN) & _MASK))
    return found


def mix_one(x: int) -> int:
    """`mix` of one number from 0 to 2**64 - 1."""
    x = (x ^ x >> 30) * int(_FIRST) & _MASK
    x = (x ^ x >> 27) * int(_SECOND) & _MASK
    return x ^ x >> 31


def token_keys(ids_N: npt.ArrayLike, subkeys: Subkeys) -> U64:
    """What the key makes of each id whatever the context: computed once for a vocabulary."""
    return mix(np.uint64(subkeys.k1) ^ spread(ids_N))


def keyed_contexts(contexts_N: U64, subkeys: Subkeys) -> U64:
    """What the key makes of each context whatever the token."""
    return mix(np.asarray(contexts_N, dtype=np.uint64) ^ np.uint64(subkeys.k0))


def token_hashes(contexts_N: U64, ids_N: npt.ArrayLike, subkeys: Subkeys) -> U64:
    """64 keyed bits for each token in its context.

    Args:
        contexts_N: Of `context_hashes`; broadcast against `ids_N`.
        ids_N: The tokens.
        subkeys: Of `WatermarkKey.subkeys`.

    Returns:
        uint64, in the shape of both together.

    Raises:
        DataError: an id is negative or no integer.
    """
    if subkeys.prf == "hmac-sha256-v1":
        return _hmac_hashes(contexts_N, ids_N, subkeys)
    hashes = keyed_contexts(contexts_N, subkeys) ^ token_keys(ids_N, subkeys)
    return mix_in_place(hashes, np.empty_like(hashes))


def uniforms(hashes: U64) -> F64:
    """A number in (0, 1) from the upper 52 bits of each hash.

    Never 0 or 1: with 53 bits and a half the largest would round to 1, and its score be infinite.
    """
    # As the fraction of a number in [1, 2): twenty times faster than a conversion, and exact.
    fractions = (hashes >> np.uint64(64 - UNIFORM_BITS)) | _EXPONENT_OF_1
    return fractions.view(np.float64) - (1.0 - 2.0**-53)


def token_uniforms(contexts_N: U64, ids_N: npt.ArrayLike, subkeys: Subkeys) -> F64:
    """The keyed uniform of each token in its context; see `token_hashes`."""
    return uniforms(token_hashes(contexts_N, ids_N, subkeys))


def check_width(width: int) -> None:
    """Refuse a context that no scheme has.

    Raises:
        DataError: it is not from 1 to 64.
    """
    if not 1 <= width <= MAX_CONTEXT_WIDTH:
        raise DataError(
            f"context_width={width}; contexts have 1 to {MAX_CONTEXT_WIDTH} tokens. Correct it."
        )


def _hmac_hashes(contexts_N: U64, ids_N: npt.ArrayLike, subkeys: Subkeys) -> U64:
    spread(ids_N)  # refuses what is no id
    contexts, ids = np.broadcast_arrays(np.asarray(contexts_N, dtype=np.uint64), np.asarray(ids_N))
    key = subkeys.k0.to_bytes(8, "little") + subkeys.k1.to_bytes(8, "little")
    keyed = hmac.new(key, _CONTEXT, hashlib.sha256)
    found = np.empty(contexts.shape, dtype=np.uint64)
    flat = found.reshape(-1)
    for place, (context, token_id) in enumerate(
        zip(contexts.ravel().tolist(), ids.ravel().tolist(), strict=True)
    ):
        one = keyed.copy()
        one.update(context.to_bytes(8, "little") + token_id.to_bytes(8, "little"))
        flat[place] = int.from_bytes(one.digest()[:8], "little")
    return found
