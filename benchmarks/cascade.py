"""The cascade: what is certified, how often that is wrong, and whether a shift is noticed.

    python benchmarks/cascade.py [--only banking77] [--students ngram,embedding,encoder]
                                 [--rounds 100] [--data FOLDER] [--work FOLDER] [--table]

`banking77` certifies students of the recorded teacher at 97 and 98 %. `splits` draws calibration
sets of eight tasks at random and counts the certified rules that exceed their target, beside a rule
that takes the calibration rows at their word. `shift` serves requests of ten intents that the
student never saw, and requests without any shift.

Fitted students stay in the work folder, so that the same command finishes what it began.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks._cascade import tables
from benchmarks._cascade.options import Options
from benchmarks._parts.command import Benchmark, run

Part = Callable[[Options], dict[str, Any]]


def _of(name: str) -> Part:
    """The part called `name`, which says how long it took; its imports wait until it runs."""

    def part(options: Options) -> dict[str, Any]:
        from benchmarks._cascade.certified import banking77_part
        from benchmarks._cascade.shift import shift_part
        from benchmarks._cascade.splits import splits_part

        started_s = perf_counter()
        parts = {"banking77": banking77_part, "splits": splits_part, "shift": shift_part}
        entry = parts[name](options)
        print(f"{name}: {perf_counter() - started_s:.0f} s in all", flush=True)
        return entry

    return part


CASCADE = Benchmark(
    section="cascade",
    parts={name: _of(name) for name in ("banking77", "splits", "shift")},
    options_type=Options,
    packages=("stillhouse", "numpy", "scipy", "onnxruntime"),
    goals=tables.GOALS,
    tables=tables.tables,
)

if __name__ == "__main__":
    run(CASCADE, __doc__)
