"""What the trainers built on TRL have in common: settings, order of texts, clock, count of tokens.

They get every advantage that costs them nothing: batches sorted by length, which they would not
make by themselves, no recomputed activations, no saving and no reporting. Called with
`as_it_comes` they keep their own order, precision and recomputation.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from _turn import StepClock, report
from transformers import AutoModelForCausalLM, TrainerCallback

FOLDER, NUM_STEPS, BATCH_SIZE = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
IS_AS_IT_COMES = "as_it_comes" in sys.argv[4:]
_GIVEN = {"gradient_checkpointing": False, "bf16": False}


class _ClockCallback(TrainerCallback):
    def __init__(self) -> None:
        self.clock = StepClock()

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        self.clock.begin()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.clock.end_step()


class CountingCollator:
    """Remembers how many tokens of each batch have labels."""

    def __init__(self, collator: Any) -> None:
        self._collator = collator
        self.tokens: list[int] = []

    def __call__(self, rows: Any) -> Any:
        batch = self._collator(rows)
        self.tokens.append(int((batch["labels"] != -100).sum()))
        return batch


def rows() -> list[dict[str, Any]]:
    """The texts of all steps."""
    lines = (FOLDER / "texts.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line) for line in lines]
    return [texts[number % len(texts)] for number in range(NUM_STEPS * BATCH_SIZE)]


def token_rows() -> list[dict[str, Any]]:
    """The texts as ids, with the completion marked."""
    return [
        {
            "input_ids": row["prompt_ids"] + row["completion_ids"],
            "completion_mask": [0] * len(row["prompt_ids"]) + [1] * len(row["completion_ids"]),
        }
        for row in rows()
    ]


def load(name: str) -> Any:
    """The `teacher` or the `student`, in float32."""
    return AutoModelForCausalLM.from_pretrained(FOLDER / name, dtype=torch.float32)


def settings(**more: Any) -> dict[str, Any]:
    """Arguments of any trainer's configuration."""
    return {
        "output_dir": tempfile.mkdtemp(),
        "per_device_train_batch_size": BATCH_SIZE,
        "max_steps": NUM_STEPS,
        "learning_rate": 1e-4,
        **({} if IS_AS_IT_COMES else _GIVEN),
        "use_cpu": True,
        "save_strategy": "no",
        "report_to": [],
        "logging_steps": 1,
        "disable_tqdm": True,
        **more,
    }


def in_order(trainer_class: Any) -> Any:
    """The trainer, with batches as they lie in the file."""
    if IS_AS_IT_COMES:
        return trainer_class

    class InOrder(trainer_class):  # type: ignore[misc]
        def _get_train_sampler(self, dataset: Any = None) -> Any:
            return torch.utils.data.SequentialSampler(dataset or self.train_dataset)

    return InOrder


def run(trainer: Any, package: str) -> None:
    """Train and report; the completion tokens are those that the collator gave labels."""
    counting = CountingCollator(trainer.data_collator)
    trainer.data_collator = counting
    seconds = timed(trainer)
    report(package, seconds, counting.tokens[:NUM_STEPS])


def timed(trainer: Any) -> list[float]:
    """Train; returns the seconds of each step."""
    callback = _ClockCallback()
    trainer.add_callback(callback)
    trainer.train()
    return callback.clock.seconds
