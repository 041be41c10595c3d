"""Small models of other families than `tiny_model`, in memory, with its tokenizer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from tiny_model import END_OF_TURN_ID, VOCABULARY_SIZE

from stillhouse.chat import ChatTokenizer
from stillhouse.models import LanguageModel

_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY_SIZE,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.4,
    "bos_token_id": 1,
    "eos_token_id": END_OF_TURN_ID,
    "pad_token_id": END_OF_TURN_ID,
}


def make(
    config: Any, folder: Path, *, end_of_turn_ids: Sequence[int] = (END_OF_TURN_ID,)
) -> LanguageModel:
    """A model of `config` with random weights and the tokenizer in `folder`."""
    state = torch.get_rng_state()
    torch.manual_seed(1)
    network = transformers.AutoModelForCausalLM.from_config(config)
    torch.set_rng_state(state)
    network.eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    chat = ChatTokenizer(tokenizer, end_of_turn_ids=end_of_turn_ids, name=config.model_type)
    return LanguageModel(network=network, chat=chat, name=config.model_type)


def llama(**changes: Any) -> Any:
    return transformers.LlamaConfig(**{**_SIZES, "tie_word_embeddings": True, **changes})


def gemma3(**changes: Any) -> Any:
    """Sliding and full attention in turn, with a window of 8 tokens.

    Its head is not tied: with random weights it would only repeat the last token.
    """
    types = ["sliding_attention", "full_attention"] * 2
    sliding = {"sliding_window": 8, "layer_types": types, "head_dim": 8}
    sliding |= {"tie_word_embeddings": False}
    return transformers.Gemma3TextConfig(**{**_SIZES, **sliding, **changes})


def mistral(**changes: Any) -> Any:
    """Sliding attention in all layers, which its configuration does not list one by one."""
    return transformers.MistralConfig(**{**_SIZES, "sliding_window": 8, **changes})


def qwen2(**changes: Any) -> Any:
    """Biases in attention, full attention throughout."""
    return transformers.Qwen2Config(**{**_SIZES, "tie_word_embeddings": False, **changes})


def qwen3(**changes: Any) -> Any:
    """Norms of queries and keys, heads wider than their share."""
    wide = {"head_dim": 16, "use_sliding_window": False, "tie_word_embeddings": True}
    return transformers.Qwen3Config(**{**_SIZES, **wide, **changes})


FAMILIES = {"llama": llama, "gemma3": gemma3, "mistral": mistral, "qwen2": qwen2}
