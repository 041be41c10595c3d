"""The parts of the benchmark of traffic that split data, add campaigns and count, and the peer."""

from collections.abc import Sequence

import numpy as np
import pytest
from benchmarks._protect.prompts import _HALVES
from benchmarks._protect.traffic_clusters import Counts, summary, without_campaign
from benchmarks._protect.traffic_logs import Log, made_in_parts
from benchmarks._protect.traffic_made import Made
from benchmarks._protect.traffic_peer import Peer, whole_contents
from benchmarks._protect.traffic_windows import LEVEL, Labelled, found_at
from traffic_cases import KEY, areas, row, simulator, table_of

from stillhouse.traffic import Featuriser, Table, read_table
from stillhouse.traffic.simulate import Account, Sent, Simulator


def test_the_halves_share_no_data_set() -> None:
    assert len(_HALVES["fit"]) == len(_HALVES["test"]) == 9
    assert not set(_HALVES["fit"]) & set(_HALVES["test"])


def test_the_peer_finds_a_window_of_one_topic_and_no_window_of_the_pool() -> None:
    topics = [area.texts for area in areas("fit").values()]
    content_NC = whole_contents([text for texts in topics for text in texts])
    peer = Peer.fit(content_NC, num_reference=800)
    null = peer.null(100, draws=100)
    assert abs(float(np.mean(null))) < 0.01  # unbiased where nothing differs
    pool_ND = peer.content_map.directions(content_NC)
    assert peer.mmd(pool_ND[:100]) > 5 * null[-1]
    assert (null > np.quantile(null, 0.95)).mean() == pytest.approx(0.05, abs=0.01)


def test_a_log_with_a_campaign_is_that_of_the_merged_rows() -> None:
    simulated = simulator("test", seed=3)
    benign = simulated.benign(40, num_requests=30)
    campaign = simulated.hydra(8, num_requests=20, share=0.5)
    sent = _Twice(simulated)
    merged = Log.of(sent, benign).with_(Log.of(sent, campaign)).made()
    rows = sorted((one for some in sent.all for one in some), key=lambda one: one.row.at)
    table = read_table((one.row for one in rows), Featuriser(KEY))
    for name in set(Table.__dataclass_fields__) - {"accounts", "account_N"}:
        np.testing.assert_array_equal(getattr(merged.table, name), getattr(table, name), name)
    names = [[some.accounts[a] for a in some.account_N] for some in (merged.table, table)]
    assert names[0] == names[1]
    assert merged.is_bad_N.tolist() == [one.is_extraction for one in rows]
    assert (merged.kind_A == "hydra").tolist() == [False] * 40 + [True] * 8


def test_a_log_that_is_made_in_parts_is_that_of_all_its_rows() -> None:
    found = []
    for num_accounts in (7, 100):
        simulated = simulator("test", seed=3)
        accounts = simulated.benign(20, num_requests=30)
        found.append(made_in_parts(simulated, accounts, num_accounts=num_accounts))
    for name in set(Table.__dataclass_fields__) - {"accounts", "account_N"}:
        one, two = (getattr(some.table, name) for some in found)
        np.testing.assert_array_equal(one, two, name)
    names = [[some.table.accounts[a] for a in some.table.account_N] for some in found]
    assert names[0] == names[1]


class _Twice:
    """A simulator that remembers what was sent."""

    def __init__(self, simulated: Simulator) -> None:
        self._simulated = simulated
        self.all: list[list[Sent]] = []

    def sent(self, accounts: Sequence[Account]) -> list[Sent]:
        self.all.append(self._simulated.sent(accounts))
        return self.all[-1]


def _counts(found: int, false: int) -> Counts:
    return Counts(
        found=found,
        by_cluster=found,
        alone=2,
        bad=50,
        false=false,
        false_alone=1,
        benign=2_000,
        false_clusters=int(false > 0),
        clusters=200,
    )


def test_a_campaign_is_found_or_not_as_a_whole() -> None:
    found = summary([_counts(50, 0), _counts(45, 3), _counts(44, 1), _counts(0, 0)])
    assert found["campaigns_found"] == 2  # 44 of 50 are fewer than nine of ten
    assert found["recall"] == round(139 / 200, 4)
    assert found["recall_of_accounts_alone"] == 0.04
    assert found["false_per_1000"] == 0.5
    assert found["false_by_log"] == [0, 3, 1, 0]
    low, high = found["campaigns_found_interval"]
    # Two of four: what Clopper-Pearson gives, and not the narrow one of 200 accounts.
    assert (low, high) == (pytest.approx(0.0676, abs=1e-4), pytest.approx(0.9324, abs=1e-4))


def test_logs_without_a_campaign_are_counted_by_log() -> None:
    found = without_campaign([_counts(0, 0), _counts(0, 8)])
    assert (found["logs_with_a_flag"], found["false_clusters"]) == (1, 1)
    assert found["false_per_1000"] == 2.0


def test_who_is_found_is_told_by_kind_and_share() -> None:
    kind_A = np.array(["person"] * 8 + ["tester"] * 2 + ["mixed"] * 8 + ["single"] * 2)
    share_A = np.array([0.0] * 10 + [0.5, 0.5, 0.25, 0.25, 0.1, 0.1, 0.05, 0.05] + [1.0] * 2)
    p_A = np.full(20, 0.5)
    p_A[[8, 10, 11, 12, 18, 19]] = LEVEL
    test = Labelled(Made(table_of([row(1)]), kind_A, np.empty(0, bool)), share_A)
    found = found_at(p_A, test)
    assert found["false_positives"]["found"] == 0.1
    assert found["false_positives_by_kind"]["tester"]["found"] == 0.5
    assert found["false_positives_by_kind"]["person"]["interval"][1] > 0.3
    assert found["found_of_pure"] == 1.0
    assert found["found_of_mixtures"] == pytest.approx((1 + 0.5 + 0 + 0) / 4)
