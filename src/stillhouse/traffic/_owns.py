"""Whether the accounts of a cluster have topics of their own, or each has a slice of one sweep.

Three figures, each on the safe side of what chance does in few requests: a small cluster says
little, and looks like one whose accounts have topics.

Letters: M requests of a cluster, A accounts, D dimensions, K regions.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stillhouse.traffic._map import NO_REGION, NUM_REGIONS, Directions, Regions

_SAFE = 2.0  # standard errors
# What a sweep cannot be told from; without it, the log of almost nothing would decide alone.
_LEAST_TOPICS, _LEAST_LIKENESS, _LEAST_SHARED = 0.004, 0.01, 0.01
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Owns:
    """Figures of a cluster.

    Attributes:
        topics: Log of how much more alike two contents of one account are than those of two.
        likeness: Log of how alike two contents of one account are.
        breadth: Log of the effective number of regions of one account.
    """

    topics: float
    likeness: float
    breadth: float


NOTHING = Owns(0.0, 0.0, 0.0)
"""Of a cluster that cannot tell: as of accounts that ask the same thing again and again."""


def own_figures(
    account_M: npt.NDArray[np.int32], direction_MD: Directions, region_M: Regions
) -> Owns:
    """Of the requests of a cluster.

    An account weighs as its requests less one, not as their pairs, so that a large one does not
    speak for all. Standard errors are those of independent pairs.
    """
    has_content_M = region_M != NO_REGION
    direction_MD = direction_MD[has_content_M].astype(np.float64)
    num = len(direction_MD)
    _, number_M, counts_A = np.unique(
        account_M[has_content_M], return_inverse=True, return_counts=True
    )
    pairs_A = counts_A * (counts_A - 1.0)
    if not pairs_A.any():
        return NOTHING
    weight_A = np.maximum(counts_A - 1.0, 0.0) / (counts_A - 1.0).sum()
    num_across = num * (num - 1) - pairs_A.sum()
    by_pairs = 2.0 * float((weight_A**2 / np.maximum(pairs_A, 1.0)).sum())

    sums_AD = np.zeros((len(counts_A), direction_MD.shape[1]))
    np.add.at(sums_AD, number_M, direction_MD)
    within_A = (sums_AD**2).sum(axis=1) - counts_A
    total_D = direction_MD.sum(axis=0)
    across = (total_D @ total_D - num - within_A.sum()) / max(num_across, 1.0)
    own = float((weight_A * within_A / np.maximum(pairs_A, 1.0)).sum())
    squared = float(((direction_MD.T @ direction_MD / num) ** 2).sum())  # of all cosines, in mean
    error = _SAFE * math.sqrt(max(squared - across**2, 0.0) * by_pairs)

    seen_AK = np.zeros((len(counts_A), NUM_REGIONS))
    np.add.at(seen_AK, (number_M, region_M[has_content_M]), 1)
    shared_A = (seen_AK * (seen_AK - 1)).sum(axis=1)
    share = float((weight_A * shared_A / np.maximum(pairs_A, 1.0)).sum())
    total_K = seen_AK.sum(axis=0)
    pooled = float((total_K * (total_K - 1)).sum() / max(num * (num - 1), 1))
    share += _SAFE * math.sqrt(pooled * (1 - pooled) * by_pairs)
    return Owns(
        math.log(max(own - across + error, _LEAST_TOPICS)),
        math.log(max(own + error, _LEAST_LIKENESS)),
        -math.log(share + _LEAST_SHARED),
    )
