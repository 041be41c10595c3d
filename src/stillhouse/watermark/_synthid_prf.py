"""The numbers of transformers' SynthID processor, so that either side finds the other's marks.

A linear congruential generator takes in the ids of a context, the token and the number of a layer;
its state, modulo the size of a table, picks a bit. Its authors say that it is not cryptographic:
use it to work with transformers, and `splitmix64-v1` else.
Source: transformers 5.23, generation/logits_process.py, SynthIDTextWatermarkLogitsProcessor.

Letters: T tokens of a text, N those with a whole context, V tokens that may come next, L layers.
"""

from functools import cache

import numpy as np
import numpy.typing as npt

from stillhouse.watermark._key import WatermarkKey
from stillhouse.watermark._prf import U64

TABLE_SIZE = 65_536
TABLE_SEED = 0

I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]

_MULTIPLIER = np.uint64(6364136223846793005)
_ONE = np.uint64(1)


def synthid_keys(key: WatermarkKey, layers: int) -> tuple[int, ...]:
    """The numbers of the layers, below 2**63: what transformers calls `keys`."""
    found: list[int] = []
    block = 0
    while len(found) < layers:
        raw = key.derive(f"synthid-v1/{block}")
        found += [int.from_bytes(raw[n : n + 8], "little") >> 1 for n in range(0, 32, 8)]
        block += 1
    return tuple(found[:layers])


def accumulate(states: U64, data: npt.ArrayLike) -> U64:
    """The generator's next states, each after taking in one number; shapes broadcast."""
    return (states + np.asarray(data).astype(np.uint64)) * _MULTIPLIER + _ONE


def context_states(ids_T: npt.ArrayLike, width: int) -> U64:
    """(max(0, T - width),) states after the `width` ids before each token that has so many."""
    ids = np.asarray(ids_T)
    states_N = np.ones(max(0, len(ids) - width), dtype=np.uint64)
    for offset in range(width):
        states_N = accumulate(states_N, ids[offset : offset + len(states_N)])
    return states_N


@cache
def sampling_table(seed: int = TABLE_SEED, size: int = TABLE_SIZE) -> U8:
    """The bits that torch's generator draws with that seed, without torch."""
    # Both are mt19937 seeded in the same way, and torch takes an output modulo the range.
    generator = np.random.RandomState(seed)
    return (generator.randint(0, 1 << 32, size=size, dtype=np.uint32) & 1).astype(np.uint8)


def layer_bits(token_states: U64, layer_key: int) -> U8:
    """The g-value of each token in one layer, in the shape of `token_states`."""
    states = accumulate(token_states, layer_key)
    # The table's size is a power of two, so that signed and unsigned remainders agree.
    return sampling_table()[(states & np.uint64(TABLE_SIZE - 1)).astype(np.int64)]
