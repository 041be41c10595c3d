"""Watching a log: each account, each group of accounts, and what to answer.

Letters: A accounts, F figures.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from stillhouse.statistics import (
    benjamini_hochberg,
    benjamini_yekutieli,
    e_benjamini_hochberg,
    e_value,
)
from stillhouse.traffic._clusters import Cluster
from stillhouse.traffic._config import Procedure, TrafficConfig
from stillhouse.traffic._looks import LOOKS, looks_of
from stillhouse.traffic._reading import AccessLog
from stillhouse.traffic._reference import Comparison, Ranks, Reference, best_clusters, clusters_of
from stillhouse.traffic._results import (
    STEPS,
    AccountResult,
    EvidenceResult,
    FigureResult,
    Step,
    StepResult,
    WatchResults,
)
from stillhouse.traffic._scorer import NAMES, weights
from stillhouse.traffic._table import Table
from stillhouse.traffic._windows import Floats, Indices, Placed, window_figures

_DAY_S = 86_400.0
_MANY_TIMES = 2.0  # more accounts than the reference has give more chances to be linked


def _by_e_values(p_A: Floats) -> Floats:
    return e_benjamini_hochberg(e_value(p_A))


_ADJUST: dict[Procedure, Callable[[Floats], Floats]] = {
    "bh": benjamini_hochberg,
    "by": benjamini_yekutieli,
    "e-bh": _by_e_values,
}


@dataclass(frozen=True)
class Look:
    """A window of an account, compared.

    Attributes:
        window_M: Its requests.
        figures_F: Its figures.
        ranks: What it was compared with.
        comparison: What that came to.
    """

    window_M: Indices
    figures_F: Floats
    ranks: Ranks
    comparison: Comparison


def compare_windows(
    placed: Placed, requests_M: Indices, reference: Reference
) -> tuple[float, Look | None]:
    """The p-value of an account over all its windows, and the window that is most telling.

    Windows overlap, so the smallest p-value is multiplied by their number (Bonferroni).

    Returns:
        1 and None for an account that has no window to compare.
    """
    looks = []
    for length, window_M in looks_of(requests_M):
        ranks = reference.windows.get(length)
        if ranks is not None:
            figures_F = window_figures(placed, window_M)
            looks.append(Look(window_M, figures_F, ranks, ranks.compare(figures_F)))
    if not looks:
        return 1.0, None
    best = min(looks, key=lambda look: look.comparison.p_value)
    return min(1.0, best.comparison.p_value * len(looks)), best


@dataclass(frozen=True)
class AccountEvidence:
    """All comparisons of a log's accounts.

    Attributes:
        window_p_A: Of each account by itself.
        cluster_p_A: Of each account's best cluster; 1 where it is in none.
        p_A: Of both, twice the smaller one.
        look_A: The most telling window of each, where there is one.
        cluster_A: The best cluster of each, by number; -1 for none.
        clusters: All, with their figures.
    """

    window_p_A: Floats
    cluster_p_A: Floats
    p_A: Floats
    look_A: Sequence[Look | None]
    cluster_A: Indices
    clusters: Sequence[tuple[Cluster, Floats]]


def compare_accounts(placed: Placed, reference: Reference) -> AccountEvidence:
    """Compare every account and every cluster with a reference."""
    table = placed.table
    num = len(table.accounts)
    compared = [compare_windows(placed, some, reference) for some in table.by_account()]
    window_p_A = np.array([p_value for p_value, _ in compared], np.float64)
    found = clusters_of(placed)
    best_A, which_A = best_clusters(found, reference.clusters.usual, num)
    cluster_p_A = np.array(
        [
            reference.clusters.compare_score(score).p_value if which >= 0 else 1.0
            for score, which in zip(best_A.tolist(), which_A.tolist(), strict=True)
        ],
        np.float64,
    )
    p_A = np.minimum(1.0, 2.0 * np.minimum(window_p_A, cluster_p_A))
    looks = [look for _, look in compared]
    return AccountEvidence(window_p_A, cluster_p_A, p_A, looks, which_A, found)


def watch_table(
    table: Table,
    reference: Reference,
    *,
    config: TrafficConfig | None = None,
    log: AccessLog | None = None,
) -> WatchResults:
    """Compare a log with a reference, and say what to answer to whom.

    Args:
        table: Its requests, at least one.
        reference: Made under the key that the log was hashed under.
        log: What was read, for the counts of what is no row.
    """
    config = config or TrafficConfig()
    num_all = len(table)
    table = table.since(float(table.time_N.max()) - config.retention_days * _DAY_S)
    placed = Placed.on(reference.content_map, table)
    evidence = compare_accounts(placed, reference)
    adjusted_A = _ADJUST[config.procedure](evidence.p_A)
    sizes_A = np.bincount(table.account_N, minlength=len(table.accounts))
    order = np.lexsort((-sizes_A, adjusted_A))
    answered = [int(a) for a in order if adjusted_A[a] <= config.log_rate]
    in_cluster = [a for a in answered if _is_cluster_evidence(evidence, a)]
    shown = {
        w: n for n, w in enumerate(dict.fromkeys(int(evidence.cluster_A[a]) for a in in_cluster))
    }
    accounts = tuple(
        AccountResult(
            account=table.accounts[a],
            num_requests=int(sizes_A[a]),
            p_value=float(evidence.p_A[a]),
            adjusted=float(adjusted_A[a]),
            step=step_of(float(adjusted_A[a]), config),
            cluster=shown[int(evidence.cluster_A[a])] if a in set(in_cluster) else None,
            evidence=_evidence_of(placed, evidence, a, reference),
        )
        for a in answered
    )
    return WatchResults(
        num_requests=len(table),
        num_malformed=log.num_malformed if log else 0,
        num_repeated=log.num_repeated if log else 0,
        num_backwards=table.num_backwards,
        num_too_old=num_all - len(table),
        num_accounts=len(table.accounts),
        num_small=int((sizes_A < LOOKS[0]).sum()),
        first=_moment(table.time_N.min()),
        last=_moment(table.time_N.max()),
        key=reference.key_id,
        reference=reference.sha256,
        num_reference_accounts=reference.num_accounts,
        least_p_value=2.0 / (1 + len(reference.clusters.score_R)),
        steps=_steps(adjusted_A, config),
        accounts=accounts,
        clusters=tuple(
            tuple(table.accounts[a] for a in evidence.clusters[which][0].accounts.tolist())
            for which in shown
        ),
        notes=_notes(table, reference, config),
        config=config,
    )


def step_of(adjusted: float, config: TrafficConfig) -> Step:
    """The sharpest response whose rate an account keeps."""
    step: Step = "none"
    for name, rate in _rates(config):
        if adjusted <= rate:
            step = name
    return step


def _rates(config: TrafficConfig) -> list[tuple[Step, float]]:
    return [(step, getattr(config, f"{step}_rate")) for step in STEPS[1:]]


def _steps(adjusted_A: Floats, config: TrafficConfig) -> tuple[StepResult, ...]:
    found = []
    for step, rate in _rates(config):
        num = int((adjusted_A <= rate).sum())
        found.append(StepResult(step=step, rate=rate, num_accounts=num, expected_benign=rate * num))
    return tuple(found)


def _is_cluster_evidence(evidence: AccountEvidence, account: int) -> bool:
    p_value = evidence.cluster_p_A[account]
    return evidence.cluster_A[account] >= 0 and bool(p_value <= evidence.window_p_A[account])


def _evidence_of(
    placed: Placed, evidence: AccountEvidence, account: int, reference: Reference
) -> tuple[EvidenceResult, ...]:
    found = []
    look = evidence.look_A[account]
    if look is not None:
        found.append(
            _evidence(placed, look.window_M, look.figures_F, look.ranks, look.comparison, 1)
        )
    which = int(evidence.cluster_A[account])
    if which >= 0:
        cluster, figures_F = evidence.clusters[which]
        comparison = reference.clusters.compare(figures_F)
        found.append(
            _evidence(
                placed,
                cluster.linked_M,
                figures_F,
                reference.clusters,
                comparison,
                len(cluster.accounts),
            )
        )
    return tuple(found)


def _evidence(
    placed: Placed,
    requests_M: Indices,
    figures_F: Floats,
    ranks: Ranks,
    comparison: Comparison,
    num_accounts: int,
) -> EvidenceResult:
    time_M = placed.table.time_N[requests_M]
    adds_F = ranks.usual.distances(figures_F[None])[0] * weights(ranks.kind)
    return EvidenceResult(
        kind=ranks.kind,
        num_requests=len(requests_M),
        num_accounts=num_accounts,
        first=_moment(time_M.min()),
        last=_moment(time_M.max()),
        score=round(comparison.score, 4),
        p_value=comparison.p_value,
        num_reference=comparison.num_reference,
        figures=tuple(
            FigureResult(
                name=name,
                value=round(float(value), 4),
                usual=round(float(usual), 4),
                high=round(float(high), 4),
                share_of_score=round(float(adds), 4),
            )
            for name, value, usual, high, adds in zip(
                NAMES[ranks.kind],
                figures_F,
                ranks.usual.centre_F,
                ranks.high_F,
                adds_F,
                strict=True,
            )
        ),
    )


def _notes(table: Table, reference: Reference, config: TrafficConfig) -> tuple[str, ...]:
    notes = []
    num = len(table.accounts)
    if num > _MANY_TIMES * reference.num_accounts:
        notes.append(
            f"The log has {num:,} accounts and the reference {reference.num_accounts:,}: more "
            "accounts give more chances to be linked, so p-values of clusters may be too small. "
            "Fit a reference of about as many accounts."
        )
    least = 2.0 / (1 + len(reference.clusters.score_R))
    needed = int(np.ceil(least * num / config.throttle_rate))
    if needed > 1:
        notes.append(
            f"With {reference.num_accounts:,} reference accounts, fewer than {needed} accounts "
            f"together cannot be found among {num:,} at a rate of {config.throttle_rate:g}. A "
            "larger reference sees fewer."
        )
    missing = [length for length in LOOKS if length not in reference.windows]
    if missing:
        notes.append(
            "Windows of "
            + ", ".join(map(str, missing))
            + " requests were not compared: too few reference accounts have as many."
        )
    if table.num_backwards:
        notes.append(
            f"{table.num_backwards:,} requests have an earlier time than the one before them. "
            "Accounts were looked at in the order of time."
        )
    return tuple(notes)


def _moment(time_s: float) -> datetime:
    return datetime.fromtimestamp(float(time_s), UTC)
