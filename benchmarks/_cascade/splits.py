"""How often a certified rule exceeds its target, on random calibration sets of real rows.

A task's test rows are taken for the whole world, in which the risk of a rule is known exactly. A
calibration set is drawn from them with replacement, as the guarantee supposes, and is half as
large. Beside it the halves of a random split, of which one certifies and the other one is measured:
there the measured half has chance of its own, which no rule can know.

Letters: N rows of the world.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from benchmarks._banking77.datasets import make_dataset
from benchmarks._banking77.students import fitted
from benchmarks._cascade.options import Options
from benchmarks._cascade.tasks import TASKS, label_set

from stillhouse.artifacts import Artifact
from stillhouse.cascade import CascadeRow, open_cascade
from stillhouse.certify import (
    Calibration,
    CertifyConfig,
    certified_rule,
    certify,
    fixed_grid,
    quantile_grid,
)
from stillhouse.errors import NotCertifiedError
from stillhouse.statistics import fraction_interval

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

_COUNTS = (
    "splits",
    "refused",
    "exceeded",
    "naive_exceeded",
    "half_exceeded",
    "naive_half_exceeded",
    "coverage_interval_held",
)
REWRITING = "disfl_qa"
_MAX_TOKENS = 64  # of a rewritten question
_ANYTHING = 0.001  # a target that every student keeps, to have the rows of all


@dataclass(frozen=True)
class World:
    """All rows of a task, with what a student makes of them.

    Attributes:
        rows: Of all.
        grid_G: Thresholds, from what the student's training set aside.
        config: With the target.
    """

    rows: Calibration
    grid_G: Floats
    config: CertifyConfig

    def drawn(self, places: Places) -> Calibration:
        """The rows at these places."""
        return Calibration(
            self.rows.confidences_N[places],
            self.rows.is_familiar_N[places],
            self.rows.losses_N[places],
            self.rows.is_binary,
        )


@dataclass(frozen=True)
class Outcome:
    """What one calibration set led to.

    Attributes:
        risk: Of the certified rule on the rows that it is measured on; None where none is.
        coverage: Of it there.
        naive_risk: Of the lowest threshold whose own rows keep the target on their face.
        is_covered: Whether the interval of the coverage holds the coverage there.
    """

    risk: float | None
    coverage: float
    naive_risk: float
    is_covered: bool


def splits_part(options: Options) -> dict[str, Any]:
    """Every task, and all of them together."""
    tasks = {name: _task(name, options) for name in TASKS}
    if options.rewrites:
        tasks[REWRITING] = _rewriting(options)
    totals = {key: sum(found[key] for found in tasks.values()) for key in _COUNTS}
    certified = totals["splits"] - totals["refused"]
    return {
        **totals,
        "tasks": tasks,
        "num_tasks": len(tasks),
        "rounds": options.rounds,
        "exceeded_fraction": totals["exceeded"] / certified if certified else None,
        "worst_task_exceeded_fraction": max(
            found["exceeded"] / found["splits"] for found in tasks.values()
        ),
    }


def _task(name: str, options: Options) -> dict[str, Any]:
    found = label_set(name, options)
    dataset = make_dataset(found, options.work / name)
    (student,) = fitted(dataset, options.work / name, options.split_student, seeds=1)
    return _measured(world_of(student, dataset, options), options)


def _rewriting(options: Options) -> dict[str, Any]:
    # It loads torch, which the other tasks do without.
    from benchmarks._banking77.rewriting import rewriter, rewriting_dataset

    folder = options.work / REWRITING
    dataset = rewriting_dataset(options.of_tasks, folder)
    return _measured(world_of(rewriter(dataset, folder), dataset, options), options)


def _measured(world: World, options: Options) -> dict[str, Any]:
    drawn, halves = outcomes(world, options.rounds)
    return {
        "rows": len(world.rows),
        "calibration_rows": len(world.rows) // 2,
        "target": world.config.target,
        "is_graded": not world.rows.is_binary,
        "student_agreement": round(1 - float(world.rows.losses_N.mean()), 5),
        **summary(drawn, halves, risk=1 - world.config.target),
    }


def world_of(student: Artifact, dataset: Artifact, options: Options) -> World:
    """The student's answers to all held-out rows; the target halves what it gets wrong.

    What it gets wrong is told by rows that no split has: its validation rows or, where it has none,
    the first tenth of the held-out ones.
    """
    out = options.work / "worlds" / f"{dataset.path.parent.name}-{student.path.name}"
    max_tokens = _MAX_TOKENS if student.manifest.kind == "student" else None
    config = CertifyConfig(target=_ANYTHING, max_tokens=max_tokens)
    artifact = certify(student.path, dataset.path, out, config=config, replace=True)
    opened = open_cascade(artifact.path)
    rows = list(artifact.rows("rows", CascadeRow))
    calibration = Calibration(
        np.array([np.nan if row.confidence is None else row.confidence for row in rows]),
        opened.novelties_N <= opened.gate.threshold,
        np.array([row.loss for row in rows]),
        is_binary=opened.task.grader_name == "label",
    )
    whole = World(calibration, fixed_grid(config.grid_size), config)
    if "validation" in student.manifest.results:
        agreement = float(student.manifest.results["validation"]["agreement"])
        grid_G = quantile_grid(_confidences(student), config.grid_size)
    else:
        first = np.arange(len(rows) // 10)
        agreement, grid_G = 1 - float(calibration.losses_N[first].mean()), whole.grid_G
        calibration = whole.drawn(np.arange(len(first), len(rows)))
    target = min(round(1 - (1 - agreement) / 2, 3), 0.995)
    return World(calibration, grid_G, CertifyConfig(target=target))


def _confidences(student: Artifact) -> Floats:
    tables = [
        pq.read_table(student.file(entry.name), columns=["confidence"])["confidence"].to_numpy()
        for entry in student.manifest.files
        if entry.name.startswith("validation-")
    ]
    return np.clip(np.concatenate(tables), 0.0, 1.0)


def outcomes(world: World, rounds: int) -> tuple[list[Outcome], list[Outcome]]:
    """Of calibration sets drawn with replacement, measured on all rows; and of split halves."""
    n = len(world.rows)
    everything = np.arange(n)
    drawn, halves = [], []
    for seed in range(rounds):
        rng = np.random.default_rng(seed)
        drawn.append(outcome(world, rng.integers(0, n, n // 2), everything))
        order = rng.permutation(n)
        halves.append(outcome(world, order[: n // 2], order[n // 2 :]))
    return drawn, halves


def outcome(world: World, calibration: Places, measured: Places) -> Outcome:
    """Certify on some rows and measure on others."""
    ours, there = world.drawn(calibration), world.drawn(measured)
    naive_risk = float(there.lost_N(naive_threshold(ours, world)).mean())
    try:
        rule = certified_rule(ours, world.grid_G, novelty_threshold=1.0, config=world.config)
    except NotCertifiedError:
        return Outcome(None, 0.0, naive_risk, True)
    coverage = float(there.answered_N(rule.threshold).mean())
    given = rule.certificate.coverage
    return Outcome(
        float(there.lost_N(rule.threshold).mean()),
        coverage,
        naive_risk,
        given.low <= coverage <= given.high,
    )


def naive_threshold(calibration: Calibration, world: World) -> float:
    """The lowest threshold whose mean loss on these very rows keeps the target."""
    risk = 1 - world.config.target
    kept = [t for t in world.grid_G.tolist() if calibration.lost_N(t).mean() <= risk]
    return min(kept, default=float(world.grid_G[0]))


def summary(drawn: Sequence[Outcome], halves: Sequence[Outcome], *, risk: float) -> dict[str, Any]:
    """How often the target was exceeded, by us and by the naive rule."""
    certified = [one for one in drawn if one.risk is not None]
    exceeded = _exceeded([one.risk for one in drawn], risk)
    interval = fraction_interval(exceeded, len(drawn))
    return {
        "splits": len(drawn),
        "refused": len(drawn) - len(certified),
        "exceeded": exceeded,
        "exceeded_low": interval.low,
        "exceeded_high": interval.high,
        "naive_exceeded": _exceeded([one.naive_risk for one in drawn], risk),
        "half_exceeded": _exceeded([one.risk for one in halves], risk),
        "naive_half_exceeded": _exceeded([one.naive_risk for one in halves], risk),
        "coverage": _mean([one.coverage for one in drawn]),
        "mean_risk": _mean([one.risk for one in certified if one.risk is not None]),
        "coverage_interval_held": sum(one.is_covered for one in drawn),
    }


def _exceeded(risks: Sequence[float | None], risk: float) -> int:
    return sum(found is not None and found > risk + 1e-12 for found in risks)


def _mean(values: Sequence[float]) -> float | None:
    return round(float(np.mean(values)), 5) if values else None
