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
from stillhouse.traffic._members import best_clusters
from stillhouse.traffic._ranks import Comparison, Ranks
from stillhouse.traffic._reading import AccessLog
from stillhouse.traffic._reference import Reference, clusters_of
from stillhouse.traffic._results import (
    STEPS,
    AccountResult,
    EvidenceResult,
    FigureResult,
    Step,
    StepResult,
    WatchResults,
)
from stillhouse.traffic._scorer import NAMES, added
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
    """All comparisons of a log.

    Attributes:
        window_p_A: Of each account by itself.
        look_A: The most telling window of each, where there is one.
        clusters: All, with their figures.
        cluster_p_C: Of each cluster.
        best_A: Which cluster that an account fits has the smallest p-value; -1 for none.
    """

    window_p_A: Floats
    look_A: Sequence[Look | None]
    clusters: Sequence[tuple[Cluster, Floats]]
    cluster_p_C: Floats
    best_A: Indices

    def of_best(self, values_C: Floats) -> Floats:
        """(A,) the values of clusters at each account's best one; 1 where it is in none."""
        return np.append(values_C, 1.0)[self.best_A]


def compare_accounts(placed: Placed, reference: Reference) -> AccountEvidence:
    """Compare every account and every cluster with a reference."""
    table = placed.table
    compared = [compare_windows(placed, some, reference) for some in table.by_account()]
    window_p_A = np.array([p_value for p_value, _ in compared], np.float64)
    looks = [look for _, look in compared]
    best_A = np.full(len(table.accounts), -1, np.int64)
    ranks = reference.clusters
    found = clusters_of(placed) if ranks is not None else []
    p_C = np.ones(len(found))
    if ranks is not None:
        p_C = np.array([ranks.compare(figures_F).p_value for _, figures_F in found], np.float64)
        best_A = best_clusters(placed, [cluster for cluster, _ in found], p_C)
    return AccountEvidence(window_p_A, looks, found, p_C, best_A)


@dataclass(frozen=True)
class Adjusted:
    """False discovery rates at which each account is found.

    Accounts by themselves are one family of hypotheses, clusters another; each may spend half of a
    rate. A cluster is one hypothesis however many accounts it has.

    Attributes:
        window_A: By itself.
        cluster_A: By the best cluster it is in.
    """

    window_A: Floats
    cluster_A: Floats

    @property
    def both_A(self) -> Floats:
        """By either."""
        return np.minimum(self.window_A, self.cluster_A)


def adjust(evidence: AccountEvidence, procedure: Procedure = "bh") -> Adjusted:
    """Control the false discovery rate over accounts and clusters."""
    rule = _ADJUST[procedure]
    window_A = np.minimum(1.0, 2.0 * rule(evidence.window_p_A))
    cluster_C = evidence.cluster_p_C
    if len(cluster_C):
        cluster_C = np.minimum(1.0, 2.0 * rule(cluster_C))
    return Adjusted(window_A, evidence.of_best(cluster_C))


def watch_table(
    table: Table,
    reference: Reference,
    *,
    config: TrafficConfig | None = None,
    log: AccessLog | None = None,
    evidence: AccountEvidence | None = None,
) -> WatchResults:
    """Compare a log with a reference, and say what to answer to whom.

    Args:
        table: Its requests, at least one.
        reference: Made under the key that the log was hashed under.
        log: What was read, for the counts of what is no row.
        evidence: What `compare_accounts` found in a table that has no request that is too old.
    """
    config = config or TrafficConfig()
    num_all = len(table)
    table = table.since(float(table.time_N.max()) - config.retention_days * _DAY_S)
    placed = Placed.on(reference.content_map, table)
    evidence = evidence or compare_accounts(placed, reference)
    adjusted = adjust(evidence, config.procedure)
    adjusted_A = adjusted.both_A
    sizes_A = np.bincount(table.account_N, minlength=len(table.accounts))
    order = np.lexsort((-sizes_A, adjusted_A))
    answered = [int(a) for a in order if adjusted_A[a] <= config.log_rate]
    by_cluster = [a for a in answered if adjusted.cluster_A[a] <= adjusted.window_A[a]]
    best = dict.fromkeys(int(evidence.best_A[a]) for a in by_cluster if evidence.best_A[a] >= 0)
    shown = {which: number for number, which in enumerate(best)}
    p_A = np.minimum(evidence.window_p_A, evidence.of_best(evidence.cluster_p_C))
    accounts = tuple(
        AccountResult(
            account=table.accounts[a],
            num_requests=int(sizes_A[a]),
            p_value=min(1.0, 2 * float(p_A[a])),
            adjusted=float(adjusted_A[a]),
            step=step_of(float(adjusted_A[a]), config),
            cluster=shown.get(int(evidence.best_A[a])) if a in set(by_cluster) else None,
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
        num_clusters=len(evidence.clusters),
        steps=_steps(adjusted_A, config),
        accounts=accounts,
        clusters=tuple(
            tuple(table.accounts[a] for a in evidence.clusters[which][0].accounts.tolist())
            for which in shown
        ),
        notes=_notes(table, reference),
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


def _evidence_of(
    placed: Placed, evidence: AccountEvidence, account: int, reference: Reference
) -> tuple[EvidenceResult, ...]:
    found = []
    look = evidence.look_A[account]
    if look is not None:
        found.append(
            _evidence(placed, look.window_M, look.figures_F, look.ranks, look.comparison, 1)
        )
    which, ranks = int(evidence.best_A[account]), reference.clusters
    if which >= 0 and ranks is not None:
        cluster, figures_F = evidence.clusters[which]
        comparison = ranks.compare(figures_F)
        found.append(
            _evidence(
                placed,
                cluster.linked_M,
                figures_F,
                ranks,
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
    adds_F = added(ranks.kind, ranks.usual.distances(figures_F[None])[0])
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


def _notes(table: Table, reference: Reference) -> tuple[str, ...]:
    notes = []
    num = len(table.accounts)
    if num > _MANY_TIMES * reference.num_accounts:
        notes.append(
            f"The log has {num:,} accounts and the reference {reference.num_accounts:,}: more "
            "accounts give more chances to be linked, so p-values of clusters may be too small. "
            "Fit a reference of about as many accounts."
        )
    if reference.clusters is None:
        notes.append(
            "Clusters were not compared: the reference has too few. Fit it on a log of more "
            "accounts."
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
