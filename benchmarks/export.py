"""How close exported language models are to what they were exported from.

    python benchmarks/export.py                       # all parts
    python benchmarks/export.py --only gguf-q4_k      # one of them; each keeps its own results
    python benchmarks/export.py --table               # writes the tables in docs/benchmarks.md

SmolLM2-135M-Instruct itself is written in each format, read back by llama.cpp and by transformers,
and compared with itself as `stillhouse export` does it; what that is stands in docs/export.md.
"""

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks._export.measuring import measured
from benchmarks._export.options import ExportOptions
from benchmarks._export.tables import FORMATS, GOALS, tables
from benchmarks._parts.command import Benchmark, run

BENCHMARK = Benchmark(
    section="export",
    parts={name: partial(measured, name) for name in FORMATS},
    options_type=ExportOptions,
    packages=("stillhouse", "gguf", "numpy", "torch", "transformers", "xllamacpp"),
    goals=GOALS,
    tables=tables,
)

if __name__ == "__main__":
    run(BENCHMARK, __doc__)
