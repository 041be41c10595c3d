"""Ids by how often they occur in a part, so that most of them are small numbers.

The table is one byte per id, its frequency's class: its power of two. Ids of one class keep
their own order, which costs next to nothing and makes the table an eighth of a permutation.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stillhouse.errors import IntegrityError, ShapeError
from stillhouse.signal._planes import Bytes, join_bytes, split_bytes

MAX_IDS = 1 << 24
NO_IDS: npt.NDArray[np.int32] = np.zeros(0, dtype=np.int32)
"""What codecs store that store no ids."""
_FREQUENT = 256


class IdOrder:
    """A two-way map between ids and their ranks.

    Args:
        classes: Frequency class of each id, 0 for one that does not occur.

    Attributes:
        classes: As given: what is stored.
    """

    def __init__(self, classes: Bytes) -> None:
        self.classes = classes
        used = np.flatnonzero(classes)
        self._ids = used[np.argsort(255 - classes[used], kind="stable")].astype(np.int32)
        self._num_bytes = 2 if len(used) <= 1 << 16 else 3

    @classmethod
    def of(cls, ids: npt.NDArray[np.integer]) -> "IdOrder":
        """The order of the ids that occur.

        Raises:
            ShapeError: an id is negative or has more than 24 bits.
        """
        if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < MAX_IDS:
            raise ShapeError(
                f"ids from {ids.min()} to {ids.max()}; 0 to {MAX_IDS - 1} are allowed."
            )
        counts = np.bincount(ids.reshape(-1))
        octaves = np.log2(np.maximum(counts, 1))
        return cls(np.where(counts > 0, 1 + octaves, 0).astype(np.uint8))

    def encode(self, ids: npt.NDArray[np.int32]) -> list[Bytes]:
        """Planes of the ranks of (n,) ids.

        Low bytes of the 256 most frequent, which are skewed; low bytes of the others, which are
        close to uniform; higher bytes of all.
        """
        ranks = np.zeros(max(len(self.classes), 1), dtype=np.uint32)
        ranks[self._ids] = np.arange(len(self._ids), dtype=np.uint32)
        low, *higher = split_bytes(ranks[ids], self._num_bytes)
        is_frequent = ranks[ids] < _FREQUENT
        return [low[is_frequent], low[~is_frequent], *higher]

    def decode(self, planes: Sequence[Bytes]) -> npt.NDArray[np.int32]:
        """The ids that `encode` was given.

        Raises:
            IntegrityError: a rank is beyond the table, or the planes do not fit each other.
        """
        frequent, others, *higher = planes
        ranks = join_bytes(higher) << np.uint32(8)
        is_frequent = ranks == 0
        try:
            ranks[is_frequent] = frequent
            ranks[~is_frequent] |= others
            ids: npt.NDArray[np.int32] = self._ids[ranks]
        except (IndexError, ValueError) as err:
            raise IntegrityError(f"its ids do not fit a table of {len(self._ids)}") from err
        return ids
