"""Training throughput of cached distillation against SFT, and memory of head and loss.

    python benchmarks/train.py [--steps 12] [--json benchmarks/results/train.json]

Throughput: the same student (SmolLM2-135M-Instruct pruned to 12 layers), examples and loop, once on
a captured signal and once on the teacher's text; the two take turns step by step and the median of
the per-pair ratios counts, so a machine that slows down slows both.

Memory: the growth of a process's peak resident size while head and loss of 4 x 512 positions at
V = 49,152 run once, each form in a process of its own.
"""

import argparse
import ctypes
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _machine import machine

MEMORY_POSITIONS = 4 * 512
VOCABULARY = 49_152
HIDDEN = 576
TOP_K = 32
STUDENT_LAYERS = 12
NUM_PROMPTS = 96
BATCH_SIZE = 16

STORY = (
    "Officials in town number {} said on Monday that a new bridge over the river will open in "
    "{} months, after {} years of work and several delays."
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=12, help="steps of each kind")
    parser.add_argument("--json", type=Path, help="where to write the result")
    parser.add_argument("--memory-of", choices=["chunked", "dense"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        print(measure_memory(arguments.memory_of))
        return
    result = {
        "machine": machine(),
        "head_and_loss_extra_mb": {
            form: float(run_child(form)) / 1e6 for form in ("chunked", "dense")
        },
        "throughput": measure_throughput(arguments.steps),
    }
    print(json.dumps(result, indent=2))
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


def run_child(form: str) -> str:
    command = [sys.executable, __file__, "--memory-of", form]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def measure_memory(form: str) -> int:
    """Bytes by which the peak grows over inputs, weights and their gradients."""
    import torch

    from stillhouse.losses import Head, Objective, TopKTarget, head_loss_and_grad, loss_of_logits

    torch.manual_seed(0)
    hidden_ND = torch.randn(MEMORY_POSITIONS, HIDDEN, requires_grad=True)
    weight_VD = (torch.randn(VOCABULARY, HIDDEN) / 24).requires_grad_()
    # Filled, not zeroed: zeroed pages are not resident until they are written.
    weight_VD.grad = torch.full_like(weight_VD, 1e-9)
    hidden_ND.grad = torch.full_like(hidden_ND, 1e-9)
    ids_NK = torch.stack([torch.randperm(VOCABULARY)[:TOP_K] for _ in range(MEMORY_POSITIONS)])
    logprobs_NK = torch.log_softmax(torch.randn(MEMORY_POSITIONS, TOP_K + 1), dim=1)
    target = TopKTarget(ids_NK, logprobs_NK[:, :TOP_K], logprobs_NK[:, TOP_K])
    objective = Objective("forward_kl")
    weight_N = torch.full((MEMORY_POSITIONS,), 1 / MEMORY_POSITIONS)
    torch.randn(64, 64) @ torch.randn(64, 64)  # the library's own buffers are not the loss's
    before = _forget_peak()
    if form == "chunked":
        head = Head(weight_VD.detach(), weight_VD.grad)
        head_loss_and_grad(hidden_ND, head, target, objective, weight_N=weight_N)
    else:
        loss_N = loss_of_logits(hidden_ND @ weight_VD.T, target, objective)
        (loss_N * weight_N).sum().backward()
    return _peak_bytes() - before


def measure_throughput(num_steps: int) -> dict[str, Any]:
    """Completion tokens per second of both objectives, and the median of their ratio."""
    from stillhouse.collect import CaptureConfig, CollectConfig, capture, collect
    from stillhouse.curate import CurateConfig, curate
    from stillhouse.records import Message, Prompt, Sampling

    prompts = [
        Prompt(id=str(n), messages=(Message(role="user", content=STORY.format(n, n % 7, n % 5)),))
        for n in range(NUM_PROMPTS)
    ]
    sampling = Sampling(temperature=1.0, max_tokens=24, top_logprobs=TOP_K)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        collect(prompts, root / "c", teacher="local:", config=CollectConfig(sampling=sampling))
        curate(root / "c", root / "d", config=CurateConfig(drop_truncated=False))
        capture(
            root / "d", root / "s", teacher="local:", config=CaptureConfig(), completions=root / "c"
        )
        return _race(root / "d", root / "s", num_steps)


def _race(dataset: Path, signal: Path, num_steps: int) -> dict[str, Any]:
    from stillhouse.artifacts import open_artifact
    from stillhouse.models import load_model, pruned
    from stillhouse.records import Example
    from stillhouse.signal import SignalReader
    from stillhouse.train import TrainConfig
    from stillhouse.train._guides import CapturedSignal, own_tokens
    from stillhouse.train._lessons import Lesson
    from stillhouse.train._step import Stepper

    base = load_model("")
    chat = base.chat
    rows = open_artifact(dataset).rows("examples", Example)
    examples = [
        Lesson(chat.encode_example(r.messages, r.completion, r.completion_token_ids)) for r in rows
    ]
    targets = {
        "forward_kl": CapturedSignal(SignalReader(open_artifact(signal))),
        "sft": own_tokens,
    }
    steppers = {
        name: Stepper(
            pruned(base, STUDENT_LAYERS, name=name).network, TrainConfig(objective=name), num_steps
        )
        for name in targets
    }
    speeds: dict[str, list[float]] = {name: [] for name in targets}
    for step in range(num_steps):
        first = step * BATCH_SIZE % (len(examples) - BATCH_SIZE)
        batch = [examples[first : first + BATCH_SIZE]]
        for name, stepper in steppers.items():
            started_s = time.perf_counter()
            result = stepper.learn(step, batch, targets[name])
            stepper.update(step)
            speeds[name].append(result.num_tokens / (time.perf_counter() - started_s))
    ratios = [kd / sft for kd, sft in zip(speeds["forward_kl"], speeds["sft"], strict=True)]
    return {
        "completion_tokens_per_s": {
            name: statistics.median(values) for name, values in speeds.items()
        },
        "kd_over_sft": {
            "median": statistics.median(ratios[2:]),
            "min": min(ratios[2:]),
            "max": max(ratios[2:]),
            "pairs": len(ratios[2:]),
        },
    }


def _forget_peak() -> int:
    """Set the peak resident size back to the present one, which is returned (Linux)."""
    # Freed memory that the allocator keeps would hide what comes next.
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _peak_bytes()


def _peak_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmHWM line; this measurement needs Linux")


if __name__ == "__main__":
    main()
