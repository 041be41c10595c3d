"""Before anything is trained: how much of a log's traffic could a small student take over?"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stillhouse.artifacts import atomic_write_bytes
from stillhouse.errors import DataError
from stillhouse.pipeline._scan_config import ScanConfig
from stillhouse.pipeline._scan_measure import FitTicker
from stillhouse.pipeline._scan_page import render_scan
from stillhouse.pipeline._scan_part import PartScan
from stillhouse.pipeline._scan_parts import Part, parts_of, whole
from stillhouse.pipeline._scan_results import PartResult, ScanResults
from stillhouse.pipeline._scan_rows import Traffic, opened_log, read_traffic
from stillhouse.pipeline._scan_task import propose_task, task_yaml
from stillhouse.pipeline._scan_words import verdict_of
from stillhouse.records import canonical_json
from stillhouse.runlog import Listener, ignore_progress
from stillhouse.statistics import Interval
from stillhouse.tasks import Task

RESULTS_NAME = "scan.json"
PAGE_NAME = "scan.html"


def scan(
    log: Path,
    *,
    config: ScanConfig,
    task: Task | None = None,
    out: Path | None = None,
    command: str = "stillhouse scan",
    on_progress: Listener = ignore_progress,
) -> ScanResults:
    """What share of a log's traffic a small student could answer as the teacher did.

    Cheap students (n-grams, frozen embeddings with a linear head) are chosen by cross-fitting on
    one part of the prompts. On the others, which no choice has seen, thresholds of their
    confidence are tested in a fixed order by exact bounds. So nothing is promised by luck: on
    answers that nothing can predict, a promise is made in at most 5 % of all scans.

    The promise is about traffic like that of the log, and about agreement, not about truth.

    Args:
        log: A completions artefact, a ledger, or any export that `import` reads.
        config: How to scan.
        task: What was asked; None finds the tasks in the answers: few distinct short answers are
            labels, JSON is an extraction, all else text.
        out: Folder for `scan.json`, `scan.html` and the tasks that were found; None writes none.
        command: What the page says reproduces it.
        on_progress: Told as rows are read and students made.

    Raises:
        DataError: the log holds no answer.
        ConfigError: a path is wrong, or none of the students can be made here.
    """
    started_s = time.monotonic()
    with opened_log(log, out, on_progress) as artifact:
        traffic = read_traffic(artifact, max_prompts=config.max_prompts, seed=config.seed)
        if not traffic.sample:
            raise DataError(
                f"{log} holds no answer: {traffic.num_errors:,} calls, all of them errors. Give a "
                "log of calls that were answered."
            )
        found_parts = [whole(traffic.sample)] if task is not None else parts_of(traffic.sample)
        parts = found_parts[: config.max_parts]
        tasks = [task or propose_task(part, f"part {n}") for n, part in enumerate(parts, start=1)]
        scanned = _scan_parts(parts, tasks, config, task is not None, on_progress)
        results = ScanResults(
            source=log.name,
            manifest_sha256=artifact.manifest_sha256,
            created_utc=datetime.now(UTC),
            seconds=round(time.monotonic() - started_s, 3),
            target=config.target,
            confidence=config.confidence,
            **_traffic_fields(traffic),
            parts=scanned,
            num_prompts_beyond=sum(len(part.rows) for part in found_parts[config.max_parts :]),
            promised_share=promised_share(scanned),
            verdict=verdict_of(scanned, target=config.target, confidence=config.confidence),
        )
    return results if out is None else _write(results, tasks, task is not None, out, command)


def _scan_parts(
    parts: Sequence[Part],
    tasks: Sequence[Task],
    config: ScanConfig,
    is_given: bool,
    on_progress: Listener,
) -> tuple[PartResult, ...]:
    # Several promises share the error that one may have.
    confidence = 1 - (1 - config.confidence) / len(parts)
    ticker = FitTicker(on_progress, num_parts=len(parts), config=config)
    num_calls = sum(part.num_calls for part in parts)
    found = []
    for part, task in zip(parts, tasks, strict=True):
        one = PartScan(
            part, task, is_given=is_given, config=config, confidence=confidence, ticker=ticker
        )
        found.append(one.result(num_calls=num_calls))
        ticker.end_part()
    return tuple(found)


def _traffic_fields(traffic: Traffic) -> dict[str, Any]:
    num_calls = sum(len(row.completions) for row in traffic.sample)
    return {
        "num_calls": traffic.num_calls,
        "num_errors": traffic.num_errors,
        "num_prompts": traffic.num_prompts,
        "num_scanned": len(traffic.sample),
        "repeated_fraction": 1 - len(traffic.sample) / num_calls,
        "models": dict(traffic.models.most_common()),
        "cost_usd": traffic.cost_usd if traffic.num_priced else None,
        "num_priced": traffic.num_priced,
        "first_utc": traffic.first_utc,
        "last_utc": traffic.last_utc,
    }


def promised_share(parts: Sequence[PartResult]) -> Interval | None:
    """Of all calls, what is promised of their parts together; None where nothing is."""
    kept = [(one.share_of_calls, one.promise) for one in parts if one.promise is not None]
    if not kept:
        return None
    return Interval(
        sum(weight * promise.share.value for weight, promise in kept),
        sum(weight * promise.share.low for weight, promise in kept),
        sum(weight * promise.share.high for weight, promise in kept),
        n=sum(promise.num_tested for _, promise in kept),
        num_clusters=sum(promise.num_tested for _, promise in kept),
    )


def _write(
    results: ScanResults, tasks: Sequence[Task], is_given: bool, out: Path, command: str
) -> ScanResults:
    out.mkdir(parents=True, exist_ok=True)
    if not is_given:
        named = []
        for number, (part, task) in enumerate(zip(results.parts, tasks, strict=True), start=1):
            name = f"task-{number}.yaml"
            atomic_write_bytes(out / name, task_yaml(task).encode())
            named.append(part.model_copy(update={"task_file": name}))
        results = results.model_copy(update={"parts": tuple(named)})
    document: Any = results.model_dump(mode="json")
    atomic_write_bytes(out / RESULTS_NAME, canonical_json(document) + b"\n")
    atomic_write_bytes(out / PAGE_NAME, render_scan(results, command=command).encode())
    return results
