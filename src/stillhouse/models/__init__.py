"""Local language models: load, prune, generate, read hidden states, save.

Finding a model and reading what its files say loads no torch; what computes does, when it is asked
for.
"""

import importlib
from typing import TYPE_CHECKING, Any

from stillhouse.models._constrained import Constraint, Grammar
from stillhouse.models._constrained_json import json_grammar
from stillhouse.models._constrained_labels import LabelGrammar
from stillhouse.models._gguf import embedded_gguf, gguf_revision
from stillhouse.models._gguf_file import GgufHeader, read_gguf_header
from stillhouse.models._label_trie import LabelTrie, label_trie
from stillhouse.models._llamacpp import (
    LlamaServing,
    check_llama_server,
    start_llama_server,
)
from stillhouse.models._load import (
    LanguageModel,
    ModelFolder,
    load_chat,
    load_model,
    locate_model,
    quiet_transformers,
)
from stillhouse.models._save import save_model
from stillhouse.models._start import START_NAME, StudentStart

if TYPE_CHECKING:
    from stillhouse.models._adapter import Adapter
    from stillhouse.models._choice import KeptSizes, choose_start, random_start
    from stillhouse.models._generate import (
        Generated,
        GenerationJob,
        generate,
        kv_cache_bytes_per_token,
    )
    from stillhouse.models._hidden import (
        PredictingBatch,
        output_head,
        predicting_batch,
        predicting_hidden_states,
        top_logprobs,
    )
    from stillhouse.models._importance import (
        WidthImportance,
        layer_change,
        layer_loss_rise,
        width_importance,
    )
    from stillhouse.models._label_trie_scores import (
        label_logprobs,
        trie_logprobs,
        trie_probabilities,
    )
    from stillhouse.models._owned import load_owned_model
    from stillhouse.models._prune import (
        begin_student,
        evenly_spaced_layers,
        keep_layers,
        pruned,
    )
    from stillhouse.models._session import GenerationSession, NewToken

__all__ = [
    "LanguageModel",
    "ModelFolder",
    "locate_model",
    "load_chat",
    "load_model",
    "quiet_transformers",
    "load_owned_model",
    "save_model",
    "embedded_gguf",
    "gguf_revision",
    "GgufHeader",
    "read_gguf_header",
    "LlamaServing",
    "check_llama_server",
    "start_llama_server",
    "evenly_spaced_layers",
    "keep_layers",
    "pruned",
    "START_NAME",
    "StudentStart",
    "begin_student",
    "KeptSizes",
    "choose_start",
    "random_start",
    "WidthImportance",
    "width_importance",
    "layer_change",
    "layer_loss_rise",
    "Adapter",
    "GenerationJob",
    "Generated",
    "generate",
    "kv_cache_bytes_per_token",
    "GenerationSession",
    "NewToken",
    "Grammar",
    "Constraint",
    "LabelGrammar",
    "json_grammar",
    "LabelTrie",
    "label_trie",
    "label_logprobs",
    "trie_logprobs",
    "trie_probabilities",
    "PredictingBatch",
    "predicting_batch",
    "predicting_hidden_states",
    "output_head",
    "top_logprobs",
]

_NEED_TORCH = {
    "_generate": ("Generated", "GenerationJob", "generate", "kv_cache_bytes_per_token"),
    "_hidden": (
        "PredictingBatch",
        "output_head",
        "predicting_batch",
        "predicting_hidden_states",
        "top_logprobs",
    ),
    "_label_trie_scores": ("label_logprobs", "trie_logprobs", "trie_probabilities"),
    "_adapter": ("Adapter",),
    "_choice": ("KeptSizes", "choose_start", "random_start"),
    "_importance": ("WidthImportance", "layer_change", "layer_loss_rise", "width_importance"),
    "_owned": ("load_owned_model",),
    "_session": ("GenerationSession", "NewToken"),
    "_prune": ("begin_student", "evenly_spaced_layers", "keep_layers", "pruned"),
}


def __getattr__(name: str) -> Any:
    for module, names in _NEED_TORCH.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
