"""What an offline signal gives a student with another tokenizer, against one with the same one.

    python benchmarks/cross.py [--rounds 3] [--prompts 200] [--epochs 5] [--arms 0,1,2,3,4]
                               [--work FOLDER] [--table]

A pair where both exist: the teacher is SmolLM2-135M-Instruct, and two students are cut from it in
the same way. One keeps the teacher's tokenizer and learns by plain forward KL (arm 0). The other
has only the first half of its merges, and so of its ids: it writes the same text in more and other
tokens, and what the teacher says of a token that it lacks must be brought to its own. It learns
from nothing but the log-probability of the teacher's actual tokens (ALM, arm 1), or from top-k
distributions where both tokenizers agree on the bytes (arm 2). All learn the same texts, in the
same order and number of steps, from signals captured once.

The two begin at different heights, because the second one reads in pieces that it was not made for,
so a plain fall would flatter it. What counts is the share of the gap that is closed: the fall of
held-out nats per byte over what would bring the student down to the teacher, which reads in its own
tokens. Bytes are what all have in common. Arms 3 and 4 learn the text alone, with either tokenizer:
a signal that gives no more than that is worth nothing. Each seed orders the texts differently.

What was trained stays in the work folder, so that the same command finishes what it began.
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks._cross import tables
from benchmarks._cross.options import Options
from benchmarks._parts.command import Benchmark, run


def students(options: Options) -> dict[str, Any]:
    from benchmarks._cross.students import run as measure

    return measure(options)


CROSS = Benchmark(
    section="cross",
    parts={"students": students},
    options_type=Options,
    packages=("stillhouse", "torch", "transformers"),
    goals=tables.GOALS,
    tables=tables.tables,
)

if __name__ == "__main__":
    run(CROSS, __doc__)
