"""Attention masks of models whose layers may look back over a window only."""

from typing import Any

import torch
from torch import Tensor

_KINDS = {"full_attention", "sliding_attention"}


def mask_obstacle(config: Any) -> str | None:
    """What keeps a model from being given the masks of this module; None if nothing does."""
    if config._attn_implementation != "sdpa":
        return f"{config._attn_implementation} attention"  # it reads masks in another form
    unknown = set(getattr(config, "layer_types", None) or ()) - _KINDS
    return f"layers of type {sorted(unknown)}" if unknown else None


def attention_masks(config: Any, positions_BQ: Tensor, num_keys: int) -> Tensor | dict[str, Tensor]:
    """What queries at given positions see of the first `num_keys` positions.

    Args:
        config: Of the text model; must have no `mask_obstacle`.
        positions_BQ: The positions of Q queries in each of B rows.
        num_keys: How many positions there are to see.

    Returns:
        (B, 1, Q, num_keys) of bool; models that mix kinds of layers get one mask per kind.
    """
    keys_W = torch.arange(num_keys, device=positions_BQ.device)
    last_BQ1 = positions_BQ.unsqueeze(2)
    full_BQW = keys_W <= last_BQ1
    window: Any = getattr(config, "sliding_window", None)
    kinds = set(getattr(config, "layer_types", None) or ())
    if not kinds:  # such a model has one kind of layer, which a window alone makes sliding
        kinds = {"sliding_attention" if window else "full_attention"}
    masks = {}
    for kind in kinds:
        is_sliding = kind == "sliding_attention"
        seen_BQW = full_BQW & (keys_W > last_BQ1 - window) if is_sliding else full_BQW
        masks[kind] = seen_BQW.unsqueeze(1)
    return masks if len(masks) > 1 else masks.popitem()[1]
