"""A peer, made again from its description: MMD of a window's prompts against a benign pool.

RBF kernels at 1/2, 1, 2 and 4 times the median distance, the unbiased estimate of squared MMD, and
a threshold from benign windows that are drawn from the pool (arXiv:2606.05725, which embeds prompts
by bge-small-en-v1.5; here whole prompts are embedded by the same hashed words as ours, on a map of
their own).

Letters: N prompts, M a window's, R a reference's, D dimensions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from benchmarks._protect.traffic_made import KEY

from stillhouse.traffic._features import contents
from stillhouse.traffic._map import ContentMap, Contents, Directions
from stillhouse.traffic._words import WordHasher

_SCALES = (0.5, 1.0, 2.0, 4.0)
_BATCH = 512
Floats = npt.NDArray[np.float64]


def whole_contents(texts: Sequence[str]) -> Contents:
    """Buckets of all words of prompts, their frames too."""
    hasher, found = WordHasher(KEY), []
    for start in range(0, len(texts), _BATCH):
        hashed = hasher.hashed(texts[start : start + _BATCH])
        found.append(contents(hashed.words_W, hashed.prompt_W, hashed.num_prompts))
    return np.concatenate(found)


@dataclass(frozen=True)
class Peer:
    """The pool of benign prompts that windows are compared with.

    Attributes:
        content_map: Of the pool.
        pool_ND: All of it.
        reference_RD: The part that windows are compared with.
        widths: Of the kernels.
        within: Mean kernel of two different prompts of the reference.
    """

    content_map: ContentMap
    pool_ND: Directions
    reference_RD: Directions
    widths: Sequence[float]
    within: float

    @classmethod
    def fit(cls, content_NC: Contents, *, num_reference: int, seed: int = 0) -> "Peer":
        """The peer of a benign pool."""
        rng = np.random.default_rng(seed)
        content_map = ContentMap.fit(content_NC)
        pool_ND = content_map.directions(content_NC)
        some = rng.choice(len(pool_ND), min(num_reference, len(pool_ND)), replace=False)
        reference_RD = pool_ND[some]
        squared = 2 - 2 * reference_RD[:500] @ reference_RD[500:1000].T
        median = float(np.median(np.sqrt(np.maximum(squared, 0))))
        widths = [median * scale for scale in _SCALES]
        num = len(reference_RD)
        within = (_kernel(reference_RD, reference_RD, widths) - num) / (num * (num - 1))
        return cls(content_map, pool_ND, reference_RD, widths, within)

    def mmd(self, window_MD: Directions) -> float:
        """Unbiased squared MMD of a window and the reference."""
        num, other = len(window_MD), len(self.reference_RD)
        own = (_kernel(window_MD, window_MD, self.widths) - num) / (num * (num - 1))
        across = _kernel(window_MD, self.reference_RD, self.widths) / (num * other)
        return float(own + self.within - 2 * across)

    def null(self, length: int, *, draws: int, seed: int = 1) -> Floats:
        """Values of windows that are drawn from the pool, as the description has it."""
        rng = np.random.default_rng(seed)
        picks = (rng.choice(len(self.pool_ND), length, replace=False) for _ in range(draws))
        return np.sort([self.mmd(self.pool_ND[pick]) for pick in picks])


def _kernel(one_MD: Directions, other_RD: Directions, widths: Sequence[float]) -> float:
    """Sum of the mean kernel over all pairs."""
    squared_MR = np.maximum(2 - 2 * one_MD @ other_RD.T, 0)
    return float(np.mean([np.exp(-squared_MR / (2 * w * w)).sum(dtype=np.float64) for w in widths]))
