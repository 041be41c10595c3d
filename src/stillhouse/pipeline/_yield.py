"""Quality by calls of the teacher: what a target takes, and whether such a prediction holds."""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from stillhouse.artifacts import Artifact, atomic_write_bytes, open_artifact
from stillhouse.economics import logged_calls
from stillhouse.pipeline._scan_forecast import agreement_at, fitted_curve, standard_error
from stillhouse.pipeline._scan_measure import interval_over
from stillhouse.pipeline._steps import named
from stillhouse.pipeline._yield_config import YieldConfig
from stillhouse.pipeline._yield_page import render_yield, yield_svg
from stillhouse.pipeline._yield_results import (
    CurvePointAt,
    HeldBackCheck,
    Price,
    YieldPoint,
    YieldResults,
)
from stillhouse.pipeline._yield_students import Floats, Trial, Trials
from stillhouse.pipeline._yield_words import maker_text, owner_text, verdict_text
from stillhouse.provenance import lineage
from stillhouse.records import canonical_json
from stillhouse.runlog import Listener, Ticker, ignore_progress
from stillhouse.statistics import CallsFor, Interval, YieldCurve

RESULTS_NAME, PAGE_NAME, DRAWING_NAME = "results.json", "yield.html", "yield.svg"

_NUM_DRAWN = 40
_FURTHEST = 10.0  # times the largest budget, on the drawing
_NORMAL = 1.959964


def yield_curve(
    dataset: Path,
    out: Path,
    *,
    config: YieldConfig,
    command: str = "stillhouse yield",
    on_progress: Listener = ignore_progress,
) -> YieldResults:
    """How agreement with the teacher grows with calls, and how many calls a target takes.

    At each budget and for each seed a student is made of the rows that the budget buys, nested by
    hash, with the stage that users run. A falling curve is fitted to the errors; what the smaller
    budgets say of the largest is held against what was measured there. For who makes a student the
    result is a shopping list, for who owns the teacher it is the price of a copy.

    Args:
        dataset: What curate made with a task, with held-out prompts.
        out: Gets `results.json`, `yield.html`, `yield.svg` and the students; a student that is
            there already is not made again, so that a stopped run goes on.
        config: The curve.
        command: What the page says reproduces it.
        on_progress: Told after every student.

    Raises:
        DataError: the dataset has no task, too few rows, or nothing can be learnt from a budget.
        ConfigError: a budget is more than the dataset has, or the student cannot do the task.
    """
    started_s = time.monotonic()
    source = open_artifact(dataset, kind="dataset")
    trials = Trials(source, out, config)
    points = _measured(trials, config, on_progress)
    results = conclude(source, trials.held_out.task.name, points, config, started_s=started_s)
    out.mkdir(parents=True, exist_ok=True)
    atomic_write_bytes(out / RESULTS_NAME, canonical_json(results) + b"\n")
    atomic_write_bytes(out / DRAWING_NAME, yield_svg(results).encode())
    atomic_write_bytes(out / PAGE_NAME, render_yield(results, command=command).encode())
    return results


def conclude(
    dataset: Artifact,
    task: str,
    points: Sequence[YieldPoint],
    config: YieldConfig,
    *,
    started_s: float,
) -> YieldResults:
    """All that follows from what was measured at each budget."""
    check = held_back_check(points)
    curve = _fitted(points)
    calls = curve.calls_for(1 - config.target)
    price = price_of(dataset, calls)
    ceiling = _flipped(curve.floor)
    return YieldResults(
        title=f"Yield of {task}",
        dataset_sha256=dataset.manifest_sha256,
        task=task,
        student=config.student,
        num_held_out=points[-1].agreement.n,
        seeds=config.seeds,
        points=tuple(points),
        check=check,
        family=curve.family,
        ceiling=ceiling,
        misfit=curve.misfit,
        curve=_drawn(curve, points),
        target=config.target,
        calls=calls,
        price=price,
        verdict=verdict_text(calls, check),
        maker=maker_text(calls, price, points[-1], ceiling),
        owner=owner_text(calls, price, points[-1]),
        notes=_notes(config, curve),
        created_utc=datetime.now(UTC),
        seconds=round(time.monotonic() - started_s, 3),
    )


