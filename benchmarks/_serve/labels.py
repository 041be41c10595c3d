"""Decisions of students that answer with labels."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks._banking77.datasets import make_dataset
from benchmarks._banking77.options import Options
from benchmarks._banking77.rows import BANKING, banking77
from benchmarks._banking77.students import fitted
from benchmarks._serve.options import ServeOptions
from benchmarks._serve.serving import serving

ROOT = Path(__file__).resolve().parents[2]


def measured(options: ServeOptions) -> dict[str, Any]:
    """Requests a second and how long they took, of each kind of student."""
    found = banking77(Options(data=options.data))
    dataset = make_dataset(found, options.work / BANKING)
    bodies = options.work / "bodies.jsonl"
    bodies.write_text(
        "".join(json.dumps({"input": row.text}) + "\n" for row in found.test), encoding="utf-8"
    )
    return {
        kind: _student(kind, dataset, bodies, options)
        for kind in (name.strip() for name in options.students.split(","))
    }


def _student(kind: str, dataset: Any, bodies: Path, options: ServeOptions) -> dict[str, Any]:
    (student,) = fitted(dataset, options.work, kind, seeds=1)
    with serving(str(student.path)) as port:
        flooded = [
            _load(port, bodies, f"--connections={options.connections}", options)
            for _ in range(options.rounds)
        ]
        at_rate = [
            _load(port, bodies, f"--rate={options.rate}", options) for _ in range(options.rounds)
        ]
    return {
        "flood": max(flooded, key=lambda one: one["requests_per_s"]),
        "at_rate": min(at_rate, key=lambda one: one["p50_ms"]),
        "connections": options.connections,
        "rate": options.rate,
    }


def _load(port: int, bodies: Path, how: str, options: ServeOptions) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks._serve.load", str(port), str(bodies), how]
    done = subprocess.run(
        [*command, f"--seconds={options.seconds}"], cwd=ROOT, capture_output=True, check=True
    )
    told: dict[str, float] = json.loads(done.stdout)
    return told
