"""What llama.cpp must know of a model beside its weights: the family and its sizes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gguf
import numpy as np

from stillhouse.errors import ConfigError
from stillhouse.export._gguf._k_quants import Floats

_FAMILIES = {
    "llama": gguf.MODEL_ARCH.LLAMA,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "qwen3": gguf.MODEL_ARCH.QWEN3,
}
_ROPE_FACTORS = "rope_freqs.weight"


@dataclass(frozen=True)
class Architecture:
    """A dense decoder as a GGUF file describes it.

    Attributes:
        family: In gguf-py.
        num_layers: Decoder layers.
        num_heads: Of queries.
        num_key_value_heads: Of keys and values.
        is_tied: Whether the head is the token embedding.
        metadata: Scalars by key, without the family's prefix.
        extra: Tensors that the file has and the network does not.
    """

    family: Any
    num_layers: int
    num_heads: int
    num_key_value_heads: int
    is_tied: bool
    metadata: Mapping[str, int | float | str]
    extra: Mapping[str, Floats] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What the file calls the family, and the prefix of its keys."""
        return str(gguf.MODEL_ARCH_NAMES[self.family])

    @property
    def turns_halves(self) -> bool:
        """Whether llama.cpp rotates neighbouring pairs, where transformers rotates the halves.

        The rows of queries and keys are then kept in another order (see `pairs_first`).
        """
        return bool(self.family == gguf.MODEL_ARCH.LLAMA)


def read_architecture(config: Any, *, name: str) -> Architecture:
    """The description of a `transformers` configuration.

    Args:
        config: Of a causal language model.
        name: What to call the model in errors.

    Raises:
        ConfigError: GGUF files of its family, or with one of its features, are not written here.
    """
    kind = getattr(config, "model_type", None)
    if kind not in _FAMILIES:
        raise ConfigError(
            f"{name} is a {kind!r}; GGUF files are written of {', '.join(_FAMILIES)}. "
            "Export it as safetensors and convert it with llama.cpp's own script."
        )
    _refuse_features(config, name=name)
    heads = int(config.num_attention_heads)
    head_width = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    rope, extra = _rope(config, head_width, name=name)
    return Architecture(
        family=_FAMILIES[kind],
        num_layers=int(config.num_hidden_layers),
        num_heads=heads,
        num_key_value_heads=int(config.num_key_value_heads),
        is_tied=bool(config.tie_word_embeddings),
        metadata={
            "vocab_size": int(config.vocab_size),
            "context_length": int(config.max_position_embeddings),
            "embedding_length": int(config.hidden_size),
            "block_count": int(config.num_hidden_layers),
            "feed_forward_length": int(config.intermediate_size),
            "attention.head_count": heads,
            "attention.head_count_kv": int(config.num_key_value_heads),
            "attention.key_length": head_width,
            "attention.value_length": head_width,
            "attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
            "rope.dimension_count": head_width,
            **rope,
        },
        extra=extra,
    )


def _refuse_features(config: Any, *, name: str) -> None:
    found = []
    if getattr(config, "hidden_act", "silu") != "silu":
        found.append(f"the activation {config.hidden_act!r}")
    if getattr(config, "mlp_bias", False):
        found.append("biases in its feed-forward layers")
    if getattr(config, "use_sliding_window", False):
        found.append("attention in a sliding window")
    if found:
        raise ConfigError(
            f"{name} has {' and '.join(found)}, which the GGUF files that are written here do not "
            "describe. Export it as safetensors."
        )


def _rope(
    config: Any, head_width: int, *, name: str
) -> tuple[dict[str, int | float | str], dict[str, Floats]]:
    given = dict(getattr(config, "rope_parameters", None) or {})
    kind, theta = given.get("rope_type", "default"), float(given.get("rope_theta", 10_000.0))
    keys: dict[str, int | float | str] = {"rope.freq_base": theta}
    if kind == "default":
        return keys, {}
    if kind == "linear":
        keys |= {"rope.scaling.type": "linear", "rope.scaling.factor": float(given["factor"])}
        return keys, {}
    if kind == "llama3":
        return keys, {_ROPE_FACTORS: _llama3_factors(given, theta, head_width)}
    raise ConfigError(
        f"{name} stretches its positions by {kind!r}; GGUF files are written with default, linear "
        "and llama3. Export it as safetensors."
    )


def _llama3_factors(given: Mapping[str, Any], theta: float, head_width: int) -> Floats:
    """By what each frequency is divided: nothing for short waves, `factor` for long ones.

    Source: `_compute_llama3_parameters` of transformers.
    """
    frequencies = theta ** -(np.arange(0, head_width, 2, dtype=np.float64) / head_width)
    waves = 2 * math.pi / frequencies
    context = float(given["original_max_position_embeddings"])
    low, high, factor = (
        float(given[key]) for key in ("low_freq_factor", "high_freq_factor", "factor")
    )
    smooth = np.clip((context / waves - low) / (high - low), 0.0, 1.0)
    return np.asarray(1.0 / ((1 - smooth) / factor + smooth), dtype=np.float32)
