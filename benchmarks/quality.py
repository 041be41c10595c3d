"""How close students come to their teacher: by its text, by its signal, and on their own texts.

    python benchmarks/quality.py [--rounds 3] [--prompts 800] [--temperature 1]
                                 [--precision bfloat16] [--work FOLDER] [--table]

The teacher is SmolLM2-135M-Instruct, the student 12 of its 30 layers. Both learn the demo's news,
as texts drawn at one temperature. `seqkd` learns the text and `kd` the captured signal, in the same
order and so over the same tokens. `onpolicy` goes on from `kd` with a live teacher and texts that
the student draws; `kd_longer` goes on from `kd` as it began, over as many tokens as that.
Everything is measured on prompts about subjects that no training prompt has.

About 90 minutes on two cores that also do other work. Each seed's students are kept in the work
folder as soon as they are measured, and a training that was stopped goes on, so that the same
command finishes what it began.
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks._parts.command import Benchmark, run
from benchmarks._quality import tables
from benchmarks._quality.options import Options

SIZES = (
    "prompts",
    "held_out",
    "temperature",
    "layers",
    "epochs",
    "on_policy_epochs",
    "precision",
    "draws",
)


def students(options: Options) -> dict[str, Any]:
    from benchmarks._quality.scores import scores_of
    from benchmarks._quality.students import ARMS, TEACHER, make_materials
    from benchmarks._quality.verdicts import arm_entry, entry_of

    from stillhouse.models import load_model

    materials = make_materials(options)
    teacher = load_model(TEACHER.removeprefix("local:"))
    seeds = []
    for seed in range(options.rounds):
        made = {}
        for arm in ARMS:
            made[arm] = scores_of(arm, seed, materials, teacher, options)
            figures = arm_entry(made[arm])
            print(f"seed {seed}, {arm}: KL {figures['text_kl']['value']:.3f},", end=" ")
            print(f"on own texts {figures['own_kl']['value']:.3f} nats", flush=True)
        seeds.append(made)
    sizes = {name: getattr(options, name) for name in SIZES}
    return {"sizes": sizes, **entry_of(seeds)}


QUALITY = Benchmark(
    section="quality",
    parts={"students": students},
    options_type=Options,
    packages=("stillhouse", "torch", "transformers"),
    goals=tables.GOALS,
    tables=tables.tables,
)

if __name__ == "__main__":
    run(QUALITY, __doc__)
