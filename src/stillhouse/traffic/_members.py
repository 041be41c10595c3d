"""Which accounts of a cluster are slices of one sweep, and which only share a phrase with it.

A cluster is found as a whole, and an account is answered by itself: it has to fit what was found.
Where a wide cluster has a closer one in it that would be found by itself, the closer one explains
the wide one, unless accounts that are left of the wide one are slices of the sweep as well.

Letters: M requests of a cluster, A accounts, C clusters, D dimensions, S some accounts.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincc

from stillhouse.traffic._clusters import LEAST_MEMBERS, Cluster
from stillhouse.traffic._map import Directions
from stillhouse.traffic._windows import Floats, Indices, Placed

_LEAST_OWN = 2  # one request in a frame is no pattern
_LEAST_SHARE = 0.25  # of the median account's requests
_LEVEL = 0.01  # slices of a sweep that are lost by chance
_MOST_P = 0.5  # half of a rate is for clusters, so that beyond it none is found
_LEVEL_C = 0.05  # of a close cluster, among all clusters of the log
_LEAST_FITTING = 0.75  # of what is left of a wide one; of slices of one sweep nearly all fit
_LEAST_WITHIN = 0.9  # of the requests of a part
_LEAST_SKEW = 1e-3
_MOST_CUBED = 1_000
Bools = npt.NDArray[np.bool_]


def best_clusters(placed: Placed, clusters: Sequence[Cluster], p_C: Floats) -> Indices:
    """(A,) which cluster that an account of a log fits has the smallest p-value; -1 for none.

    Args:
        p_C: Of clusters.
    """
    best_A = np.full(len(placed.table.accounts), -1, np.int64)
    order = [number for number in np.argsort(p_C, kind="stable").tolist() if p_C[number] <= _MOST_P]
    for place, number in enumerate(order):
        cluster = clusters[number]
        account_M = placed.table.account_N[cluster.linked_M]
        fits_A = fitting(account_M, placed.direction_ND[cluster.linked_M])
        is_left_A = best_A[cluster.accounts] < 0
        close = None
        if is_left_A.all():
            later = [clusters[c] for c in order[place + 1 :] if p_C[c] <= _LEVEL_C / len(clusters)]
            close = _closest(cluster, later)
        is_rest_A = is_left_A if close is None else ~np.isin(cluster.accounts, close.accounts)
        is_all = close is None and is_left_A.all()
        if is_all or (
            is_rest_A.sum() >= LEAST_MEMBERS and fits_A[is_rest_A].mean() >= _LEAST_FITTING
        ):
            best_A[cluster.accounts[is_left_A & fits_A]] = number
        elif close is not None:
            account_M = placed.table.account_N[close.linked_M]
            fits_A = fitting(account_M, placed.direction_ND[close.linked_M])
            best_A[close.accounts[fits_A]] = number
    return best_A


def _closest(wide: Cluster, clusters: Sequence[Cluster]) -> Cluster | None:
    """The first of some clusters that is a part of another."""
    for close in clusters:
        num_both = len(np.intersect1d(close.linked_M, wide.linked_M, assume_unique=True))
        if num_both >= _LEAST_WITHIN * len(close.linked_M) and len(close.accounts) < len(
            wide.accounts
        ):
            return close
    return None


def fitting(account_M: npt.NDArray[np.int32], direction_MD: Directions) -> Bools:
    """(A,) whether each account fits the cluster, in the order of `np.unique(account_M)`.

    It sends a quarter as much in the shared frames as the median account, and at least two
    requests; and its contents are no more alike than as many that are drawn from all of them.
    """
    _, number_M, counts_A = np.unique(account_M, return_inverse=True, return_counts=True)
    is_enough_A = counts_A >= max(_LEAST_OWN, _LEAST_SHARE * float(np.median(counts_A)))
    fits: Bools = is_enough_A & (alone_p(number_M, direction_MD, len(counts_A)) > _LEVEL)
    return fits


def alone_p(number_M: npt.NDArray[np.int64], direction_MD: Directions, num_accounts: int) -> Floats:
    """(A,) chance that contents drawn from all are as alike as those of an account.

    The mean cosine of n random contents is a weighted sum of squares; a gamma of the same three
    moments stands for it (Pearson's type III). 1 where an account has fewer than two contents.
    """
    has_content_M = direction_MD.any(axis=1)
    number_M = number_M[has_content_M]
    direction_MD = direction_MD[has_content_M].astype(np.float64)
    counts_A = np.bincount(number_M, minlength=num_accounts)
    p_A = np.ones(num_accounts)
    if len(direction_MD) < 2:
        return p_A
    centred_MD = direction_MD - direction_MD.mean(axis=0)
    sums_AD = np.zeros((num_accounts, centred_MD.shape[1]))
    np.add.at(sums_AD, number_M, centred_MD)
    own_A = np.bincount(number_M, (centred_MD**2).sum(axis=1), num_accounts)
    spread_DD = centred_MD.T @ centred_MD / len(centred_MD)
    second = float((spread_DD**2).sum())
    if second <= 0.0:
        return p_A
    some = np.flatnonzero(counts_A >= 2)
    num_S = counts_A[some]
    pairs_S = num_S * (num_S - 1.0)
    total_S = (sums_AD[some] ** 2).sum(axis=1) - own_A[some]
    # Moments of a sum over ordered pairs: of the third, triangles and one pair thrice.
    deviation_S = np.sqrt(2 * pairs_S * second)
    triangle = float(np.einsum("ij,jk,ki", spread_DD, spread_DD, spread_DD))
    third_S = 8 * pairs_S * (num_S - 2) * triangle + 4 * pairs_S * _cubed(centred_MD)
    shape_S = 4 / np.maximum(third_S / deviation_S**3, _LEAST_SKEW) ** 2
    at_S = np.maximum(shape_S + total_S / deviation_S * np.sqrt(shape_S), 0.0)
    p_A[some] = gammaincc(shape_S, at_S)
    return p_A


def _cubed(centred_MD: Floats) -> float:
    """The mean cube of the product of two contents, of some that are evenly spaced."""
    some_MD = centred_MD[:: 1 + len(centred_MD) // _MOST_CUBED]
    cubes_MM = (some_MD @ some_MD.T) ** 3
    num = len(some_MD)
    return float((cubes_MM.sum() - np.trace(cubes_MM)) / max(num * (num - 1), 1))
