"""Local language models: load, prune, generate, read hidden states, save."""

from stillhouse.models._generate import (
    Generated,
    GenerationJob,
    generate,
    kv_cache_bytes_per_token,
)
from stillhouse.models._gguf import cache_dir, embedded_gguf, gguf_revision
from stillhouse.models._hidden import (
    PredictingBatch,
    output_head,
    predicting_batch,
    predicting_hidden_states,
    top_logprobs,
)
from stillhouse.models._load import LanguageModel, ModelFolder, load_chat, load_model, locate_model
from stillhouse.models._prune import evenly_spaced_layers, keep_layers, pruned
from stillhouse.models._save import save_model

__all__ = [
    "LanguageModel",
    "ModelFolder",
    "locate_model",
    "load_chat",
    "load_model",
    "save_model",
    "cache_dir",
    "embedded_gguf",
    "gguf_revision",
    "evenly_spaced_layers",
    "keep_layers",
    "pruned",
    "GenerationJob",
    "Generated",
    "generate",
    "kv_cache_bytes_per_token",
    "PredictingBatch",
    "predicting_batch",
    "predicting_hidden_states",
    "output_head",
    "top_logprobs",
]
