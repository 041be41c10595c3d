"""How fast and in how much memory students are trained, beside other trainers in the same run.

    python benchmarks/train.py [--only PART ...] [--peers-python PYTHON ...] [--table]

The parts are `speed`, `pairs` and `memory`; each one's module says what it measures. Every part
writes its own entry of `results/train.json`, so that they can be run one by one, on a quiet
machine. `--table` only writes the tables of `docs/benchmarks.md` anew.

Peers are left out where no Python has them. DistillKit needs an older TRL than the current one,
so that they live apart:

    python -m venv trl && trl/bin/pip install torch trl transformers peft accelerate datasets
    python -m venv dk && dk/bin/pip install torch 'trl~=0.25.1' 'accelerate~=1.11.0' transformers
    dk/bin/pip install --no-deps git+https://github.com/arcee-ai/DistillKit@a61c2e7
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks._parts.command import Benchmark, run
from benchmarks._train import memory, pairs, speed, tables
from benchmarks._train.options import Options

TRAIN = Benchmark(
    section="train",
    parts={"speed": speed.run, "pairs": pairs.run, "memory": memory.run},
    options_type=Options,
    packages=("stillhouse", "torch", "transformers", "safetensors"),
    goals=tables.GOALS,
    tables=tables.tables,
)

if __name__ == "__main__":
    run(TRAIN, __doc__)
