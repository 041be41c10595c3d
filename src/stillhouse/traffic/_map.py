"""A map of what is asked, fitted on a reference log: contents as directions, and in regions.

Buckets of words get weights by how rare they are, and a principal subspace: contents that share
few words but words that go together come near each other. Regions are the nearest of some centres.

Letters: N contents, C words of a content, V buckets, D dimensions, K regions.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy import sparse

from stillhouse.errors import DataError
from stillhouse.traffic._features import NO_WORD, NUM_BUCKETS

Contents = npt.NDArray[np.uint16]
Directions = npt.NDArray[np.float32]
Regions = npt.NDArray[np.int16]

NUM_DIMENSIONS = 32
NUM_REGIONS = 48
NO_REGION = -1
_ROUNDS = 12
_POWER_STEPS = 4
_EXTRA = 16  # directions beyond those that are kept, for accuracy
_CHUNK = 65_536


@dataclass(frozen=True)
class ContentMap:
    """Where contents are.

    Attributes:
        weight_V: Of buckets.
        mean_V: Mean content, which is taken off.
        axes_VD: Principal axes.
        centres_KD: Of regions, of unit length.
    """

    weight_V: Directions
    mean_V: Directions
    axes_VD: Directions
    centres_KD: Directions

    @classmethod
    def fit(cls, content_NC: Contents, *, seed: int = 0) -> Self:
        """The map of a reference log.

        Raises:
            DataError: too few of its prompts have content of their own.
        """
        rng = np.random.default_rng(seed)
        content_NC = content_NC[content_NC[:, 0] != NO_WORD]
        if len(content_NC) < 10 * NUM_REGIONS:
            raise DataError(
                f"{len(content_NC)} prompts of the reference log have content of their own, and a "
                f"map takes {10 * NUM_REGIONS}. Give a longer log."
            )
        some = rng.permutation(len(content_NC))[:_CHUNK]
        content_NC = np.ascontiguousarray(content_NC[some])
        present_NC = content_NC != NO_WORD
        counts_V = np.bincount(content_NC[present_NC] % NUM_BUCKETS, minlength=NUM_BUCKETS)
        weight_V = np.log((len(content_NC) + 1.0) / (counts_V + 1.0)).astype(np.float32)
        rows_NV = _rows(content_NC, weight_V)
        mean_V = np.asarray(rows_NV.mean(axis=0)).ravel().astype(np.float32)
        axes_VD = _axes(rows_NV, mean_V, rng)
        unplaced = cls(weight_V, mean_V, axes_VD, np.empty((0, NUM_DIMENSIONS), np.float32))
        return cls(weight_V, mean_V, axes_VD, _centres(unplaced.directions(content_NC), rng))

    def directions(self, content_NC: Contents) -> Directions:
        """(N, D) of unit length; zeros where there is no content."""
        direction_ND = np.zeros((len(content_NC), NUM_DIMENSIONS), np.float32)
        shift_D = self.mean_V @ self.axes_VD
        for start in range(0, len(content_NC), _CHUNK):
            part_NC = content_NC[start : start + _CHUNK]
            placed_ND = _unit(_rows(part_NC, self.weight_V) @ self.axes_VD - shift_D)
            has_content_N1 = part_NC[:, :1] != NO_WORD
            direction_ND[start : start + _CHUNK] = np.where(has_content_N1, placed_ND, 0)
        return direction_ND

    def regions(self, direction_ND: Directions) -> Regions:
        """(N,) the region of each; `NO_REGION` where there is no content."""
        region_N = np.full(len(direction_ND), NO_REGION, np.int16)
        for start in range(0, len(direction_ND), _CHUNK):
            part_ND = direction_ND[start : start + _CHUNK]
            nearest_N = (part_ND @ self.centres_KD.T).argmax(axis=1)
            region_N[start : start + _CHUNK] = np.where(part_ND.any(axis=1), nearest_N, NO_REGION)
        return region_N


def effective_number(region_M: npt.NDArray[np.integer[Any]]) -> float:
    """How many regions contents spread over: the inverse of the chance that two share one.

    The estimate is that of pairs without replacement, so that few contents are no narrower for
    being few; it is capped at the number of pairs, and 1 for fewer than two contents.
    """
    region_M = region_M[region_M != NO_REGION]
    num = len(region_M)
    if num < 2:
        return 1.0
    counts = np.bincount(region_M)
    return float(num * (num - 1) / max(int((counts * (counts - 1)).sum()), 2))


def likeness(direction_MD: Directions) -> float:
    """Mean cosine of two different contents; 0 for fewer than two."""
    num = int(direction_MD.any(axis=1).sum())
    if num < 2:
        return 0.0
    total_D = direction_MD.sum(axis=0, dtype=np.float64)
    return float((total_D @ total_D - num) / (num * (num - 1)))


def _rows(content_NC: Contents, weight_V: Directions) -> sparse.csr_array:
    """(N, V) signed and weighted, of unit length."""
    present_NC = content_NC != NO_WORD
    counts_N = present_NC.sum(axis=1)
    bucket_P = (content_NC[present_NC] % NUM_BUCKETS).astype(np.int64)
    value_P = weight_V[bucket_P] * np.where(content_NC[present_NC] >= NUM_BUCKETS, -1, 1)
    row_P = np.repeat(np.arange(len(content_NC)), counts_N)
    norm_N = np.sqrt(np.bincount(row_P, value_P.astype(np.float64) ** 2, len(content_NC)))
    value_P = (value_P / np.maximum(norm_N, 1e-9)[row_P]).astype(np.float32)
    edges = np.concatenate([[0], np.cumsum(counts_N)])
    return sparse.csr_array((value_P, bucket_P, edges), (len(content_NC), NUM_BUCKETS))


def _axes(rows_NV: sparse.csr_array, mean_V: Directions, rng: np.random.Generator) -> Directions:
    """(V, D) principal axes by subspace iteration.

    Source: Halko, Martinsson & Tropp 2011, arXiv:0909.4061, algorithm 4.4.
    """
    shape = (NUM_BUCKETS, NUM_DIMENSIONS + _EXTRA)
    axes_VE: Directions = rng.standard_normal(shape, np.float32)
    for _ in range(_POWER_STEPS):
        axes_VE, _ = np.linalg.qr(axes_VE)
        placed_NE = rows_NV @ axes_VE - mean_V @ axes_VE
        axes_VE = rows_NV.T @ placed_NE - np.outer(mean_V, placed_NE.sum(axis=0))
    axes_VE, _ = np.linalg.qr(axes_VE)
    placed_NE = rows_NV @ axes_VE - mean_V @ axes_VE
    turn_EE: Directions
    _, _, turn_EE = np.linalg.svd(placed_NE.T @ placed_NE)
    axes_VD: Directions = axes_VE @ turn_EE[:NUM_DIMENSIONS].T
    return axes_VD


def _centres(points_ND: Directions, rng: np.random.Generator) -> Directions:
    """(K, D) by spherical k-means, begun at random contents."""
    points_ND = points_ND[points_ND.any(axis=1)]
    if len(points_ND) < NUM_REGIONS:
        raise DataError(
            f"{len(points_ND)} prompts of the reference log differ from the others in content, and "
            f"{NUM_REGIONS} are the fewest for a map. Give a log of real requests."
        )
    centres_KD = points_ND[rng.choice(len(points_ND), NUM_REGIONS, replace=False)]
    for _ in range(_ROUNDS):
        nearest_N = (points_ND @ centres_KD.T).argmax(axis=1)
        sums_KD = np.zeros_like(centres_KD)
        np.add.at(sums_KD, nearest_N, points_ND)
        is_empty_K = ~sums_KD.any(axis=1)
        # An empty region starts again somewhere else.
        sums_KD[is_empty_K] = points_ND[rng.choice(len(points_ND), int(is_empty_K.sum()))]
        centres_KD = _unit(sums_KD)
    return centres_KD


def _unit(rows_ND: Directions) -> Directions:
    norms_N1 = np.linalg.norm(rows_ND, axis=1, keepdims=True)
    unit_ND: Directions = (rows_ND / np.maximum(norms_N1, 1e-9)).astype(np.float32)
    return unit_ND
