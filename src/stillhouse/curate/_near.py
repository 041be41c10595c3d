"""All pairs of texts whose shingles are nearly the same, without comparing all pairs.

Nothing is hashed at random, so nothing is missed. Shingles are ranked by how few held-out texts
have them. Two texts at the threshold share many shingles, so they share some among the rarest
ones of each already (prefix filtering): only such pairs are compared.

Sources: Bayardo, Ma and Srikant 2007, "Scaling up all pairs similarity search"; for more than one
shared shingle Wang, Li and Feng 2012, "Can we beat the prefix filtering?".
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

NEAR_JACCARD = 0.8
_SHINGLE_CHARS = 5  # not tuned; a typo changes five of them, so texts of 50 characters stay near
# A prefix is longer by one for each more that has to be shared. With four, random sentences of a
# small vocabulary hardly ever do.
_NUM_SHARED = 4
_ROWS_PER_PRODUCT = 256
_LEAST_RATIO = NEAR_JACCARD - 1e-9


class NearTexts:
    """Training and held-out texts, indexed by their rarest shingles."""

    def __init__(self, train: Sequence[str], held_out: Sequence[str]) -> None:
        self._train = train
        shingles = [_shingles(text) for text in held_out]
        times = Counter(shingle for found in shingles for shingle in found)
        by_rarity = sorted(times, key=lambda shingle: (times[shingle], shingle))
        self._ranks = {shingle: rank for rank, shingle in enumerate(by_rarity)}
        self._held_out = [frozenset(map(self._ranks.__getitem__, found)) for found in shingles]
        self._last: tuple[int, set[int], int] | None = None

    def candidates(self) -> Iterator[tuple[int, list[int]]]:
        """Each training text with the held-out ones that may be near, all that are among them."""
        others = _Prefixes(((ranks, len(ranks)) for ranks in self._held_out), len(self._ranks))
        for start in range(0, len(self._train), _ROWS_PER_PRODUCT):
            places = range(start, min(start + _ROWS_PER_PRODUCT, len(self._train)))
            some = _Prefixes(map(self._train_set, places), len(self._ranks))
            shared = (some.matrix @ others.matrix.T).tocsr()
            for row, place in enumerate(places):
                cells = slice(shared.indptr[row], shared.indptr[row + 1])
                other = shared.indices[cells]
                needed = np.minimum(some.num_needed[row], others.num_needed[other])
                # Nearly equal sets are nearly of one size.
                ratio = others.sizes[other] / some.sizes[row]
                has_size = (ratio > _LEAST_RATIO) & (ratio < 1 / _LEAST_RATIO)
                is_possible = has_size & (shared.data[cells] >= needed)
                yield place, np.sort(other[is_possible]).tolist()

    def similarity(self, train_place: int, held_out_place: int) -> float:
        """Jaccard of the shingles of a training and a held-out text."""
        if self._last is None or self._last[0] != train_place:
            self._last = (train_place, *self._train_set(train_place))
        _, ranks, size = self._last
        other = self._held_out[held_out_place]
        num_shared = len(ranks & other)
        return num_shared / (size + len(other) - num_shared)

    def _train_set(self, place: int) -> tuple[set[int], int]:
        """The shingles of a training text that held-out ones have, and how many it has in all."""
        shingles = _shingles(self._train[place])
        return {self._ranks[found] for found in shingles if found in self._ranks}, len(shingles)


class _Prefixes:
    """The prefixes of some texts.

    Attributes:
        matrix: (texts, ranks): 1 where a rank is in the prefix of a text.
        sizes: Shingles of each text.
        num_needed: How many shingles of its prefix a text shares with each that is near.
    """

    def __init__(
        self, texts: Iterable[tuple[set[int] | frozenset[int], int]], num_ranks: int
    ) -> None:
        prefixes, sizes = zip(*((_prefix(*text), text[1]) for text in texts), strict=True)
        starts = np.concatenate([[0], np.cumsum(list(map(len, prefixes)), dtype=np.int64)])
        ranks = np.fromiter(chain.from_iterable(prefixes), np.int64, count=starts[-1])
        ones = np.ones(len(ranks), dtype=np.int32)
        self.matrix = csr_array((ones, ranks, starts), shape=(len(sizes), num_ranks))
        self.sizes: NDArray[np.int64] = np.array(sizes, dtype=np.int64)
        needed = [min(_NUM_SHARED, _fewest_shared(size)) for size in sizes]
        self.num_needed: NDArray[np.int64] = np.array(needed, dtype=np.int64)


def _prefix(ranks: set[int] | frozenset[int], size: int) -> list[int]:
    """The rarest ranks of a text that has `size` shingles.

    Shingles that no held-out text has are the rarest of all, so they use up the prefix first.
    """
    length = size - _fewest_shared(size) + _NUM_SHARED - (size - len(ranks))
    return sorted(ranks)[: max(0, length)]


def _fewest_shared(size: int) -> int:
    """How many of its shingles a text shares with each that is near, at least."""
    return math.ceil(NEAR_JACCARD * size - 1e-9)  # so that 0.8 x 5 is not rounded up to 5


def _shingles(text: str) -> set[str]:
    last = max(1, len(text) - _SHINGLE_CHARS + 1)
    return {text[start : start + _SHINGLE_CHARS] for start in range(last)}
