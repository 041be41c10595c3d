"""Tiny encoders with random weights and a tokenizer of whole words, as published ones are saved."""

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

WORDS = [
    *(
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "card",
        "lost",
        "my",
        "stolen",
        "rate",
        "exchange",
        "what",
    ),
    *("is", "the", "top", "up", "by", "cash", "red", "green", "blue", "car", "sky", "a"),
]

_BERT: dict[str, Any] = {
    "vocab_size": len(WORDS),
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 24,
    "pad_token_id": 0,
    "initializer_range": 0.4,
}
_CONFIGS = {
    "bert": lambda: transformers.BertConfig(**_BERT),
    "roberta": lambda: transformers.RobertaConfig(**{**_BERT, "max_position_embeddings": 25}),
    "distilbert": lambda: transformers.DistilBertConfig(
        vocab_size=len(WORDS),
        dim=32,
        n_layers=2,
        n_heads=4,
        hidden_dim=48,
        max_position_embeddings=24,
        initializer_range=0.4,
    ),
}
FAMILIES = tuple(_CONFIGS)


def make_encoder(folder: Path, family: str = "bert", *, seed: int = 1) -> Path:
    """Save an encoder of this family, with its tokenizer, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = transformers.AutoModel.from_config(_CONFIGS[family]())
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):  # they are zero at first, and would hide a mistake
                torch.nn.init.normal_(parameter, std=0.2)
    network.save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
