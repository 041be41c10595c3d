"""Task students: Banking77 with a recorded frontier teacher, noisy labels, four further sets.

    python benchmarks/banking77.py [--only banking77] [--rounds 3]
                                   [--students ngram,embedding,encoder]
                                   [--data FOLDER] [--work FOLDER] [--table]

The teacher's 13,083 recorded answers go the way of a user's log: import, curate, fit. What is
measured is agreement with the teacher and accuracy against gold on the peer's 3,075 test rows, the
time for one message alone and the time that making a student takes. `noise` replaces every second
training label. The further sets have no teacher, so their gold labels stand in for one; `disfl_qa`
is rewriting, for which a small language model is trained on a few hundred rows.

Fitted students stay in the work folder, so that the same command finishes what it began. Each part
prints what it takes.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks._banking77 import tables
from benchmarks._banking77.options import Options
from benchmarks._banking77.rows import BANKING, GOLD_SETS
from benchmarks._parts.command import Benchmark, run

Part = Callable[[Options], dict[str, Any]]


def _of(name: str) -> Part:
    """The part called `name`, which says how long it took; its imports wait until it runs."""

    def part(options: Options) -> dict[str, Any]:
        from benchmarks._banking77 import parts, rewriting

        started_s = perf_counter()
        if name == BANKING:
            entry = parts.teacher_part(options)
        elif name == "noise":
            entry = parts.noise_part(options)
        elif name == "disfl_qa":
            entry = rewriting.rewriting_part(options)
        else:
            entry = parts.gold_part(name, options)
        print(f"{name}: {perf_counter() - started_s:.0f} s in all", flush=True)
        return entry

    return part


BANKING77 = Benchmark(
    section="banking77",
    parts={name: _of(name) for name in (BANKING, "noise", *GOLD_SETS, "disfl_qa")},
    options_type=Options,
    packages=("stillhouse", "torch", "transformers", "numpy", "scipy"),
    goals=tables.GOALS,
    tables=tables.tables,
)

if __name__ == "__main__":
    run(BANKING77, __doc__)
