"""Campaigns over many accounts: how many of them are found, and what is flagged without any.

Benign logs are made once. Each campaign is added to one of them in turn, and frames, clusters and
rates are computed anew; all campaigns of an arm are made anew too. The logs alone are the arm in
which there is nothing to find.

All is fitted on one half of prompts and phrases and measured on the other, which shares no data set
with it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from benchmarks._protect.options import Options
from benchmarks._protect.traffic_logs import Log
from benchmarks._protect.traffic_made import KEY, Made, simulator
from benchmarks._protect.traffic_responses import StepCost, mean_costs, step_costs

from stillhouse.statistics import fraction_interval
from stillhouse.traffic import (
    AccountEvidence,
    Placed,
    Reference,
    adjust,
    compare_accounts,
    watch_table,
)
from stillhouse.traffic.simulate import Manner

RATE = 0.05
LEVEL = 0.001
IS_FOUND = 0.9  # of a campaign's accounts
SHARES = (1.0, 0.75, 0.5, 0.25)
ACCOUNTS, REQUESTS = 50, 20
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class ClusterSizes:
    """How much is simulated.

    Attributes:
        reference: Reference accounts.
        logs: Benign logs.
        accounts: Benign accounts of each.
        campaigns: That are added to each log in turn, for each share of extraction.
        others: The same, of those that ask quietly or as applications do, all of it extraction.
    """

    reference: int = 4_000
    logs: int = 10
    accounts: int = 2_000
    campaigns: int = 2
    others: int = 1


@dataclass(frozen=True)
class Counts:
    """What was found in one log.

    Attributes:
        found: Accounts of the campaign that were found by accounts or clusters.
        by_cluster: By clusters.
        alone: By accounts, each by itself, at `LEVEL`.
        bad: Accounts of the campaign.
        false: Benign accounts that were found.
        false_alone: The same, each by itself, at `LEVEL`.
        benign: Benign accounts.
        false_clusters: Found clusters most of whose requests are benign.
        clusters: All.
    """

    found: int
    by_cluster: int
    alone: int
    bad: int
    false: int
    false_alone: int
    benign: int
    false_clusters: int
    clusters: int


def clusters_part(options: Options) -> dict[str, Any]:
    """Fifty accounts of twenty requests among 2,000 benign ones."""
    return measured(options, ClusterSizes())


def measured(options: Options, sizes: ClusterSizes) -> dict[str, Any]:
    """At any size."""
    simulated = simulator(options.data, "fit", seed=5)
    usual = Log.of(simulated, simulated.benign(sizes.reference)).made()
    reference = Reference.fit(usual.table, KEY.key_id)
    arms: dict[tuple[Manner, float], list[Counts]] = {}
    costs: dict[tuple[Manner, float], list[dict[str, StepCost]]] = {}
    alone: list[Counts] = []
    for number in range(sizes.logs):
        simulated = simulator(options.data, "test", seed=600 + number)
        log = Log.of(simulated, simulated.benign(sizes.accounts))
        benign = log.made()
        alone.append(counts(benign, compared(benign, reference)))
        for manner, share, num in _plan(sizes):
            for _ in range(num):
                accounts = simulated.hydra(
                    ACCOUNTS, num_requests=REQUESTS, share=share, manner=manner
                )
                with_campaign = log.with_(Log.of(simulated, accounts)).made()
                evidence = compared(with_campaign, reference)
                found = counts(with_campaign, evidence)
                arms.setdefault((manner, share), []).append(found)
                results = watch_table(with_campaign.table, reference, evidence=evidence)
                answered = step_costs(results, with_campaign)
                costs.setdefault((manner, share), []).append(answered)
        told = {f"{m} {s:g}": [one.found for one in some] for (m, s), some in arms.items()}
        print(f"log {number + 1} of {sizes.logs}: found {told}", flush=True)
    shown = [
        {"manner": manner, "share": share}
        | summary(some)
        | {"responses": mean_costs(costs[manner, share])}
        for (manner, share), some in arms.items()
    ]
    opens = [some for (manner, _), some in arms.items() if manner == "open"]
    return asdict(sizes) | {
        "reference_accounts": sizes.reference,
        "reference_clusters": 0 if reference.clusters is None else len(reference.clusters.score_R),
        "level": LEVEL,
        "rate": RATE,
        "arms": shown,
        "at_half_cover": summary(arms["open", 0.5]),
        "of_all_shares": summary([one for some in opens for one in some]),
        "without_campaign": without_campaign(alone),
    }


def compared(made: Made, reference: Reference) -> AccountEvidence:
    """All comparisons of a log."""
    return compare_accounts(Placed.on(reference.content_map, made.table), reference)


def counts(made: Made, evidence: AccountEvidence) -> Counts:
    """What is found in a log."""
    adjusted = adjust(evidence)
    found_A, is_bad_A = adjusted.both_A <= RATE, made.kind_A == "hydra"
    alone_A = evidence.window_p_A <= LEVEL
    false_clusters = {
        int(which)
        for which in np.unique(evidence.best_A[adjusted.cluster_A <= RATE])
        if which >= 0 and made.is_bad_N[evidence.clusters[which][0].linked_M].mean() < 0.5
    }
    return Counts(
        found=int((found_A & is_bad_A).sum()),
        by_cluster=int(((adjusted.cluster_A <= RATE) & is_bad_A).sum()),
        alone=int((alone_A & is_bad_A).sum()),
        bad=int(is_bad_A.sum()),
        false=int((found_A & ~is_bad_A).sum()),
        false_alone=int((alone_A & ~is_bad_A).sum()),
        benign=int((~is_bad_A).sum()),
        false_clusters=len(false_clusters),
        clusters=len(evidence.clusters),
    )


def summary(some: Sequence[Counts]) -> dict[str, Any]:
    """Of logs with a campaign each.

    The intervals are of campaigns, each of which is found or not: its accounts go together.
    """
    is_found = [one.found >= IS_FOUND * one.bad for one in some]
    interval = fraction_interval(sum(is_found), len(some))
    bad = sum(one.bad for one in some)
    return {
        "campaigns": len(some),
        "campaigns_found": sum(is_found),
        "campaigns_found_interval": [round(interval.low, 4), round(interval.high, 4)],
        "recall": round(sum(one.found for one in some) / bad, 4),
        "recall_by_cluster": round(sum(one.by_cluster for one in some) / bad, 4),
        "recall_of_accounts_alone": round(sum(one.alone for one in some) / bad, 4),
        "recall_by_campaign": [round(one.found / one.bad, 3) for one in some],
        **false_flags(some),
    }


def without_campaign(some: Sequence[Counts]) -> dict[str, Any]:
    """Of logs in which there is nothing to find."""
    with_any = sum(one.false > 0 for one in some)
    interval = fraction_interval(with_any, len(some))
    return {
        "logs": len(some),
        "logs_with_a_flag": with_any,
        "logs_with_a_flag_interval": [round(interval.low, 4), round(interval.high, 4)],
        **false_flags(some),
    }


def false_flags(some: Sequence[Counts]) -> dict[str, Any]:
    """How many benign accounts and clusters are flagged."""
    benign = sum(one.benign for one in some)
    return {
        "false_per_1000": round(1000 * sum(one.false for one in some) / benign, 3),
        "false_by_log": [one.false for one in some],
        "false_per_1000_of_accounts_alone": round(
            1000 * sum(one.false_alone for one in some) / benign, 3
        ),
        "false_clusters": sum(one.false_clusters for one in some),
        "clusters": sum(one.clusters for one in some),
    }


def _plan(sizes: ClusterSizes) -> list[tuple[Manner, float, int]]:
    plan: list[tuple[Manner, float, int]] = [("open", share, sizes.campaigns) for share in SHARES]
    return [*plan, ("quiet", 1.0, sizes.others), ("application", 1.0, sizes.others)]
