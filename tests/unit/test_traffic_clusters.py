"""Groups of accounts that share frames, wide ones and close ones within them."""

import numpy as np
import pytest
from traffic_cases import KEY, reference, rows_of, simulator, table_of

from stillhouse.traffic import Placed, Table
from stillhouse.traffic._clusters import Cluster, find_clusters
from stillhouse.traffic.simulate import MANNERS, Manner


def _found(manner: Manner) -> tuple[Table, list[Cluster], np.ndarray]:
    """The clusters of a log with a campaign of 30 accounts, and which accounts those are."""
    simulated = simulator("fit", seed=3)
    hydra = simulated.hydra(30, num_requests=20, share=0.75, manner=manner)
    table = table_of(rows_of(simulated, [*simulated.benign(200), *hydra]))
    names = {KEY.account(one.name) for one in hydra}
    is_hydra_A = np.array([name in names for name in table.accounts])
    return table, find_clusters(Placed.on(reference().content_map, table)), is_hydra_A


@pytest.mark.parametrize("manner", MANNERS)
def test_accounts_of_a_campaign_are_a_cluster_however_it_asks(manner: Manner) -> None:
    _, clusters, is_hydra_A = _found(manner)
    # The frames of applications share phrases, so that a wide cluster has many others too.
    close = [c for c in clusters if is_hydra_A[c.accounts].mean() > 0.8]
    assert max(int(is_hydra_A[c.accounts].sum()) for c in close) >= 27


def test_clusters_are_large_enough_and_no_two_are_the_same() -> None:
    table, clusters, _ = _found("application")
    assert len(clusters) > 10
    assert len({c.linked_M.tobytes() for c in clusters}) == len(clusters)
    for cluster in clusters:
        assert len(cluster.linked_M) >= 30
        assert len(cluster.accounts) >= 4
        assert np.all(np.diff(cluster.linked_M) > 0)
        assert set(table.account_N[cluster.linked_M].tolist()) == set(cluster.accounts.tolist())
        assert table.frame_NB[cluster.linked_M].any(axis=1).all()
    widest = max(clusters, key=lambda c: len(c.linked_M))
    within = [c for c in clusters if np.isin(c.linked_M, widest.linked_M).all()]
    assert len(within) > 1
