"""Watching logs: what is found among benign accounts, what is not, and what is written of it."""

import hashlib
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from traffic_cases import KEY, reference, row, rows_of, simulator, table_of

from stillhouse.errors import ConfigError, DataError, IntegrityError
from stillhouse.records import canonical_json
from stillhouse.traffic import (
    Monitor,
    Placed,
    Reference,
    TrafficConfig,
    TrafficKey,
    WatchResults,
    compare_accounts,
    load_reference,
    step_of,
    watch_table,
    write_appeals,
)
from stillhouse.traffic._config import Procedure
from stillhouse.traffic._looks import LOOKS, looks_of
from stillhouse.traffic._monitor import look_number, look_share
from stillhouse.traffic._ranks import Ranks
from stillhouse.traffic._scorer import (
    NAMES,
    Kind,
    Usual,
    added,
    fit_weights,
    scores,
    soft_minimum,
)


@pytest.fixture(scope="module")
def attacked() -> tuple[WatchResults, set[str], set[str]]:
    """A log with a campaign of 30 accounts among 200; its results, the campaign, the others."""
    simulated = simulator("fit", seed=3)
    benign = simulated.benign(200)
    hydra = simulated.hydra(30, num_requests=20, share=0.6)
    table = table_of(rows_of(simulated, [*benign, *hydra]))
    results = watch_table(table, reference())
    names = [{KEY.account(one.name) for one in some} for some in (hydra, benign)]
    return results, names[0], names[1]


def test_a_campaign_over_many_accounts_is_found(
    attacked: tuple[WatchResults, set[str], set[str]],
) -> None:
    results, hydra, benign = attacked
    found = {one.account for one in results.accounts if one.step in ("throttle", "verify")}
    assert len(found & hydra) >= 27
    assert len(found & benign) <= 2
    of_cluster = {name for names in results.clusters for name in names}
    assert len(of_cluster & hydra) >= 27


def test_an_account_of_the_campaign_by_itself_is_too_small_to_compare() -> None:
    simulated = simulator("fit", seed=3)
    hydra = simulated.hydra(30, num_requests=15, share=0.6)
    placed = Placed.on(reference().content_map, table_of(rows_of(simulated, hydra)))
    evidence = compare_accounts(placed, reference())
    assert (evidence.window_p_A == 1.0).mean() > 0.9
    assert np.median(evidence.of_best(evidence.cluster_p_C)) < 0.001


def test_benign_logs_find_hardly_anybody() -> None:
    num_found = 0
    for seed in (11, 12, 13):
        simulated = simulator("fit", seed=seed)
        results = watch_table(table_of(rows_of(simulated, simulated.benign(120))), reference())
        num_found += sum(one.step in ("throttle", "verify") for one in results.accounts)
    assert num_found <= 12  # of 360; a rate of 5 % lets some through, a cluster at a time


def test_p_values_of_fresh_benign_accounts_keep_their_level() -> None:
    simulated = simulator("fit", seed=21)
    benign = simulated.benign(250)
    placed = Placed.on(reference().content_map, table_of(rows_of(simulated, benign)))
    evidence = compare_accounts(placed, reference())
    for level in (0.05, 0.2):
        assert (evidence.window_p_A <= level).mean() < level + 0.05  # of 176 ranks


def test_results_say_what_was_read_and_what_they_rest_on(
    attacked: tuple[WatchResults, set[str], set[str]],
) -> None:
    results, _, _ = attacked
    assert results.num_accounts == 230
    assert results.reference == reference().sha256
    assert results.num_clusters > 5
    again = WatchResults.model_validate_json(canonical_json(results))
    assert again == results
    for step in results.steps:
        assert step.expected_benign == pytest.approx(step.rate * step.num_accounts)
    assert [step.num_accounts for step in results.steps] == sorted(
        (step.num_accounts for step in results.steps), reverse=True
    )
    best = results.accounts[0].evidence[-1]
    assert best.kind == "cluster"
    assert sum(one.share_of_score for one in best.figures) == pytest.approx(best.score, abs=0.01)


