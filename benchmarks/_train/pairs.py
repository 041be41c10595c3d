"""Cached KD beside SFT, both ours: the same batch in turn, step by step, in one process.

A machine that slows down slows both, so that their ratio is sharper than two runs could be.
"""

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks._parts.spread import spread
from benchmarks._train import child
from benchmarks._train.options import Options

_WARM_UP = 2


def run(options: Options) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        sizes = (options.num_texts, options.batch_size, options.keep_layers)
        child.run("materials", folder, *sizes)
        measured = child.run("pairs", folder, options.pairs, options.batch_size)
    found: dict[str, Any] = json.loads(measured.stdout.strip().rpartition("\n")[2])
    return {"pairs": options.pairs, **found}


def print_pairs(folder: Path, num_pairs: int, batch_size: int) -> None:
    """The task of the child."""
    from benchmarks._train.lessons import guide_of, lessons_of
    from benchmarks._train.materials import Materials

    from stillhouse.models import load_model
    from stillhouse.train import TrainConfig
    from stillhouse.train._parts import parts_of
    from stillhouse.train._ranks import ALONE
    from stillhouse.train._step import Stepper

    materials = Materials(folder)
    lessons = lessons_of(materials)
    sides = {
        name: (
            Stepper(load_model(materials.student).network, config, num_pairs + _WARM_UP),
            guide_of(materials, name),
            config,
        )
        for name, config in {n: TrainConfig(objective=n) for n in ("forward_kl", "sft")}.items()
    }
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    for step in range(num_pairs + _WARM_UP):
        batch = [lessons[(step * batch_size + row) % len(lessons)] for row in range(batch_size)]
        for name, (stepper, guide, config) in sides.items():
            started_s = time.perf_counter()
            result = stepper.learn(step, parts_of(batch, config, ALONE), guide)
            stepper.update(step)
            speeds[name].append(result.num_tokens / (time.perf_counter() - started_s))
    counted = {name: values[_WARM_UP:] for name, values in speeds.items()}
    ratios = [kd / sft for kd, sft in zip(counted["forward_kl"], counted["sft"], strict=True)]
    rates = {name: spread(values) for name, values in counted.items()}
    print(json.dumps({"tokens_per_s": rates, "kd_over_sft": spread(ratios)}))
