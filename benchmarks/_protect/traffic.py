"""Extraction in simulated traffic of real prompts: windows of accounts, clusters, and speed.

All is fitted on one half of prompts and phrases and measured on the other, which shares no data set
with it.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from benchmarks._parts.goals import Goal
from benchmarks._protect.options import Options
from benchmarks._protect.traffic_made import KEY, Made, made, simulator
from benchmarks._protect.traffic_peer import Peer, whole_contents

from stillhouse.statistics import fraction_interval
from stillhouse.traffic import (
    Featuriser,
    Placed,
    Reference,
    WatchResults,
    adjust,
    compare_accounts,
    open_access_log,
    read_table,
    watch_table,
)
from stillhouse.traffic._watch import compare_windows
from stillhouse.traffic._windows import window_figures

SHARES = (1.0, 0.5, 0.25, 0.1, 0.05)
LEVEL = 0.003
CLUSTER_LEVEL = 0.001
_RATE = 0.05
_COVERS = (1.0, 0.75, 0.5, 0.25)
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class TrafficSizes:
    """How much is simulated; the defaults are the sizes that the goals speak of.

    Attributes:
        data: Where the data sets are.
        window: Requests of a window.
        peer_window: The same for the peer's own size.
        reference: Reference accounts of windows, and as many benign ones of the other half.
        attackers: Of each share.
        cluster_reference: Reference accounts of clusters.
        populations: Populations of 2,000 benign accounts and one campaign, at half cover.
    """

    data: Path
    window: int = 500
    peer_window: int = 1_500
    reference: int = 2_000
    attackers: int = 100
    cluster_reference: int = 4_000
    populations: int = 5


GOALS = (
    Goal(
        "Benign accounts found by one window (traffic)",
        ("traffic", "windows", "ours", "false_positive_rate"),
        0.3,
        "%",
        scale=100,
    ),
    Goal(
        "Accounts of extraction alone that are found",
        ("traffic", "windows", "ours", "found_of_pure"),
        100,
        "%",
        is_least=True,
        scale=100,
    ),
    Goal(
        "Accounts that hide 5 to 50 % of extraction that are found",
        ("traffic", "windows", "ours", "found_of_mixtures"),
        90.5,
        "%",
        is_least=True,
        scale=100,
    ),
    Goal(
        "Accounts of campaigns of 50 x 20 requests that are found",
        ("traffic", "clusters", "at_half_cover", "watch", "recall"),
        90,
        "%",
        is_least=True,
        scale=100,
    ),
    Goal(
        "Benign accounts found among 1,000 beside a campaign",
        ("traffic", "clusters", "at_half_cover", "watch", "false_per_1000"),
        1,
    ),
    Goal(
        "Requests watched a second",
        ("traffic", "speed", "requests_per_s"),
        5_000,
        is_least=True,
    ),
)


def run(options: Options) -> dict[str, Any]:
    """At full size; about an hour on two cores."""
    return traffic_part(TrafficSizes(data=options.data))


def traffic_part(sizes: TrafficSizes) -> dict[str, Any]:
    """All of it."""
    return {
        "windows": windows_part(sizes),
        "peer_at_its_window": peer_part(sizes),
        "clusters": clusters_part(sizes),
        "speed": speed_part(sizes),
    }


def windows_part(sizes: TrafficSizes) -> dict[str, Any]:
    """One window of each account: false positives by kind, and what is found by share."""
    length = sizes.window
    usual = _benign(sizes, "fit", seed=1, num=sizes.reference, length=length)
    reference = Reference.fit(usual.table, KEY.key_id)
    peer = Peer.fit(usual.whole_NC, num_reference=1_000)
    usual_values = _peer_values(peer, usual)
    test = _with_attackers(sizes, seed=2, num=sizes.reference, length=length)
    placed = Placed.on(reference.content_map, test.made.table)
    # The account has one window of this length; shorter looks would only spend the level.
    ranks = reference.windows[length]
    p_A = np.array(
        [ranks.compare(window_figures(placed, some)).p_value for some in test.by_account]
    )
    all_looks_A = np.array(
        [compare_windows(placed, some, reference)[0] for some in test.by_account]
    )
    values = _peer_values(peer, test.sized)
    null = peer.null(length, draws=1_000)
    ranked = (1 + len(usual_values) - np.searchsorted(np.sort(usual_values), values)) / (
        1 + len(usual_values)
    )
    return {
        "window": length,
        "reference_accounts": sizes.reference,
        "level": LEVEL,
        "ours": _found(p_A <= LEVEL, test),
        "ours_all_looks": _found(all_looks_A <= LEVEL, test),
        "peer_null_of_pooled_prompts": _found(values > np.quantile(null, 1 - LEVEL), test),
        "peer_ranked_among_accounts": _found(ranked <= LEVEL, test),
    }


def peer_part(sizes: TrafficSizes) -> dict[str, Any]:
    """The peer at its own window, on a tenth as many accounts; ours beside it at the same."""
    length, num = sizes.peer_window, max(sizes.reference // 10, 20)
    usual = _benign(sizes, "fit", seed=3, num=num, length=length)
    peer = Peer.fit(usual.whole_NC, num_reference=length)
    test = _with_attackers(
        sizes, seed=4, num=num, length=length, attackers=max(sizes.attackers // 10, 5)
    )
    null = peer.null(length, draws=1_000)
    values = _peer_values(peer, test.sized)
    found = {
        f"{level:g}": _found(values > np.quantile(null, 1 - level), test) for level in (0.05, LEVEL)
    }
    return {"window": length, "accounts": num, "level": found}


def clusters_part(sizes: TrafficSizes) -> dict[str, Any]:
    """Fifty accounts of twenty requests among 2,000 benign ones, by how much is cover."""
    simulated = simulator(sizes.data, "fit", seed=5)
    usual = made(simulated, simulated.benign(sizes.cluster_reference))
    reference = Reference.fit(usual.table, KEY.key_id)
    arms = []
    for share in _COVERS:
        num = sizes.populations if share == 0.5 else max(sizes.populations // 2, 1)
        counts: dict[str, list[tuple[int, int, int, int]]] = {}
        steps: list[dict[str, StepCost]] = []
        for number in range(num):
            seed = 600 + int(share * 100) + number
            simulated = simulator(sizes.data, "test", seed=seed)
            accounts = simulated.benign(2_000)
            accounts += simulated.hydra(50, num_requests=20, share=share)
            traffic = made(simulated, accounts)
            placed = Placed.on(reference.content_map, traffic.table)
            evidence = compare_accounts(placed, reference)
            is_bad_A = traffic.kind_A == "hydra"
            for name, found_A in (
                ("watch", adjust(evidence).both_A <= _RATE),
                ("clusters", adjust(evidence).cluster_A <= _RATE),
                ("accounts", evidence.window_p_A <= CLUSTER_LEVEL),
            ):
                counts.setdefault(name, []).append(_counts(found_A, is_bad_A))
            steps.append(step_costs(watch_table(traffic.table, reference), traffic))
        arms.append(
            {"share": share, "populations": num}
            | {n: _summed(c) for n, c in counts.items()}
            | {"responses": _mean_costs(steps)}
        )
    half = next(arm for arm in arms if arm["share"] == 0.5)
    return {
        "reference_accounts": sizes.cluster_reference,
        "level": CLUSTER_LEVEL,
        "rate": _RATE,
        "arms": arms,
        "at_half_cover": half,
    }


class StepCost(NamedTuple):
    """What one response costs honest users.

    Attributes:
        accounts: That get it, or a sharper one.
        benign: Of them.
        expected_benign: The most that the rate lets be benign, as `watch` tells it.
    """

    accounts: float
    benign: float
    expected_benign: float


def step_costs(results: WatchResults, traffic: Made) -> dict[str, StepCost]:
    """The cost of each response, held against the labels."""
    kinds = dict(zip(traffic.table.accounts, traffic.kind_A, strict=True))
    found = {}
    for step in results.steps:
        names = [one.account for one in results.accounts if one.adjusted <= step.rate]
        benign = sum(kinds[name] != "hydra" for name in names)
        found[step.step] = StepCost(len(names), benign, step.expected_benign)
    return found


def _mean_costs(populations: list[dict[str, StepCost]]) -> dict[str, Any]:
    return {
        step: {
            name: round(float(np.mean([getattr(one[step], name) for one in populations])), 2)
            for name in StepCost._fields
        }
        for step in populations[0]
    }


def speed_part(sizes: TrafficSizes) -> dict[str, Any]:
    """From a file of JSON lines to results, in one process."""
    simulated = simulator(sizes.data, "test", seed=7)
    sent = simulated.sent(simulated.benign(min(2_000, sizes.cluster_reference)))
    simulated = simulator(sizes.data, "fit", seed=8)
    usual = made(simulated, simulated.benign(min(1_000, sizes.cluster_reference)))
    reference = Reference.fit(usual.table, KEY.key_id)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "access.jsonl"
        with path.open("w", encoding="utf-8") as stream:
            for one in sent:
                stream.write(json.dumps(one.row.model_dump(mode="json", exclude_none=True)) + "\n")
        began_s, began_cpu_s = perf_counter(), process_time()
        table = read_table(open_access_log(path), Featuriser(KEY))
        read_cpu_s = process_time() - began_cpu_s
        watch_table(table, reference)
        wall_s, cpu_s = perf_counter() - began_s, process_time() - began_cpu_s
    return {
        "requests": len(sent),
        "requests_per_s": round(len(sent) / wall_s),
        "requests_per_cpu_s": round(len(sent) / cpu_s),
        "reading_requests_per_cpu_s": round(len(sent) / read_cpu_s),
    }


@dataclass(frozen=True)
class _Sized:
    """Traffic of accounts of one size, with whole prompts for the peer."""

    table: Any
    whole_NC: npt.NDArray[np.uint16]


@dataclass(frozen=True)
class _Test:
    made: Made
    sized: _Sized
    by_account: list[npt.NDArray[np.int64]]
    share_A: npt.NDArray[np.float64]


def _benign(sizes: TrafficSizes, half: Any, *, seed: int, num: int, length: int) -> _Sized:
    simulated = simulator(sizes.data, half, seed=seed)
    sent = simulated.sent(simulated.benign(num, num_requests=length))
    table = read_table((one.row for one in sent), Featuriser(KEY))
    return _Sized(table, whole_contents([one.row.prompt or "" for one in sent]))


def _with_attackers(
    sizes: TrafficSizes, *, seed: int, num: int, length: int, attackers: int | None = None
) -> _Test:
    simulated = simulator(sizes.data, "test", seed=seed)
    accounts = simulated.benign(num, num_requests=length)
    for share in SHARES:
        accounts += simulated.mixed(attackers or sizes.attackers, num_requests=length, share=share)
    sent = simulated.sent(accounts)
    shares = {KEY.account(account.name): account.share for account in accounts}
    kinds = {KEY.account(account.name): account.kind for account in accounts}
    table = read_table((one.row for one in sent), Featuriser(KEY))
    traffic = Made(
        table,
        np.array([kinds[name] for name in table.accounts]),
        np.array([one.is_extraction for one in sent]),
    )
    whole_NC = whole_contents([one.row.prompt or "" for one in sent])
    share_A = np.array([shares[name] for name in table.accounts])
    return _Test(traffic, _Sized(table, whole_NC), table.by_account(), share_A)


def _peer_values(peer: Peer, sized: _Sized) -> npt.NDArray[np.float64]:
    direction_ND = peer.content_map.directions(sized.whole_NC)
    return np.array([peer.mmd(direction_ND[some]) for some in sized.table.by_account()])


def _found(found_A: Bools, test: _Test) -> dict[str, Any]:
    benign_A = test.share_A == 0
    by_kind = {
        str(kind): round(float(found_A[test.made.kind_A == kind].mean()), 4)
        for kind in np.unique(test.made.kind_A[benign_A])
    }
    by_share = {f"{s:g}": round(float(found_A[test.share_A == s].mean()), 4) for s in SHARES}
    mixtures = [by_share[f"{share:g}"] for share in SHARES if share < 1]
    interval = fraction_interval(int(found_A[benign_A].sum()), int(benign_A.sum()))
    return {
        "false_positive_rate": round(interval.value, 5),
        "false_positive_interval": [round(interval.low, 5), round(interval.high, 5)],
        "false_positive_rate_by_kind": by_kind,
        "found_by_share": by_share,
        "found_of_pure": by_share["1"],
        "found_of_mixtures": round(float(np.mean(mixtures)), 4),
    }


def _counts(found_A: Bools, is_bad_A: Bools) -> tuple[int, int, int, int]:
    return (
        int((found_A & is_bad_A).sum()),
        int(is_bad_A.sum()),
        int((found_A & ~is_bad_A).sum()),
        int((~is_bad_A).sum()),
    )


def _summed(counts: list[tuple[int, int, int, int]]) -> dict[str, Any]:
    found, bad, false, benign = (sum(column) for column in zip(*counts, strict=True))
    interval = fraction_interval(false, benign)
    return {
        "recall": round(found / bad, 4),
        "recall_by_population": [round(c[0] / c[1], 3) for c in counts],
        "false_per_1000": round(1000 * false / benign, 3),
        "false_per_1000_interval": [round(1000 * interval.low, 3), round(1000 * interval.high, 3)],
    }


if __name__ == "__main__":
    import sys

    print(json.dumps(traffic_part(TrafficSizes(data=Path(sys.argv[1]))), indent=2))