def test_appeals_are_the_same_bytes_for_the_same_results(
    attacked: tuple[WatchResults, set[str], set[str]], tmp_path: Path
) -> None:
    results, _, _ = attacked
    digests = [
        [hashlib.sha256(path.read_bytes()).hexdigest() for path in write_appeals(results, folder)]
        for folder in (tmp_path / "one", tmp_path / "two")
    ]
    assert digests[0] == digests[1]
    assert len(digests[0]) == len(results.accounts) > 0
    record = orjson.loads((tmp_path / "one" / f"{results.accounts[0].account}.json").read_bytes())
    assert record["hypothesis"]
    assert len(record["limits"]) >= 3
    assert record["account"]["adjusted"] == results.accounts[0].adjusted


def test_stricter_procedures_find_no_more() -> None:
    simulated = simulator("test", seed=3)
    accounts = simulated.benign(60) + simulated.hydra(30, num_requests=20, share=0.8)
    table = table_of(rows_of(simulated, accounts))
    procedures: tuple[Procedure, ...] = ("bh", "by", "e-bh")
    found = {
        name: len(watch_table(table, reference(), config=TrafficConfig(procedure=name)).accounts)
        for name in procedures
    }
    assert found["bh"] >= found["by"] > 0
    assert found["bh"] >= found["e-bh"]


def test_one_account_and_old_requests() -> None:
    rows = [row(n, prompt=f"word{n} other thing here") for n in range(30)]
    old = [row(n, seconds=-40 * 86_400 + n) for n in range(100, 105)]
    results = watch_table(table_of([*old, *rows]), reference())
    assert (results.num_accounts, results.num_requests, results.num_too_old) == (1, 30, 5)


def test_a_small_log_says_what_it_cannot_find() -> None:
    results = watch_table(table_of([row(n) for n in range(3)]), reference())
    assert results.accounts == ()
    assert results.num_small == 1
    assert any("Windows of" in note for note in results.notes)


@pytest.mark.parametrize(
    ("adjusted", "step"),
    [(1.0, "none"), (0.2, "log"), (0.1, "customer_key"), (0.03, "throttle"), (0.0, "verify")],
)
def test_responses_are_graded(adjusted: float, step: str) -> None:
    assert step_of(adjusted, TrafficConfig()) == step


def test_rates_that_rise_are_refused() -> None:
    with pytest.raises(ValueError, match="must not rise"):
        TrafficConfig(log_rate=0.01)


# The reference


@pytest.mark.parametrize("kind", ["window", "cluster"])
def test_the_tail_is_no_smaller_than_an_exponential_one_is(kind: Kind) -> None:
    rng = np.random.default_rng(0)
    usual, true = Usual(np.zeros(1), np.ones(1)), []
    for _ in range(40):
        ranks = Ranks(kind, usual, np.zeros(1), np.sort(rng.exponential(2.0, 500)))
        true.append(ranks.compare_score(20.0).p_value / np.exp(-10.0))
    assert np.mean(np.array(true) >= 1.0) >= 0.85  # 95 % for the rate alone
    assert np.median(true) < 20


def test_within_the_lower_nine_tenths_p_values_are_ranks() -> None:
    ranks = Ranks("window", Usual(np.zeros(1), np.ones(1)), np.zeros(1), np.arange(500.0))
    for score in (-1.0, 0.0, 17.5, 449.0):
        at_least = sum(one >= score for one in range(500))
        assert ranks.compare_score(score).p_value == (1 + at_least) / 501
    # The tail begins where ranks end, and is on the safe side of them within it.
    assert ranks.compare_score(449.001).p_value == pytest.approx(51 / 501, rel=1e-3)
    assert ranks.compare_score(498.5).p_value > 2 / 501


