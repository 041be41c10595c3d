"""A student made by removing heads, neurons and channels."""

import copy
from typing import Any

import torch
from torch import Tensor

from stillhouse.errors import ConfigError
from stillhouse.models._anatomy import Anatomy, Axis, anatomy, tensor_axes
from stillhouse.models._load import LanguageModel
from stillhouse.models._start import StudentStart


def narrowed(model: LanguageModel, start: StudentStart) -> LanguageModel:
    """A copy of `model` with the groups, neurons and channels that `start` keeps.

    Its layers are all kept: `start.layers` is not read. What is kept is bit for bit the base's,
    but for models that scale embeddings by their width (Gemma): there the embedding, and the final
    norm where the head is tied to it, are scaled against that, so that the residual stream begins
    with the values it had.

    Raises:
        ConfigError: the architecture is of another kind, or the sizes do not go together.
    """
    sizes = anatomy(model.network)
    kept = _kept_rows(sizes, start)
    network = _resized(model.network, sizes, start)
    source, target = model.network.state_dict(), network.state_dict()
    with torch.no_grad():
        for name, weight in source.items():
            layer, axes = tensor_axes(name, network.config.model_type)
            for dim, axis in enumerate(axes):
                if axis is not None:
                    rows = kept[axis]
                    weight = weight.index_select(dim, rows[0 if layer is None else layer])
            target[name].copy_(weight)
        _keep_embedding_scale(model.network, network)
    network.eval()
    return LanguageModel(network=network, chat=model.chat, name=model.name)


def _kept_rows(sizes: Anatomy, start: StudentStart) -> dict[Axis, list[Tensor]]:
    """What stays of each axis, for each layer."""
    layers = range(sizes.num_layers)
    groups = start.groups or tuple(tuple(range(sizes.num_groups)) for _ in layers)
    neurons = start.neurons or tuple(tuple(range(sizes.num_neurons)) for _ in layers)
    channels = start.channels or tuple(range(sizes.num_channels))
    return {
        "heads": [_blocks(one, sizes.heads_per_group * sizes.head_dim) for one in groups],
        "kv_heads": [_blocks(one, sizes.head_dim) for one in groups],
        "neurons": [torch.tensor(one) for one in neurons],
        "channels": [torch.tensor(channels) for _ in layers],
    }


def _blocks(indices: tuple[int, ...], width: int) -> Tensor:
    return (torch.tensor(indices).unsqueeze(1) * width + torch.arange(width)).flatten()


def _resized(network: Any, sizes: Anatomy, start: StudentStart) -> Any:
    """A network of the same class with the kept sizes; its weights are still to come."""
    config = copy.deepcopy(network.config)
    text = config.get_text_config()
    num_groups = len(start.groups[0]) if start.groups else sizes.num_groups
    text.head_dim = sizes.head_dim  # otherwise it would follow from what now changes
    text.num_key_value_heads = num_groups
    text.num_attention_heads = num_groups * sizes.heads_per_group
    text.intermediate_size = len(start.neurons[0]) if start.neurons else sizes.num_neurons
    text.hidden_size = len(start.channels) if start.channels else sizes.num_channels
    if text.hidden_size % text.num_attention_heads:
        raise ConfigError(
            f"hidden={text.hidden_size} with {text.num_attention_heads} heads: transformers opens "
            "no such model. Give a hidden that is a multiple of the number of heads."
        )
    with torch.random.fork_rng(devices=[]):  # the constructor draws weights
        resized = type(network)(config)
    resized.generation_config = copy.deepcopy(network.generation_config)
    return resized


def _keep_embedding_scale(before: Any, after: Any) -> None:
    embedding = after.get_input_embeddings()
    scale = getattr(before.get_input_embeddings(), "embed_scale", None)
    if scale is None or before.config.hidden_size == after.config.hidden_size:
        return
    ratio = scale / embedding.embed_scale
    embedding.weight.mul_(ratio)
    if after.get_output_embeddings().weight is embedding.weight:
        # The head has grown with it. These norms multiply by 1 + weight.
        norm = after.get_decoder().norm
        norm.weight.copy_((1.0 + norm.weight) / ratio - 1.0)
