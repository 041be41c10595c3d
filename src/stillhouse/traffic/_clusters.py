"""Groups of accounts that send the same frames, and what they have in common.

Who splits a sweep over many accounts still fills the same few frames. Accounts are linked where
the MinHash bands of their frames agree, and frames are put together that the same accounts use.
Most groups are benign: a framework's frame is shared by all who use the framework.

Letters: N requests, P pairs of a bucket and an account, G buckets, M requests of a cluster.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from stillhouse.traffic._map import effective_number, likeness
from stillhouse.traffic._owns import own_figures
from stillhouse.traffic._windows import PRESSED, Floats, Indices, Placed

CLUSTER_FIGURES = (
    "accounts",
    "requests",
    "linked_share",
    "frames",
    "cue_share",
    "cue_kinds",
    "pressed",
    "breadth",
    "likeness",
    "own_topics",
    "own_likeness",
    "own_breadth",
    "logprob_share",
    "answer_length",
    "early_share",
    "days",
    "evenness",
    "newcomers",
)
LEAST_MEMBERS, _LEAST_REQUESTS = 4, 30
# Jaccard of the accounts of two buckets that are put together. The lower one puts all frames of a
# campaign together; the higher one keeps them apart from a common phrase that many others use too.
_SAME_ACCOUNTS = (0.3, 0.7)
_DAY_S = 86_400.0


@dataclass(frozen=True)
class Cluster:
    """Accounts that share frames.

    Attributes:
        accounts: Their numbers, rising.
        linked_M: Their requests in shared frames.
    """

    accounts: npt.NDArray[np.int64]
    linked_M: Indices


def find_clusters(placed: Placed) -> list[Cluster]:
    """All groups of at least four accounts and thirty requests, close ones within wide ones.

    An account may be in several, and in none.
    """
    table = placed.table
    num_bands = table.frame_NB.shape[1]
    # Bands get numbers of their own, since equal keys in two bands say nothing.
    key_NB = table.frame_NB.astype(np.int64) * num_bands + np.arange(num_bands)
    request_R, band_R = np.nonzero(table.frame_NB)
    if not len(request_R):
        return []
    keys_G, bucket_R = np.unique(key_NB[request_R, band_R], return_inverse=True)
    uses = sparse.coo_array(
        (np.ones(len(request_R), np.int32), (bucket_R, table.account_N[request_R])),
        (len(keys_G), len(table.accounts)),
    ).tocsr()
    is_shared_G = np.diff(uses.indptr) >= LEAST_MEMBERS
    if not is_shared_G.any():
        return []
    number_G = np.cumsum(is_shared_G) - 1
    is_kept_R = is_shared_G[bucket_R]
    number_R, request_R = number_G[bucket_R[is_kept_R]], request_R[is_kept_R]
    found: dict[bytes, Cluster] = {}
    for group_G in _grouped(uses[np.flatnonzero(is_shared_G)]):
        for cluster in _clusters(table.account_N, group_G[number_R], request_R):
            found.setdefault(cluster.linked_M.tobytes(), cluster)
    return list(found.values())


def _clusters(
    account_N: npt.NDArray[np.int32], group_R: Indices, request_R: Indices
) -> Iterator[Cluster]:
    order = np.lexsort((request_R, group_R))
    group_R, request_R = group_R[order], request_R[order]
    edges = np.flatnonzero(np.diff(group_R)) + 1
    for part in np.split(request_R, edges):
        linked_M = np.unique(part)
        if len(linked_M) >= _LEAST_REQUESTS:
            yield Cluster(np.unique(account_N[linked_M]).astype(np.int64), linked_M)


def _grouped(uses_GA: sparse.csr_array) -> Iterator[Indices]:
    """(G,) the group of each bucket, widely and closely: the same accounts use what is one."""
    has_GA = uses_GA.astype(bool).astype(np.int32)
    sizes_G = np.diff(has_GA.indptr)
    both = (has_GA @ has_GA.T).tocoo()
    union = sizes_G[both.row] + sizes_G[both.col] - both.data
    for same in _SAME_ACCOUNTS:
        is_same = both.data >= same * union
        links = sparse.coo_array(
            (np.ones(int(is_same.sum()), np.int8), (both.row[is_same], both.col[is_same])),
            (len(sizes_G), len(sizes_G)),
        )
        yield np.asarray(connected_components(links, directed=False)[1], np.int64)


def cluster_figures(
    placed: Placed, cluster: Cluster, totals_A: Indices, first_s_A: Floats
) -> Floats:
    """Figures of a cluster's requests in shared frames, in the order of `CLUSTER_FIGURES`.

    - `accounts`, `requests`: logs of their numbers; `linked_share`: mean share of an account's
      requests that is in shared frames; `frames`: log of their effective number.
    - `cue_share`, `logprob_share`, `early_share`: logs of two hundredths more than the shares of
      requests with a cue, with log-probabilities, and to a model within a day of its first request.
    - `cue_kinds`, `pressed`, `breadth`, `likeness`, `answer_length`: as of windows, pooled.
    - `own_topics`: log of how much more alike two contents of one account are than those of two
      accounts; `own_likeness`: log of how alike they are; `own_breadth`: log of the effective
      number of regions of an account. Users of a framework have topics of their own; slices of one
      sweep have none, and each spreads as wide as the whole (`_owns.py`).
    - `days`: log of the days between the quartiles of time; `evenness`: log of the variation of
      requests for each account; `newcomers`: share of accounts whose first request is in a shared
      frame or within a day of the first such request.

    Args:
        totals_A: Requests of each account, in all.
        first_s_A: Time of each account's first request.
    """
    table, linked_M = placed.table, cluster.linked_M
    account_M, time_M = table.account_N[linked_M], table.time_N[linked_M]
    direction_MD, region_M = placed.direction_ND[linked_M], placed.region_N[linked_M]
    kinds_M = np.bitwise_count(table.cues_N[linked_M])
    num, num_cued = len(linked_M), int((kinds_M > 0).sum())
    of_account, counts = np.unique(account_M, return_counts=True)
    pooled = likeness(direction_MD)
    own = own_figures(account_M, direction_MD, region_M)
    early_s = np.full(len(table.accounts), np.inf)
    np.minimum.at(early_s, account_M, time_M)
    is_new = early_s[of_account] - first_s_A[of_account] < _DAY_S
    low_s, high_s = np.quantile(time_M, [0.25, 0.75])
    _, frame_M = np.unique(table.frame_NB[linked_M, 0], return_inverse=True)
    return np.array(
        [
            math.log(len(of_account)),
            math.log(num),
            float((counts / totals_A[of_account]).mean()),
            math.log(effective_number(frame_M)),
            _log_share(num_cued, num),
            float(kinds_M[kinds_M > 0].mean()) if num_cued else 1.0,
            math.log1p(int((kinds_M >= PRESSED).sum())),
            math.log(effective_number(region_M)),
            pooled,
            own.topics,
            own.likeness,
            own.breadth,
            _log_share(int(table.logprobs_N[linked_M].sum()), num),
            float(np.log1p(table.completion_tokens_N[linked_M]).mean()),
            _log_share(int(table.early_N[linked_M].sum()), num),
            math.log((high_s - low_s) / _DAY_S + 0.1),
            math.log(counts.std() / counts.mean() + 0.1),
            float(is_new.mean()),
        ]
    )


def account_totals(placed: Placed) -> tuple[Indices, Floats]:
    """(A,) requests of each account, and the time of its first."""
    table = placed.table
    totals_A = np.bincount(table.account_N, minlength=len(table.accounts))
    first_s_A = np.full(len(table.accounts), np.inf)
    np.minimum.at(first_s_A, table.account_N, table.time_N)
    return totals_A, first_s_A


def _log_share(num_of: int, num: int) -> float:
    # Log-odds would fall with the size of a cluster that has none.
    return math.log(num_of / num + 0.02)
