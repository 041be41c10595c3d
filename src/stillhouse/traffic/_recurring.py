"""In how many recent prompts a shingle stood, in memory that does not grow with a log.

What recurs from prompt to prompt is the frame, against what it is filled with. No frame (template
skeleton) is told by anybody: four words in a row that several recent prompts had, whoever sent
them, are taken for one; the rest is content.
"""

import numpy as np
import numpy.typing as npt

from stillhouse.traffic._words import Hashes, Indices, mix

Counts = npt.NDArray[np.uint16]

_NUM_CELLS = 1 << 22  # of each row: 8 MB
_HALVING_PROMPTS = 1 << 15  # not tuned; with 50 shingles a prompt, 4 M cells hold 0.6 on average
_SALT = np.uint64(0xD6E8FEB86659FD93)


class RecentCounts:
    """Counts in how many recent prompts a hash stood; the oldest fade.

    A count-min table of two rows. A count is too high where both cells of a hash are shared.

    Attributes:
        num_prompts: Prompts that the counts are of, faded as they are.
    """

    def __init__(self) -> None:
        self._cells = np.zeros((2, _NUM_CELLS), np.uint16)
        self.num_prompts = 0

    def add(self, hashes_H: Hashes, prompt_H: Indices, num_prompts: int) -> Counts:
        """Add prompts.

        Args:
            hashes_H: Of all prompts.
            prompt_H: Which prompt each is of.
            num_prompts: How many prompts they are of.

        Returns:
            (H,) how many recent prompts had each, these included.
        """
        if self.num_prompts + num_prompts >= 2 * _HALVING_PROMPTS:
            self._cells >>= 1
            self.num_prompts //= 2
        self.num_prompts += num_prompts
        if not len(hashes_H):
            return np.empty(0, np.uint16)
        # A prompt that repeats itself counts once.
        both_H = mix(hashes_H + _SALT * (prompt_H.astype(np.uint64) + np.uint64(1)))
        _, once = np.unique(both_H, return_index=True)
        counts = np.full(len(hashes_H), np.iinfo(np.uint16).max, np.uint16)
        for row, shift in zip(self._cells, (0, 32), strict=True):
            place_H = ((hashes_H >> np.uint64(shift)) & np.uint64(_NUM_CELLS - 1)).astype(np.int64)
            np.add.at(row, place_H[once], 1)  # 65,536 prompts at most: it cannot wrap
            np.minimum(counts, row[place_H], out=counts)
        return counts
