"""TRL's DistillationTrainer: on the student's own texts, which it writes in every step."""

import _trl
from _turn import report
from datasets import Dataset
from transformers import AutoTokenizer
from trl import DistillationConfig, DistillationTrainer

MAX_TOKENS = 96  # as the teacher's texts


def tokens_of_steps(trainer: DistillationTrainer) -> list[int]:
    """Tokens of the texts that were written, from its own log."""
    means = [line["completions/mean_length"] for line in trainer.state.log_history[:-1]]
    return [round(mean * _trl.BATCH_SIZE) for mean in means]


if __name__ == "__main__":
    tokenizer = AutoTokenizer.from_pretrained(_trl.FOLDER / "teacher", padding_side="left")
    trainer = _trl.in_order(DistillationTrainer)(
        model=_trl.load("student"),
        teacher_model=_trl.load("teacher"),
        args=DistillationConfig(**_trl.settings(beta=0.0, max_completion_length=MAX_TOKENS)),
        train_dataset=Dataset.from_list([{"prompt": row["messages"]} for row in _trl.rows()]),
        processing_class=tokenizer,
    )
    seconds = _trl.timed(trainer)
    report("trl", seconds, tokens_of_steps(trainer))
