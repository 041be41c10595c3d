"""TRL's SFTTrainer on the teacher's text."""

import _trl
from datasets import Dataset
from transformers import AutoTokenizer
from trl import SFTConfig, SFTTrainer

if __name__ == "__main__":
    trainer = _trl.in_order(SFTTrainer)(
        model=_trl.load("student"),
        args=SFTConfig(**_trl.settings(completion_only_loss=True)),
        train_dataset=Dataset.from_list(_trl.token_rows()),
        processing_class=AutoTokenizer.from_pretrained(_trl.FOLDER / "teacher"),
    )
    _trl.run(trainer, "trl")