def _measured(trials: Trials, config: YieldConfig, on_progress: Listener) -> list[YieldPoint]:
    total = len(trials.budgets) * config.seeds
    ticker = Ticker(on_progress, stage="yield", total=total, unit="students")
    clusters = trials.held_out.clusters_N.tolist()
    points = []
    for calls in trials.budgets:
        made = []
        for seed in range(config.seeds):
            made.append(trials.make(calls, seed=seed, on_progress=named("student", on_progress)))
            ticker.advance()
        points.append(point_of(made, clusters))
    return points


def point_of(trials: Sequence[Trial], clusters: Sequence[str]) -> YieldPoint:
    """What the students of one budget reached, over prompts and seeds.

    Args:
        trials: One for each seed.
        clusters: N names of what the held-out prompts belong to.
    """
    agreement = over_seeds([trial.agreement_N for trial in trials], clusters)
    has_gold = bool(np.isfinite(trials[0].gold_N).any())
    return YieldPoint(
        calls=float(np.mean([trial.calls for trial in trials])),
        rows=float(np.mean([trial.rows for trial in trials])),
        agreement=agreement,
        by_seed=tuple(float(np.nanmean(trial.agreement_N)) for trial in trials),
        gold=over_seeds([trial.gold_N for trial in trials], clusters) if has_gold else None,
        seconds=float(np.mean([trial.seconds for trial in trials])),
    )


def over_seeds(scores: Sequence[Floats], clusters: Sequence[str]) -> Interval:
    """The mean score of several students on the same prompts.

    The interval over prompts, each with the scores of all students, is widened by the standard
    error of the mean over seeds: other calls would have given other students.
    """
    is_known_N = np.isfinite(scores[0])
    kept = np.stack(scores)[:, is_known_N]
    names = [name for name, known in zip(clusters, is_known_N, strict=True) if known]
    found = interval_over(kept.mean(axis=0), names)
    if len(scores) < 2:
        return found
    of_seeds = float(kept.mean(axis=1).std(ddof=1)) / np.sqrt(len(scores))
    low = found.value - float(np.hypot(found.value - found.low, _NORMAL * of_seeds))
    high = found.value + float(np.hypot(found.high - found.value, _NORMAL * of_seeds))
    return replace(found, low=max(0.0, low), high=min(1.0, high))


def held_back_check(points: Sequence[YieldPoint]) -> HeldBackCheck:
    """The largest budget, predicted from the others and then looked at.

    Args:
        points: By budget; the last one is held back.
    """
    last = points[-1]
    predicted = agreement_at(
        _fitted(points[:-1]), last.calls, standard_error=standard_error(last.agreement)
    )
    return HeldBackCheck(
        calls=last.calls,
        predicted=predicted,
        measured=last.agreement.value,
        is_inside=predicted.low <= last.agreement.value <= predicted.high,
    )


def price_of(dataset: Artifact, calls: CallsFor) -> Price:
    """What the calls of a target cost at the mean price that was logged."""
    completions = [
        node for node in lineage(dataset.path).nodes if node.manifest.kind == "completions"
    ]
    costs = logged_calls(completions).usd_N
    usd = float(np.mean(costs)) if costs else None
    if not usd:
        return Price(usd_per_call=None, value_usd=None, low_usd=None, high_usd=None)

    def times(number: float | None) -> float | None:
        return None if number is None else number * usd

    return Price(
        usd_per_call=usd,
        value_usd=times(calls.value),
        low_usd=times(calls.low),
        high_usd=times(calls.high),
    )


def _fitted(points: Sequence[YieldPoint]) -> YieldCurve:
    return fitted_curve([(point.calls, point.agreement) for point in points])


def _drawn(curve: YieldCurve, points: Sequence[YieldPoint]) -> tuple[CurvePointAt, ...]:
    calls = np.geomspace(points[0].calls, _FURTHEST * points[-1].calls, _NUM_DRAWN)
    return tuple(
        CurvePointAt(calls=float(number), agreement=agreement_at(curve, float(number)))
        for number in calls
    )


def _flipped(errors: Interval) -> Interval:
    return replace(
        errors,
        value=1 - errors.value,
        low=max(0.0, 1 - errors.high),
        high=min(1.0, 1 - errors.low),
    )


def _notes(config: YieldConfig, curve: YieldCurve) -> tuple[str, ...]:
    notes = []
    if config.seeds == 1:
        notes.append("One seed: how much other calls would have changed is not in the intervals.")
    if curve.misfit is not None and curve.misfit > 1:
        notes.append("The points scatter more than their intervals say; the curve's were widened.")
    return tuple(notes)
