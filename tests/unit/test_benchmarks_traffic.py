"""The parts of the benchmark of traffic that split data and make the peer."""

import numpy as np
import pytest
from benchmarks._protect.prompts import _HALVES
from benchmarks._protect.traffic import _summed
from benchmarks._protect.traffic_peer import Peer, whole_contents
from traffic_cases import areas


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


def test_counts_of_populations_are_added() -> None:
    summed = _summed([(45, 50, 1, 2_000), (50, 50, 3, 2_000)])
    assert summed["recall"] == 0.95
    assert summed["false_per_1000"] == 1.0
    low, high = summed["false_per_1000_interval"]
    assert 0 < low < 1.0 < high < 3.0
