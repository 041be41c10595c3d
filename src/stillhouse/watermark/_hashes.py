"""The keyed hashes of a whole vocabulary in one context, at the cost of a few passes over it.

Letters: V vocabulary, S its tokens that may be drawn.
"""

import numpy as np
import numpy.typing as npt

from stillhouse.watermark._prf import (
    U64,
    Subkeys,
    keyed_contexts,
    mix_in_place,
    token_hashes,
    token_keys,
)
from stillhouse.watermark._scores import I64

_FEW = 4  # times as many would have to be in the vocabulary for hashing them alone to be quicker


def may_come(logits_V: npt.NDArray[np.float32]) -> I64 | None:
    """(S,) ids that may be drawn, or None for the whole vocabulary; what is no number may be."""
    if logits_V.min(initial=0.0) > -np.inf:
        return None
    is_open_V = logits_V != -np.inf  # a minimum that is no number hides those that are cut
    return None if bool(is_open_V.all()) else np.flatnonzero(is_open_V)


class VocabularyHashes:
    """`token_hashes` of the tokens that may come next; not for two threads at once.

    Args:
        subkeys: Of the key.
    """

    def __init__(self, subkeys: Subkeys) -> None:
        self._subkeys = subkeys
        self._keys_V = np.empty(0, dtype=np.uint64)
        self._hashes_V = self._keys_V
        self._scratch_V = self._keys_V

    def of(self, context: int, width: int, ids_S: I64 | None) -> U64:
        """(S,) uint64 for these ids of 0 to `width` - 1; (V,) for all of them, if None.

        What is given is overwritten by the next call.
        """
        if ids_S is None:
            return self.of_all(context, width)
        if _FEW * len(ids_S) < width or self._subkeys.prf == "hmac-sha256-v1":
            return self.of_some(context, ids_S)
        return self.of_all(context, width)[ids_S]

    def of_all(self, context: int, width: int) -> U64:
        """(V,) uint64 for the ids 0 to `width` - 1; overwritten by the next call."""
        if self._subkeys.prf == "hmac-sha256-v1":
            return self.of_some(context, np.arange(width))
        if len(self._keys_V) != width:
            self._keys_V = token_keys(np.arange(width), self._subkeys)
            self._hashes_V = np.empty_like(self._keys_V)
            self._scratch_V = np.empty_like(self._keys_V)
        keyed = keyed_contexts(np.array([context], dtype=np.uint64), self._subkeys)
        np.bitwise_xor(self._keys_V, keyed, out=self._hashes_V)
        return mix_in_place(self._hashes_V, self._scratch_V)

    def of_some(self, context: int, ids_S: I64) -> U64:
        """(S,) uint64 for these ids."""
        return token_hashes(np.array([context], dtype=np.uint64), ids_S, self._subkeys)
