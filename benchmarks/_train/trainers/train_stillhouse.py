"""Our own loop: one optimiser step after another, on a captured signal or on the text alone.

    python train_stillhouse.py FOLDER STEPS BATCH_SIZE {forward_kl,sft} [PRECISION]

Beside each step it tells the arithmetic that the step needs, and the rate of a large matrix
product right after it, so that both are of the same moment.
"""

import sys
from pathlib import Path
from typing import Any

from _turn import StepClock, report

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from benchmarks._machine import matmul_gflops
from benchmarks._train.flops import step_gflop
from benchmarks._train.lessons import guide_of, lessons_of
from benchmarks._train.materials import Materials

from stillhouse.models import load_model
from stillhouse.train import TrainConfig
from stillhouse.train._parts import parts_of
from stillhouse.train._ranks import ALONE
from stillhouse.train._step import Stepper


def main(
    folder: Path, num_steps: int, batch_size: int, objective: str, precision: str = "float32"
) -> None:
    materials = Materials(folder)
    config = TrainConfig.model_validate(
        {"objective": objective, "device": {"precision": precision}}
    )
    network = load_model(materials.student).network
    lessons = lessons_of(materials)
    guide = guide_of(materials, objective)
    stepper = Stepper(network, config, num_steps)
    clock, tokens = StepClock(), []
    more: dict[str, list[Any]] = {"gflop": [], "matmul_gflops": [], "read_tokens": []}
    for step in range(num_steps):
        batch = [lessons[(step * batch_size + row) % len(lessons)] for row in range(batch_size)]
        clock.begin()
        parts = parts_of(batch, config, ALONE)
        result = stepper.learn(step, parts, guide)
        stepper.update(step)
        clock.end_step()
        tokens.append(result.num_tokens)
        more["read_tokens"].append(result.num_padded_tokens)
        more["gflop"].append(sum(step_gflop(network, part) for part in parts))
        more["matmul_gflops"].append(matmul_gflops())
    report("stillhouse", clock.seconds, tokens, **more)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
