"""Peak memory of head and loss, and of a whole step of full fine-tuning.

Head and loss: the growth of the peak over inputs, weights and gradients for 4 x 512 positions at
V = 49,152, each form in a process of its own. Step: the peak of a process that takes three steps
on 4 x 512 tokens with all 135M parameters of SmolLM2, all positions learnt.
"""

import ctypes
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks._train import child
from benchmarks._train.options import Options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stillhouse.losses import TopKTarget
    from stillhouse.models import PredictingBatch
    from stillhouse.train._lessons import Lesson

ROWS, LENGTH = 4, 512
POSITIONS = ROWS * LENGTH
VOCABULARY, HIDDEN, TOP_K = 49_152, 576, 32
NUM_STEPS = 3
FORMS = ("recomputed", "parts", "whole")
"""In parts of one text whose layers run twice, in such parts, and all at once."""


def run(options: Options) -> dict[str, Any]:
    steps = {
        f"{objective}, {parts}": child.run("step", objective, parts)
        for objective in ("forward_kl", "sft")
        for parts in FORMS
    }
    heads = {form: child.run("head", form) for form in ("tiled", "dense")}
    return {
        "head_extra_mb": {name: json.loads(one.stdout)["mb"] for name, one in heads.items()},
        "step_rss_mb": {name: round(one.peak_rss_mb, 1) for name, one in steps.items()},
        "step_s": {name: json.loads(one.stdout)["seconds"] for name, one in steps.items()},
    }


def print_head(form: str) -> None:
    """The task of the child: megabytes by which the peak grows."""
    import torch

    from stillhouse.losses import Head, Objective, head_loss_and_grad, loss_of_logits

    torch.manual_seed(0)
    hidden_ND = torch.randn(POSITIONS, HIDDEN, requires_grad=True)
    weight_VD = (torch.randn(VOCABULARY, HIDDEN) / 24).requires_grad_()
    # Filled, not zeroed: zeroed pages are not resident until they are written.
    weight_VD.grad = torch.full_like(weight_VD, 1e-9)
    hidden_ND.grad = torch.full_like(hidden_ND, 1e-9)
    target = _random_target(POSITIONS)
    weight_N = torch.full((POSITIONS,), 1 / POSITIONS)
    objective = Objective("forward_kl")
    torch.randn(64, 64) @ torch.randn(64, 64)  # the library's own buffers are not the loss's
    before = _forget_peak()
    if form == "tiled":
        head = Head(weight_VD.detach(), weight_VD.grad)
        head_loss_and_grad(hidden_ND, head, target, objective, weight_N=weight_N)
    else:
        loss_N = loss_of_logits(hidden_ND @ weight_VD.T, target, objective)
        (loss_N * weight_N).sum().backward()
    print(json.dumps({"mb": (_peak_bytes() - before) / 1e6}))


def print_step(objective: str, parts: str) -> None:
    """The task of the child: seconds of the last step; its parent sees the peak."""
    import time

    import torch

    from stillhouse.chat import EncodedExample
    from stillhouse.models import load_model
    from stillhouse.train import TrainConfig
    from stillhouse.train._guides import own_tokens
    from stillhouse.train._lessons import Lesson
    from stillhouse.train._parts import parts_of
    from stillhouse.train._ranks import ALONE
    from stillhouse.train._step import Stepper

    torch.manual_seed(0)
    ids = torch.randint(1_000, VOCABULARY, (ROWS, LENGTH + 1)).tolist()
    lessons = [Lesson(EncodedExample(tuple(row), num_prompt=1)) for row in ids]
    config = TrainConfig.model_validate(
        {
            "objective": objective,
            "part_tokens": POSITIONS if parts == "whole" else LENGTH,
            "device": {"recompute": parts == "recomputed"},
        }
    )
    stepper = Stepper(load_model("").network, config, NUM_STEPS)
    guide = own_tokens if objective == "sft" else _random_guide
    for step in range(NUM_STEPS):
        started_s = time.perf_counter()
        stepper.learn(step, parts_of(lessons, config, ALONE), guide)
        stepper.update(step)
    print(json.dumps({"seconds": time.perf_counter() - started_s}))


def _random_guide(lessons: "Sequence[Lesson]", batch: "PredictingBatch") -> "TopKTarget":
    return _random_target(len(batch.target_ids_N))


def _random_target(num_rows: int) -> "TopKTarget":
    import torch

    from stillhouse.losses import TopKTarget

    ids_NK = torch.stack([torch.randperm(VOCABULARY)[:TOP_K] for _ in range(num_rows)])
    logprobs_NK = torch.log_softmax(torch.randn(num_rows, TOP_K + 1), dim=1)
    return TopKTarget(ids_NK, logprobs_NK[:, :TOP_K], logprobs_NK[:, TOP_K])


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
