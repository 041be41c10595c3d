"""Extraction in simulated traffic of real prompts: clusters, single windows, speed, and tables.

`traffic` has campaigns over many accounts and the speed, `windows` has accounts by themselves.
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

from benchmarks._parts.goals import Goal, markdown_table
from benchmarks._protect.options import Options
from benchmarks._protect.traffic_clusters import clusters_part
from benchmarks._protect.traffic_made import KEY, made, simulator

from stillhouse.traffic import Featuriser, Reference, open_access_log, read_table, watch_table

_WINDOWS = {"size_path": ("windows", "reference"), "least_size": 1_000}
_HALF = ("traffic", "clusters", "at_half_cover")
_CAMPAIGNS = {"size_path": (*_HALF, "campaigns"), "least_size": 20}
GOALS = (
    Goal(
        "benign accounts found by one window of 500",
        ("windows", "ours", "false_positives", "found"),
        0.3,
        "%",
        scale=100,
        **_WINDOWS,
    ),
    Goal(
        "accounts of extraction alone found by it",
        ("windows", "ours", "found_of_pure"),
        100,
        "%",
        is_least=True,
        scale=100,
        **_WINDOWS,
    ),
    Goal(
        "accounts with 5 to 50 % of extraction found by it",
        ("windows", "ours", "found_of_mixtures"),
        90.5,
        "%",
        is_least=True,
        scale=100,
        **_WINDOWS,
    ),
    Goal(
        "accounts of campaigns of 50 x 20 found, half is cover",
        (*_HALF, "recall"),
        90,
        "%",
        is_least=True,
        scale=100,
        **_CAMPAIGNS,
    ),
    Goal(
        "the same, of all shares of extraction",
        ("traffic", "clusters", "of_all_shares", "recall"),
        90,
        "%",
        is_least=True,
        scale=100,
        **_CAMPAIGNS,
    ),
    Goal(
        "the same, by accounts alone",
        ("traffic", "clusters", "of_all_shares", "recall_of_accounts_alone"),
        10,
        "%",
        scale=100,
        **_CAMPAIGNS,
    ),
    Goal(
        "benign accounts found beside a campaign, of 1,000",
        ("traffic", "clusters", "of_all_shares", "false_per_1000"),
        1,
        **_CAMPAIGNS,
    ),
    Goal(
        "benign accounts found where there is none, of 1,000",
        ("traffic", "clusters", "without_campaign", "false_per_1000"),
        1,
        size_path=("traffic", "clusters", "without_campaign", "logs"),
        least_size=10,
    ),
    Goal(
        "requests watched a second",
        ("traffic", "speed", "requests_per_s"),
        5_000,
        is_least=True,
    ),
)


def run(options: Options) -> dict[str, Any]:
    """At full size; about ten minutes on a core."""
    return {"clusters": clusters_part(options), "speed": speed_part(options)}


def speed_part(options: Options, *, accounts: int = 2_000) -> dict[str, Any]:
    """From a file of JSON lines to results, in one process."""
    simulated = simulator(options.data, "test", seed=7)
    sent = simulated.sent(simulated.benign(accounts))
    simulated = simulator(options.data, "fit", seed=8)
    usual = made(simulated, simulated.benign(accounts // 2))
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


def clusters_table(entry: dict[str, Any] | None) -> str:
    """Campaigns that were found, by manner and share."""
    header = (
        "asks",
        "extraction",
        "campaigns found",
        "95 % interval",
        "of their accounts",
        "alone, p <= 0.001",
        "benign found of 1,000",
    )
    if entry is None:
        return markdown_table(header, ())
    clusters = entry["clusters"]
    rows = [
        (
            arm["manner"],
            f"{arm['share']:.0%}",
            f"{arm['campaigns_found']} of {arm['campaigns']}",
            _interval(arm["campaigns_found_interval"]),
            f"{arm['recall']:.1%}",
            f"{arm['recall_of_accounts_alone']:.1%}",
            f"{arm['false_per_1000']:.2f}",
        )
        for arm in clusters["arms"]
    ]
    none = clusters["without_campaign"]
    flagged = f"{none['logs_with_a_flag']} of {none['logs']} logs"
    last = (
        "no campaign",
        "",
        flagged,
        _interval(none["logs_with_a_flag_interval"]),
        "",
        "",
        f"{none['false_per_1000']:.2f}",
    )
    return markdown_table(header, [*rows, last])


def windows_table(entry: dict[str, Any] | None) -> str:
    """Accounts by themselves, by the length of the window."""
    header = (
        "",
        "requests",
        "benign found",
        "95 % interval",
        "pure",
        "50 %",
        "25 %",
        "10 %",
        "5 %",
    )
    if entry is None:
        return markdown_table(header, ())
    rows = [_window_row("ours", length, found) for length, found in entry["by_length"].items()]
    rows.append(_window_row("ours, all looks", str(entry["length"]), entry["ours_all_looks"]))
    for length, peer in entry["peer"].items():
        for level, found in peer["null_of_pooled_prompts"].items():
            rows.append(_window_row(f"MMD, pooled prompts, {level}", length, found))
        for level, found in peer["ranked_among_accounts"].items():
            rows.append(_window_row(f"MMD, ranked, {level}", length, found))
    return markdown_table(header, rows)


def _window_row(name: str, length: str, found: dict[str, Any]) -> tuple[str, ...]:
    benign = found["false_positives"]
    return (
        name,
        length,
        f"{benign['found']:.2%}",
        _interval(benign["interval"], digits=2),
        *(f"{one['found']:.0%}" for one in found["found_by_share"].values()),
    )


def _interval(bounds: list[float], *, digits: int = 0) -> str:
    low, high = bounds
    return f"{low:.{digits}%} to {high:.{digits}%}"
