"""Trained completion tokens per second and peak memory of each trainer, in turns.

All learn the same texts in the same batches, sorted by length, in float32 with full fine-tuning.
The first step of a turn is not counted: it makes the optimiser's state. Beside each step of ours
stands the arithmetic that it needs and the rate of a large matrix product at that moment.
"""

import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks._parts.processes import measure
from benchmarks._parts.spread import spread
from benchmarks._train import child
from benchmarks._train.options import Options
from benchmarks._train.peers import (
    GKD,
    GKD_AS_IT_COMES,
    OURS,
    OURS_BFLOAT16,
    Installed,
    find_trainers,
)

Turn = dict[str, Any]


def run(options: Options) -> dict[str, Any]:
    installed = find_trainers(options.pythons)
    turns: dict[str, list[Turn]] = {one.trainer.name: [] for one in installed}
    with tempfile.TemporaryDirectory() as folder:
        sizes = (options.num_texts, options.batch_size, options.keep_layers)
        child.run("materials", folder, *sizes)
        for number in range(options.rounds):
            for one in installed:
                if one.trainer.is_slow and number > 0:
                    continue
                turn = take_turn(one, Path(folder), options)
                turns[one.trainer.name].append(turn)
                print(f"{number} {one.trainer.name}: {tokens_per_s(turn):.1f} /s", flush=True)
    return {
        "rounds": options.rounds,
        "steps": options.steps,
        "batch_size": options.batch_size,
        "keep_layers": options.keep_layers,
        "trainers": {one.trainer.name: figures(one, turns[one.trainer.name]) for one in installed},
        **shares(turns[OURS.name]),
        **ratios(turns),
    }


def take_turn(one: Installed, folder: Path, options: Options) -> Turn:
    """One process of a trainer, with what it printed and its peak of memory."""
    command = one.command(folder, options.steps + 1, options.batch_size)
    measured = measure(command).checked()
    turn: Turn = json.loads(measured.stdout.strip().rpartition("\n")[2])
    return {**turn, "peak_rss_mb": measured.peak_rss_mb}


def tokens_per_s(turn: Turn) -> float:
    """Over all steps but the first."""
    steps = turn["steps"][1:]
    return float(sum(step["tokens"] for step in steps) / sum(step["seconds"] for step in steps))


def figures(one: Installed, turns: list[Turn]) -> dict[str, Any]:
    """The entry of a trainer."""
    return {
        "versions": one.versions,
        "learns_from": one.trainer.words,
        "tokens_per_s": spread([tokens_per_s(turn) for turn in turns]),
        "peak_rss_mb": spread([turn["peak_rss_mb"] for turn in turns]),
        "tokens_per_step": statistics.mean(
            step["tokens"] for turn in turns for step in turn["steps"][1:]
        ),
    }


def shares(turns: list[Turn]) -> dict[str, Any]:
    """What part of the machine's matrix rate our steps sustain; each against that moment's."""
    rows = [
        (gflop / step["seconds"], rate)
        for turn in turns
        for step, gflop, rate in list(
            zip(turn["steps"], turn["gflop"], turn["matmul_gflops"], strict=True)
        )[1:]
    ]
    return {
        "sustained_gflops": spread([sustained for sustained, _ in rows]),
        "matmul_gflops": spread([rate for _, rate in rows]),
        "share_of_matmul": spread([sustained / rate for sustained, rate in rows]),
    }


def ratios(turns: dict[str, list[Turn]]) -> dict[str, Any]:
    """How many times as fast ours was as each other, round by round."""
    others = {
        name: _times(turns[OURS.name], taken) for name, taken in turns.items() if name != OURS.name
    }
    found: dict[str, Any] = {"times_as_fast_as": others}
    if GKD.name in others:
        found["times_gkd"] = others[GKD.name]
    if GKD_AS_IT_COMES.name in turns and OURS_BFLOAT16.name in turns:
        # Both compute their layers in bfloat16: TRL's default.
        ours = turns[OURS_BFLOAT16.name]
        found["times_gkd_as_it_comes"] = _times(ours, turns[GKD_AS_IT_COMES.name])
    return found


def _times(ours: list[Turn], theirs: list[Turn]) -> dict[str, float]:
    """Of the rounds that both took part in."""
    pairs = zip(ours, theirs, strict=False)
    return spread([tokens_per_s(a) / tokens_per_s(b) for a, b in pairs])
