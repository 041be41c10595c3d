"""Topics of their own: accounts of a framework have them, slices of one sweep do not."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.traffic._map import NO_REGION, NUM_DIMENSIONS, NUM_REGIONS
from stillhouse.traffic._owns import NOTHING, Owns, own_figures


def _requests(
    *, accounts: int, each: int, topics: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Requests on the given number of topics for each account, of 24 in all."""
    rng = np.random.default_rng(seed)
    centres_KD = np.linalg.qr(rng.standard_normal((NUM_DIMENSIONS, 24)))[0].T
    account_M = np.repeat(np.arange(accounts, dtype=np.int32), each)
    own_AK = np.array([rng.choice(24, topics, replace=False) for _ in range(accounts)])
    region_M = own_AK[account_M, rng.integers(0, topics, len(account_M))].astype(np.int16)
    direction_MD = centres_KD[region_M] + rng.normal(0, 0.05, (len(account_M), NUM_DIMENSIONS))
    direction_MD /= np.linalg.norm(direction_MD, axis=1, keepdims=True)
    return account_M, direction_MD.astype(np.float32), region_M


def test_slices_of_a_sweep_have_no_topics_of_their_own() -> None:
    sweep = own_figures(*_requests(accounts=50, each=20, topics=24))
    users = own_figures(*_requests(accounts=50, each=20, topics=2))
    assert sweep.topics < math.log(0.02)
    assert users.topics > math.log(0.3)
    assert sweep.likeness < math.log(0.1) < math.log(0.4) < users.likeness
    assert math.exp(sweep.breadth) > 10 > 3 > math.exp(users.breadth)


def test_few_requests_of_a_sweep_say_little() -> None:
    small = own_figures(*_requests(accounts=5, each=2, topics=24))
    large = own_figures(*_requests(accounts=50, each=20, topics=24))
    assert small.topics > large.topics + 2
    assert small.breadth < large.breadth


def test_one_large_account_does_not_speak_for_all() -> None:
    account_M, direction_MD, region_M = _requests(accounts=41, each=30, topics=1)
    is_large_M = account_M >= 21  # twenty accounts become one, of twenty topics
    account_M = np.where(is_large_M, 21, account_M).astype(np.int32)
    owns = own_figures(account_M, direction_MD, region_M)
    # By pairs, the large account would weigh twenty times as much as all others together.
    assert math.exp(owns.topics) > 0.4


def test_an_account_alone_is_compared_with_nobody() -> None:
    account_M, direction_MD, region_M = _requests(accounts=1, each=40, topics=3)
    owns = own_figures(account_M, direction_MD, region_M)
    assert math.exp(owns.topics) == pytest.approx(math.exp(owns.likeness), rel=1e-9)


@pytest.mark.parametrize("num", [0, 1, 7])
def test_accounts_of_one_request_or_no_content_tell_nothing(num: int) -> None:
    account_M, direction_MD, region_M = _requests(accounts=max(num, 1), each=1, topics=1)
    some = slice(0, num)
    assert own_figures(account_M[some], direction_MD[some], region_M[some]) == NOTHING
    region_M = np.full_like(region_M, NO_REGION)
    assert own_figures(account_M * 0, np.zeros_like(direction_MD), region_M) == NOTHING


@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 12),
    st.integers(2, 9),
    st.integers(1, 24),
    st.integers(0, 2**31 - 1),
)
def test_figures_are_those_of_all_pairs_one_by_one(
    accounts: int, each: int, topics: int, seed: int
) -> None:
    account_M, direction_MD, region_M = _requests(
        accounts=accounts, each=each, topics=topics, seed=seed
    )
    rng = np.random.default_rng(seed)
    kept_M = rng.random(len(account_M)) < 0.8
    kept_M[:2] = True
    given_M = (account_M[kept_M], direction_MD[kept_M], region_M[kept_M])
    found, slow = own_figures(*given_M), _slow(*given_M)
    for name in ("topics", "likeness", "breadth"):
        assert getattr(found, name) == pytest.approx(getattr(slow, name), abs=1e-4)
    order_M = rng.permutation(len(given_M[0]))
    shuffled = own_figures(*(some[order_M] for some in given_M))
    assert shuffled.topics == pytest.approx(found.topics, abs=1e-6)


def _slow(account_M: np.ndarray, direction_MD: np.ndarray, region_M: np.ndarray) -> Owns:
    """By loops over pairs; the regions fit in `NUM_REGIONS`."""
    assert region_M.max() < NUM_REGIONS
    cosine_MM = direction_MD.astype(float) @ direction_MD.astype(float).T
    pairs = [(i, j) for i in range(len(account_M)) for j in range(len(account_M)) if i != j]
    across = [cosine_MM[i, j] for i, j in pairs if account_M[i] != account_M[j]]
    own = share = by_pairs = total = 0.0
    for account in set(account_M.tolist()):
        mine = [(i, j) for i, j in pairs if account_M[i] == account_M[j] == account]
        weight = int((account_M == account).sum()) - 1
        if mine:
            own += weight * float(np.mean([cosine_MM[i, j] for i, j in mine]))
            share += weight * float(np.mean([region_M[i] == region_M[j] for i, j in mine]))
            by_pairs += 2 * weight**2 / len(mine)
            total += weight
    own, share, by_pairs = own / total, share / total, by_pairs / total**2
    mean_across = float(np.mean(across)) if across else 0.0
    error = 2 * math.sqrt(max(float((cosine_MM**2).mean()) - mean_across**2, 0.0) * by_pairs)
    pooled = float(np.mean([region_M[i] == region_M[j] for i, j in pairs]))
    return Owns(
        math.log(max(own - mean_across + error, 0.004)),
        math.log(max(own + error, 0.01)),
        -math.log(share + 2 * math.sqrt(pooled * (1 - pooled) * by_pairs) + 0.01),
    )
