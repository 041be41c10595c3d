"""TRL's GKDTrainer on the teacher's text: forward KL with the teacher running beside."""

import _trl
from datasets import Dataset
from transformers import AutoTokenizer
from trl.experimental.gkd import GKDConfig, GKDTrainer


def chats() -> Dataset:
    return Dataset.from_list(
        [
            {
                "messages": [
                    *row["messages"],
                    {"role": "assistant", "content": row["completion"]},
                ]
            }
            for row in _trl.rows()
        ]
    )


if __name__ == "__main__":
    trainer = _trl.in_order(GKDTrainer)(
        model=_trl.load("student"),
        teacher_model=_trl.load("teacher"),
        args=GKDConfig(**_trl.settings(lmbda=0.0, beta=0.0, temperature=1.0)),
        train_dataset=chats(),
        processing_class=AutoTokenizer.from_pretrained(_trl.FOLDER / "teacher"),
    )
    _trl.run(trainer, "trl")
