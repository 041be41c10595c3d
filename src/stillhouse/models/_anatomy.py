"""Which dimension of which weight is what, in decoders built as Llama's and Gemma's are."""

import re
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from stillhouse.errors import ConfigError

Axis = Literal["heads", "kv_heads", "neurons", "channels"]

_AXES: dict[str, tuple[Axis | None, ...]] = {
    "self_attn.q_proj.weight": ("heads", "channels"),
    "self_attn.k_proj.weight": ("kv_heads", "channels"),
    "self_attn.v_proj.weight": ("kv_heads", "channels"),
    "self_attn.o_proj.weight": ("channels", "heads"),
    "self_attn.q_proj.bias": ("heads",),
    "self_attn.k_proj.bias": ("kv_heads",),
    "self_attn.v_proj.bias": ("kv_heads",),
    "self_attn.o_proj.bias": ("channels",),
    # Norms of one head's queries or keys: every head has the same.
    "self_attn.q_norm.weight": (None,),
    "self_attn.k_norm.weight": (None,),
    "mlp.gate_proj.weight": ("neurons", "channels"),
    "mlp.up_proj.weight": ("neurons", "channels"),
    "mlp.down_proj.weight": ("channels", "neurons"),
    "mlp.gate_proj.bias": ("neurons",),
    "mlp.up_proj.bias": ("neurons",),
    "mlp.down_proj.bias": ("channels",),
    "embed_tokens.weight": (None, "channels"),
    "lm_head.weight": (None, "channels"),
}
_LAYER = re.compile(r"\blayers\.(\d+)\.(.+)$")
_LAYER_NORM = re.compile(r"\w*norm\.weight")


@dataclass(frozen=True)
class Anatomy:
    """The sizes of a decoder whose parts can be told apart.

    Attributes:
        num_layers: L.
        num_heads: Query heads of a layer.
        num_groups: Heads of keys and values, each shared by one group of query heads.
        head_dim: Width of a head.
        num_neurons: Width of the MLP.
        num_channels: Width of the residual stream.
    """

    num_layers: int
    num_heads: int
    num_groups: int
    head_dim: int
    num_neurons: int
    num_channels: int

    @property
    def heads_per_group(self) -> int:
        """Query heads that share keys and values."""
        return self.num_heads // self.num_groups


def anatomy(network: Any) -> Anatomy:
    """The sizes of a decoder.

    Raises:
        ConfigError: it is built in another way, so nothing can be cut out of its layers.
    """
    config = network.config.get_text_config()
    for name in network.state_dict():
        tensor_axes(name, config.model_type)
    attention = network.get_decoder().layers[0].self_attn
    head_dim = int(attention.head_dim)
    num_heads, odd = divmod(attention.q_proj.out_features, head_dim)
    found = Anatomy(
        num_layers=int(config.num_hidden_layers),
        num_heads=num_heads,
        num_groups=attention.k_proj.out_features // head_dim,
        head_dim=head_dim,
        num_neurons=int(config.intermediate_size),
        num_channels=int(config.hidden_size),
    )
    per_head = (getattr(attention, name, None) for name in ("q_norm", "k_norm"))
    if odd or any(norm is not None and norm.weight.numel() != head_dim for norm in per_head):
        raise ConfigError(_refusal(config.model_type, "norms over several heads"))
    return found


def tensor_axes(name: str, model_type: str) -> tuple[int | None, tuple[Axis | None, ...]]:
    """The layer that a weight is in, None for those outside, and what its dimensions are.

    Raises:
        ConfigError: no such weight is known.
    """
    match = _LAYER.search(name)
    layer, part = (int(match[1]), match[2]) if match else (None, ".".join(name.split(".")[-2:]))
    if part in _AXES:
        return layer, _AXES[part]
    if _LAYER_NORM.fullmatch(part):
        return layer, ("channels",)
    raise ConfigError(_refusal(model_type, name))


def channel_norms(module: nn.Module) -> list[nn.Module]:
    """The norms over the residual stream's channels in a layer, those inside attention left out."""
    return [child for name, child in module.named_children() if name.endswith("norm")]


def _refusal(model_type: str, what: str) -> str:
    return (
        f"A {model_type} model cannot be pruned inside its layers ({what}): only decoders built "
        "as Llama, Gemma, Mistral or Qwen are. Prune whole layers with keep_layers instead."
    )