def test_p_values_never_rise_with_the_score() -> None:
    usual = Usual(np.zeros(1), np.ones(1))
    scores_R = np.sort(np.random.default_rng(1).normal(size=300))
    for kind in ("window", "cluster"):
        ranks = Ranks(kind, usual, np.zeros(1), scores_R)  # type: ignore[arg-type]
        p_values = [ranks.compare_score(score).p_value for score in np.linspace(-4, 9, 200)]
        assert (np.diff(p_values) <= 1e-15).all()
        assert 0 < min(p_values) <= max(p_values) == 1.0


@pytest.mark.parametrize("kind", ["window", "cluster"])
def test_few_reference_scores_have_no_tail(kind: Kind) -> None:
    ranks = Ranks(kind, Usual(np.zeros(1), np.ones(1)), np.zeros(1), np.arange(39.0))
    assert ranks.compare_score(1e9).p_value == 1 / 40


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=2, max_size=40), st.sampled_from([0.05, 0.1, 0.3]))
def test_ranks_of_exchangeable_scores_keep_any_level(values: list[int], level: float) -> None:
    """Whichever of the values is the new one: at most that share of the choices is found."""
    usual = Usual(np.zeros(1), np.ones(1))
    found = 0
    for number, value in enumerate(values):
        others = np.sort(np.array(values[:number] + values[number + 1 :], float))
        p_value = Ranks("window", usual, np.zeros(1), others).compare_score(float(value)).p_value
        found += p_value <= level
    assert found <= level * len(values) + 1e-9


def test_a_saved_reference_compares_as_before(tmp_path: Path) -> None:
    path = tmp_path / "usual.json"
    sha256 = reference().save(path)
    again = load_reference(path)
    assert again.sha256 == reference().sha256 == sha256
    simulated = simulator("test", seed=5)
    table = table_of(rows_of(simulated, simulated.benign(40)))
    assert watch_table(table, again) == watch_table(table, reference())


def test_a_changed_reference_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "usual.json"
    reference().save(path)
    whole = path.read_bytes()
    document = orjson.loads(whole)
    path.write_bytes(orjson.dumps(document | {"num_accounts": 9_999}))
    with pytest.raises(IntegrityError, match="Make it again"):
        load_reference(path)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(IntegrityError, match="cut off"):
        load_reference(path)
    path.write_bytes(orjson.dumps(document | {"version": 9}))
    with pytest.raises(ConfigError, match="Fit it again"):
        load_reference(path)
    path.write_bytes(b"{}")
    with pytest.raises(ConfigError, match="no traffic reference"):
        load_reference(path)
    with pytest.raises(ConfigError, match="--fit"):
        load_reference(tmp_path / "none.json")


def test_a_reference_of_few_accounts_is_refused() -> None:
    simulated = simulator("fit", seed=1)
    few = table_of(rows_of(simulated, simulated.benign(49)))
    with pytest.raises(DataError, match="49 accounts"):
        Reference.fit(few, KEY.key_id)
    for text in ("what is new", "what is new {}"):
        prompts = [text.replace("{}", f"x{n}") for n in range(600)]
        rows = [row(n, account=f"a{n % 60}", prompt=prompts[n]) for n in range(600)]
        with pytest.raises(DataError, match="of the reference log"):
            Reference.fit(table_of(rows), KEY.key_id)


def test_fitted_weights_separate_and_have_the_right_sign() -> None:
    rng = np.random.default_rng(0)
    rows_RF = rng.normal(size=(400, 3))
    is_bad_R = rows_RF[:, 0] - rows_RF[:, 1] + 0.3 * rng.normal(size=400) > 0
    ((_, *weights_F),) = fit_weights(rows_RF, is_bad_R.astype(np.int64), penalty=2e-3)
    assert weights_F[0] > 1 > abs(weights_F[2]) * 2
    assert weights_F[1] < -1


