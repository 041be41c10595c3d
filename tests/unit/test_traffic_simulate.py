"""The simulator: the same for the same seed, labelled, and in two halves."""

from collections import Counter

import numpy as np
import pytest
from traffic_cases import areas, simulator

from stillhouse.errors import DataError
from stillhouse.traffic import cues_in
from stillhouse.traffic.simulate import HALVES, MANNERS, Area, Half, Pool, labels


def test_the_same_seed_sends_the_same() -> None:
    one, other = (simulator("fit", seed=4) for _ in range(2))
    assert one.sent(one.benign(20)) == other.sent(other.benign(20))


def test_the_halves_share_no_phrase_but_the_empty_frame() -> None:
    names = ("roles", "duties", "forms", "wrappers", "lessons", "openings", "asks", "endings")
    for name in (*names, "quiet_asks"):
        assert not set(getattr(HALVES["fit"], name)) & set(getattr(HALVES["test"], name))
    assert set(HALVES["fit"].habits) & set(HALVES["test"].habits) == {"{}"}


def test_labels_say_what_is_extraction() -> None:
    simulated = simulator("fit", seed=5)
    accounts = simulated.benign(30, num_requests=40)
    accounts += simulated.mixed(10, num_requests=200, share=0.25)
    accounts += simulated.mixed(3, num_requests=50, share=1.0)
    accounts += simulated.hydra(10, num_requests=20, share=0.5)
    kinds = labels(accounts)
    assert Counter(kinds.values())["mixed"] == 10
    assert Counter(kinds.values())["single"] == 3
    shares = {kind: [] for kind in set(kinds.values())}  # type: ignore[var-annotated]
    sent = simulated.sent(accounts)
    for one in sent:
        shares[kinds[one.row.account]].append(one.is_extraction)
    assert np.mean(shares["mixed"]) == pytest.approx(0.25, abs=0.05)
    assert np.mean(shares["hydra"]) == pytest.approx(0.5, abs=0.15)
    assert all(shares["single"])
    benign = set(shares) - {"mixed", "hydra", "single"}
    assert not any(any(shares[kind]) for kind in benign)
    times = [one.row.at for one in sent]
    assert times == sorted(times)
    assert len({one.row.id for one in sent}) == len(sent)


def test_a_campaign_sweeps_all_sources_and_keeps_to_its_days() -> None:
    simulated = simulator("test", seed=6)
    accounts = simulated.hydra(40, num_requests=20, share=1.0, days=2.0)
    sent = simulated.sent(accounts)
    where = {text: name for name, area in areas("test").items() for text in area.texts}
    lines = (line for one in sent for line in (one.row.prompt or "").split("\n\n"))
    sources = Counter(where[line].split("/")[0] for line in lines if line in where)
    assert len(sources) == 8
    assert max(sources.values()) < 3 * min(sources.values())
    assert (sent[-1].row.at - sent[0].row.at).total_seconds() <= 2.0 * 86_400


@pytest.mark.parametrize("half", HALVES)
def test_only_a_campaign_that_asks_openly_has_cues(half: Half) -> None:
    shares = {}
    for manner in MANNERS:
        simulated = simulator(half, seed=9)
        accounts = simulated.hydra(10, num_requests=30, share=1.0, manner=manner)
        cues = [cues_in(one.row.prompt or "") for one in simulated.sent(accounts)]
        shares[manner] = np.mean(np.array(cues) > 0)
    assert shares["open"] > 0.5
    assert shares["quiet"] == shares["application"] == 0.0


def test_extraction_turns_to_a_new_model_at_once() -> None:
    simulated = simulator("fit", seed=7)
    accounts = simulated.benign(60, num_requests=40)
    bad = simulated.mixed(10, num_requests=200, share=1.0)
    sent = simulated.sent([*accounts, *bad])
    names = {one.name for one in bad}
    after = [one for one in sent if one.row.at.day == 10]
    share = {
        is_bad: np.mean(
            [o.row.model == "still-2" for o in after if (o.row.account in names) == is_bad]
        )
        for is_bad in (True, False)
    }
    assert share[True] == 1.0
    assert share[False] < 0.5


def test_prompts_are_used_once_before_any_comes_again() -> None:
    pool = Pool({"a": Area("a", tuple(map(str, range(50))))}, np.random.default_rng(0))
    drawn = [pool.draw("a") for _ in range(100)]
    assert sorted(drawn[:50]) == sorted(drawn[50:]) == sorted(map(str, range(50)))


@pytest.mark.parametrize("given", [{}, {"a": Area("a", ())}])
def test_a_pool_without_prompts_is_refused(given: dict[str, Area]) -> None:
    with pytest.raises(DataError, match="without prompts"):
        Pool(given, np.random.default_rng(0))
