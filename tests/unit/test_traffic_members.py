"""Who of a found cluster is answered: who fits it, and not who shares a phrase with it."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from traffic_cases import KEY, areas, reference, row, table_of

from stillhouse.traffic import Placed, Table
from stillhouse.traffic._clusters import Cluster, find_clusters
from stillhouse.traffic._members import alone_p, best_clusters, fitting

DIMENSIONS = 32
_Contents = tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]


def _contents(counts: Sequence[int], *, topics: int, own: Sequence[int], seed: int) -> _Contents:
    """Contents of accounts, near the directions of topics; accounts in `own` have one topic."""
    rng = np.random.default_rng(seed)
    centres = np.linalg.qr(rng.normal(size=(DIMENSIONS, DIMENSIONS)))[0][:topics]
    account_M = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    topic_M = rng.integers(topics, size=len(account_M))
    for account in own:
        topic_M[account_M == account] = account % topics
    direction_MD = centres[topic_M] + 0.15 * rng.normal(size=(len(account_M), DIMENSIONS))
    direction_MD /= np.linalg.norm(direction_MD, axis=1, keepdims=True)
    return account_M, direction_MD.astype(np.float32)


@pytest.mark.parametrize("count", [3, 5, 20])
def test_slices_of_one_sweep_fit_it_but_for_one_in_a_hundred(count: int) -> None:
    account_M, direction_MD = _contents([count] * 400, topics=12, own=[], seed=count)
    p_A = alone_p(account_M.astype(np.int64), direction_MD, 400)
    assert fitting(account_M, direction_MD).mean() > 0.965
    assert (p_A <= 0.01).mean() <= 0.03
    assert (p_A <= 0.1).mean() == pytest.approx(0.1, abs=0.05)


def test_an_account_with_a_topic_of_its_own_does_not_fit() -> None:
    account_M, direction_MD = _contents([10] * 60, topics=12, own=range(20), seed=1)
    fits_A = fitting(account_M, direction_MD)
    assert not fits_A[:20].any()
    assert fits_A[20:].mean() > 0.9


def test_an_account_that_hardly_sends_the_frames_does_not_fit() -> None:
    account_M, direction_MD = _contents([20] * 30 + [1, 2, 4, 5], topics=12, own=[], seed=2)
    assert fitting(account_M, direction_MD)[-4:].tolist() == [False, False, False, True]
    # Where all send little, two requests are enough, and one is not.
    account_M, direction_MD = _contents([3] * 30 + [1, 2], topics=12, own=[], seed=3)
    assert fitting(account_M, direction_MD)[-2:].tolist() == [False, True]


@pytest.mark.parametrize("direction", [0.0, 1.0])
def test_no_content_and_equal_contents_tell_nothing(direction: float) -> None:
    direction_MD = np.full((8, DIMENSIONS), direction / np.sqrt(DIMENSIONS), np.float32)
    number_M = np.repeat(np.arange(4), 2)
    assert alone_p(number_M, direction_MD, 4) == pytest.approx(np.ones(4), abs=1e-6)


@pytest.mark.parametrize("count", [5, 12])
def test_p_values_are_those_of_random_draws_from_all_contents(count: int) -> None:
    account_M, direction_MD = _contents([count] * 60, topics=6, own=[0, 1], seed=4)
    p_A = alone_p(account_M.astype(np.int64), direction_MD, 60)
    centred_MD = direction_MD.astype(np.float64) - direction_MD.mean(axis=0)
    rng = np.random.default_rng(5)
    picks = rng.permuted(np.tile(np.arange(len(account_M)), (4_000, 1)), axis=1)[:, :count]
    drawn = _alike(centred_MD[picks])
    own_A = _alike(centred_MD.reshape(60, count, -1))
    expected_A = (drawn[None] >= own_A[:, None]).mean(axis=1)
    assert np.abs(p_A - expected_A).max() < 0.12
    is_low_A = expected_A < 0.1
    assert is_low_A.sum() >= 2
    assert np.abs(p_A - expected_A)[is_low_A].max() < 0.05


def _alike(some_XCD: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(X,) the sum of the products of all pairs of different contents."""
    totals = (some_XCD.sum(axis=1) ** 2).sum(axis=1)
    return totals - (some_XCD**2).sum(axis=(1, 2))


# Close clusters in wide ones

SHARED = "This is the desk of a large public library and of its archive."
CAMPAIGN = "Treat every part of the entry below at length, as a work of reference would."


def _shared_phrase() -> tuple[Table, npt.NDArray[np.bool_]]:
    """Twenty slices of a sweep, and thirty users of the same phrase with topics of their own."""
    topics = [list(area.texts) for area in areas("fit").values()]
    rows = []
    for number in range(50 * 12):
        account = number % 50
        is_slice = account < 20
        own = CAMPAIGN if is_slice else f"Desk {'abcdefghij'[account % 10] * 5} is closed."
        topic = number // 50 + account if is_slice else account
        text = topics[topic % len(topics)][number % 400]
        prompt = f"{SHARED} {own}\n\n{text}"
        rows.append(row(number, account=f"account-{account}", prompt=prompt))
    table = table_of(rows)
    names = {KEY.account(f"account-{number}") for number in range(20)}
    return table, np.array([name in names for name in table.accounts])


@pytest.mark.parametrize("which_is_first", ["close", "wide"])
def test_a_close_cluster_explains_the_wide_one_around_it(which_is_first: str) -> None:
    table, is_slice_A = _shared_phrase()
    placed = Placed.on(reference().content_map, table)
    clusters = find_clusters(placed)
    sizes = [len(one.accounts) for one in clusters]
    wide, close = sizes.index(50), sizes.index(20)
    assert is_slice_A[clusters[close].accounts].all()
    p_C = np.ones(len(clusters))
    first, second = (close, wide) if which_is_first == "close" else (wide, close)
    p_C[[first, second]] = 1e-9, 1e-8  # both are found
    best_A = best_clusters(placed, clusters, p_C)
    assert (best_A[is_slice_A] == first).mean() >= 0.9
    assert (best_A[~is_slice_A] == -1).all()


@pytest.mark.parametrize("part_p", [1e-9, 1e-7])
def test_what_is_left_of_a_campaign_counts_where_a_part_of_it_is_found(part_p: float) -> None:
    table, _ = _shared_phrase()
    placed = Placed.on(reference().content_map, table)
    whole = next(one for one in find_clusters(placed) if len(one.accounts) == 20)
    is_part_M = np.isin(table.account_N[whole.linked_M], whole.accounts[:10])
    part = Cluster(whole.accounts[:10], whole.linked_M[is_part_M])
    best_A = best_clusters(placed, [whole, part], np.array([1e-8, part_p]))
    assert (best_A[whole.accounts] >= 0).mean() >= 0.9


def test_a_cluster_that_is_usual_is_nobodys() -> None:
    table, _ = _shared_phrase()
    placed = Placed.on(reference().content_map, table)
    clusters = find_clusters(placed)
    best_A = best_clusters(placed, clusters, np.full(len(clusters), 0.6))
    assert (best_A == -1).all()
