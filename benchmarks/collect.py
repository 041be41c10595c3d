"""What collecting costs and what it withstands, beside other clients in the same run.

    python benchmarks/collect.py [--only PART ...] [--peers-python PYTHON ...] [--table]

The parts are `cost`, `logprobs`, `kills`, `resume`, `memory`, `limits`, `budget` and `startup`;
each one's module says what it measures. Every part writes its own entry of `results/collect.json`,
so that they can be run one by one, on a quiet machine. `--table` only writes the tables of
`docs/benchmarks.md` anew.

Peers are left out where no Python has them. To have them all, make an environment for each group
that can live together and name its Python:

    python -m venv peers && peers/bin/pip install bespokelabs-curator 'distilabel[openai]'
    python -m venv designer && designer/bin/pip install data-designer
    python -m venv sdk && sdk/bin/pip install openai
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks._collect import (
    budget,
    cost,
    kills,
    limits,
    logprobs,
    memory,
    resume,
    startup,
    tables,
)
from benchmarks._collect.goals import GOALS
from benchmarks._collect.options import Options
from benchmarks._parts.command import Benchmark, run

COLLECT = Benchmark(
    section="collect",
    parts={
        "startup": startup.run,
        "cost": cost.run,
        "logprobs": logprobs.run,
        "kills": kills.run,
        "resume": resume.run,
        "memory": memory.run,
        "limits": limits.run,
        "budget": budget.run,
    },
    options_type=Options,
    packages=("stillhouse", "aiohttp", "orjson", "pyarrow", "pydantic"),
    goals=GOALS,
    tables=tables.tables,
)

if __name__ == "__main__":
    run(COLLECT, __doc__)
