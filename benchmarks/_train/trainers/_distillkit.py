"""What both ways of DistillKit have in common: one KL against a top-k of the teacher."""

from typing import Any

import _trl
from datasets import Dataset
from distillkit.configuration import DistillationRunConfig
from distillkit.signals import SignalSource
from distillkit.trainer import DistillationTrainer
from transformers import AutoTokenizer
from trl import SFTConfig

TOP_K = 32


def config(teacher: dict[str, Any]) -> DistillationRunConfig:
    """Its run file, as far as the trainer reads it."""
    return DistillationRunConfig.model_validate(
        {
            "model": str(_trl.FOLDER / "student"),
            "dataset": {"train_dataset": {"disk_path": str(_trl.FOLDER)}},
            "teacher": teacher,
            "sequence_length": 1024,
            "output_path": str(_trl.FOLDER),
            "use_flash_attention": False,
            "loss_functions": [
                {
                    "function": "kl",
                    "weight": 1.0,
                    "temperature": 1.0,
                    "missing_probability_handling": "zero",
                }
            ],
        }
    )


def train(
    teacher: dict[str, Any], source: SignalSource, rows: list[dict[str, Any]], collator: Any
) -> None:
    """Train on the rows and report."""
    student = _trl.load("student")
    arguments = _trl.settings(
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    trainer = _trl.in_order(DistillationTrainer)(
        student,
        config(teacher),
        source,
        student.config.vocab_size,
        train_dataset=Dataset.from_list(rows),
        args=SFTConfig(**arguments),
        data_collator=collator,
        processing_class=AutoTokenizer.from_pretrained(_trl.FOLDER / "teacher"),
    )
    _trl.run(trainer, "distillkit")


def padded(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A batch of ids, labels and, where the rows have one, a stored top-k; padded on the right."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    fillers = {"input_ids": 0, "attention_mask": 0, "labels": -100}
    return {
        name: pad_sequence(
            [torch.as_tensor(row[name]) for row in rows],
            batch_first=True,
            padding_value=fillers.get(name, 0),
        )
        for name in rows[0]
    }


def labelled_rows() -> list[dict[str, Any]]:
    """The texts with labels on the completion."""
    return [
        {
            "input_ids": row["prompt_ids"] + row["completion_ids"],
            "attention_mask": [1] * (len(row["prompt_ids"]) + len(row["completion_ids"])),
            "labels": [-100] * len(row["prompt_ids"]) + row["completion_ids"],
        }
        for row in _trl.rows()
    ]
