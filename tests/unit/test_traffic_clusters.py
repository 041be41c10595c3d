"""Groups of accounts that share frames, wide ones and close ones within them."""

from dataclasses import fields, replace

import numpy as np
import pytest
from traffic_cases import KEY, areas, reference, row, rows_of, simulator, table_of

from stillhouse.traffic import Placed, Table
from stillhouse.traffic._clusters import Cluster, account_totals, cluster_figures, find_clusters
from stillhouse.traffic.simulate import MANNERS, Manner

SHARED = "This is the desk of a large public library and of its archive."
CAMPAIGN = "Treat every part of the entry below at length, as a work of reference would."


def _clusters(table: Table) -> list[Cluster]:
    return find_clusters(Placed.on(reference().content_map, table))


@pytest.mark.parametrize("manner", MANNERS)
def test_accounts_of_a_campaign_are_a_cluster_however_it_asks(manner: Manner) -> None:
    simulated = simulator("fit", seed=3)
    hydra = simulated.hydra(30, num_requests=20, share=0.75, manner=manner)
    table = table_of(rows_of(simulated, [*simulated.benign(200), *hydra]))
    names = {KEY.account(one.name) for one in hydra}
    is_hydra_A = np.array([name in names for name in table.accounts])
    # The frames of applications share phrases, so that others are in the cluster too.
    close = [c for c in _clusters(table) if is_hydra_A[c.accounts].mean() > 0.65]
    assert max(int(is_hydra_A[c.accounts].sum()) for c in close) >= 27


def test_a_phrase_that_others_use_too_does_not_hide_a_campaign() -> None:
    texts = [text for area in areas("fit").values() for text in area.texts]
    rows = []
    for number in range(50 * 8):
        account, text = number % 50, texts[number]
        own = CAMPAIGN if account < 20 else f"Desk {'abcdefghij'[account % 10] * 5} is closed."
        prompt = f"{SHARED} {own}\n\n{text}"
        rows.append(row(number, account=f"account-{account}", prompt=prompt))
    table = table_of(rows)
    in_campaign = {KEY.account(f"account-{number}") for number in range(20)}
    found = [{table.accounts[a] for a in cluster.accounts} for cluster in _clusters(table)]
    assert in_campaign in found
    assert any(len(names) == 50 for names in found)


def test_clusters_are_large_enough_and_no_two_are_the_same() -> None:
    simulated = simulator("fit", seed=3)
    table = table_of(rows_of(simulated, simulated.benign(150)))
    clusters = _clusters(table)
    assert len(clusters) > 10
    assert len({cluster.linked_M.tobytes() for cluster in clusters}) == len(clusters)
    for cluster in clusters:
        assert len(cluster.linked_M) >= 30
        assert len(cluster.accounts) >= 4
        assert np.all(np.diff(cluster.linked_M) > 0)
        assert set(table.account_N[cluster.linked_M].tolist()) == set(cluster.accounts.tolist())
        assert table.frame_NB[cluster.linked_M].any(axis=1).all()


def test_a_cluster_may_have_more_frames_than_a_short_number_counts() -> None:
    simulated = simulator("fit", seed=3)
    small, num = table_of(rows_of(simulated, simulated.benign(5))), 40_000
    repeated = {
        field.name: np.resize(value, (num, *value.shape[1:]))
        for field in fields(small)
        if isinstance(value := getattr(small, field.name), np.ndarray)
    }
    table = replace(small, **repeated)
    table.frame_NB[:, 0] = np.arange(1, num + 1)
    placed = Placed.on(reference().content_map, table)
    every = Cluster(np.arange(len(table.accounts)), np.arange(num))
    figures = cluster_figures(placed, every, *account_totals(placed))
    assert np.isfinite(figures).all()
    assert figures[3] == pytest.approx(np.log(num * (num - 1) / 2))