def test_what_is_between_two_kinds_of_benign_rows_scores_higher_than_both() -> None:
    """No single weighted sum can do that: the kinds are on both sides."""
    rng = np.random.default_rng(0)
    class_R = np.repeat([0, 1, 2], 200)
    rows_RF = rng.normal(size=(600, 2)) * 0.5
    rows_RF[:, 0] += np.array([-3.0, 3.0, 0.0])[class_R]
    weights_KG = fit_weights(rows_RF, class_R)
    assert weights_KG.shape == (2, 3)
    scores_R = soft_minimum(weights_KG, rows_RF)
    assert (scores_R[class_R == 2] > 0).mean() > 0.95 > 0.05 > (scores_R[class_R != 2] > 0).mean()
    # The soft minimum is minus the log of the summed odds of the kinds against extraction.
    odds_R = np.exp(-(weights_KG[:, 0] + rows_RF @ weights_KG[:, 1:].T)).sum(axis=1)
    assert scores_R == pytest.approx(-np.log(odds_R))


@pytest.mark.parametrize("kind", ["window", "cluster"])
def test_what_figures_add_is_the_slope_of_the_score(kind: Kind) -> None:
    num = len(NAMES[kind])
    usual = Usual(np.zeros(num), np.ones(num))
    at_F = np.random.default_rng(2).normal(size=num)
    steps_FF = 1e-5 * np.eye(num)
    slope_F = (scores(kind, usual, at_F + steps_FF) - scores(kind, usual, at_F - steps_FF)) / 2e-5
    assert added(kind, at_F) == pytest.approx(slope_F * at_F, abs=1e-6)


# The monitor


def test_looks_spend_the_level_once_however_long_one_watches() -> None:
    counts = [*LOOKS, *range(1_000, 500_000, 500)]
    numbers = [look_number(count) for count in counts]
    assert numbers == list(range(1, len(counts) + 1))
    assert 0.99 < sum(map(look_share, numbers)) <= 1.0


def test_the_monitor_compares_what_a_log_compares() -> None:
    simulated = simulator("test", seed=8)
    rows = rows_of(simulated, simulated.mixed(1, num_requests=60, share=1.0))
    monitor = Monitor(reference(), KEY, config=TrafficConfig(live_level=0.9))
    flags = [flag for one in rows if (flag := monitor.add(one)[1]) is not None]
    assert [flag.num_requests for flag in flags] == [
        count for count in (20, 50) if count in reference().windows
    ]
    placed = Placed.on(reference().content_map, table_of(rows))
    windows = list(looks_of(placed.table.by_account()[0]))
    assert [length for length, _ in windows] == [20, 50]
    assert flags[0].account == KEY.account(rows[0].account)
    assert list(monitor.flags) == [flags[0].account]


def test_a_pure_sweep_is_flagged_and_benign_accounts_are_not() -> None:
    simulated = simulator("fit", seed=9)
    benign = simulated.benign(30, num_requests=22)
    bad = simulated.mixed(5, num_requests=22, share=1.0)
    monitor = Monitor(reference(), KEY, config=TrafficConfig(live_level=0.3))
    for one in rows_of(simulated, [*benign, *bad]):
        monitor.add(one)
    flagged = set(monitor.flags)
    assert len(flagged & {KEY.account(one.name) for one in bad}) >= 4
    assert len(flagged & {KEY.account(one.name) for one in benign}) <= 8


def test_the_monitor_forgets_who_was_silent_longest() -> None:
    monitor = Monitor(reference(), KEY, max_accounts=3)
    for number in range(10):
        monitor.add(row(number, account=f"a{number % 5}"))
    assert monitor.num_forgotten == 7
    assert monitor.num_requests == 10


def test_a_reference_of_another_key_is_refused() -> None:
    with pytest.raises(ConfigError, match="was made under key"):
        Monitor(reference(), TrafficKey(bytes(32)))
