"""Detection of watermarks and extraction: speed, false alarms, tails, and what is found.

    python benchmarks/protect.py [--only PART ...] [--peers-python PYTHON ...] [--table]

The parts are `speed`, `alarms`, `tails`, `power`, `real`, `overhead`, `drift`, `traffic` and
`windows`; each one's module in `_protect` says what it measures. Every part writes its own entry of
`results/protect.json`. Students take hours and have commands of their own, which can be stopped
and go on: `benchmarks._protect.radioactivity` and `benchmarks._protect.attribution`.
`--table` only writes the tables of `docs/benchmarks.md` anew. Real texts are read from `--data`.

transformers is a peer where this Python has it. MarkLLM pins an old openai, and textseal brings
sentence-transformers: detectors need neither, and another Python can have them without:

    python -m venv peers && peers/bin/pip install torch transformers scipy
    peers/bin/pip install --no-deps markllm==0.1.5 textseal==0.0.5
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks._parts.command import Benchmark, run
from benchmarks._protect import (
    alarms,
    drift,
    overhead,
    power,
    real,
    speed,
    student_tables,
    tables,
    tails,
    traffic,
    traffic_windows,
)
from benchmarks._protect.options import Options


def marking(options: Options) -> dict[str, Any]:
    return overhead.run(rounds=options.rounds, tokens=options.overhead_tokens)


PROTECT = Benchmark(
    section="protect",
    parts={
        "speed": speed.run,
        "alarms": alarms.run,
        "tails": tails.run,
        "power": power.run,
        "real": real.run,
        "overhead": marking,
        "drift": drift.run,
        "traffic": traffic.run,
        "windows": traffic_windows.run,
    },
    options_type=Options,
    packages=("stillhouse", "numpy", "scipy", "tokenizers"),
    goals=(*tables.GOALS, *student_tables.GOALS, *traffic.GOALS),
    tables=tables.tables,
)

if __name__ == "__main__":
    run(PROTECT, __doc__)
