"""A student made by removing layers from its base, and all that a student may begin as."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from stillhouse.errors import ConfigError
from stillhouse.models._load import LanguageModel
from stillhouse.models._start import StudentStart
from stillhouse.models._width import narrowed


def evenly_spaced_layers(num_layers: int, num_kept: int) -> tuple[int, ...]:
    """Indices of `num_kept` layers spread over the depth, the first and the last always kept.

    Raises:
        ConfigError: `num_kept` is not between 2 and `num_layers`.
    """
    if not 2 <= num_kept <= num_layers:
        raise ConfigError(
            f"keep_layers={num_kept}, but the model has {num_layers} layers. "
            f"Give a number from 2 to {num_layers}."
        )
    step = (num_layers - 1) / (num_kept - 1)
    return tuple(round(index * step) for index in range(num_kept))


def pruned(model: LanguageModel, kept: int | Sequence[int] | None, *, name: str) -> LanguageModel:
    """The untrained student of `model`: `kept` layers spread evenly, those at `kept`, or all.

    Raises:
        ConfigError: `kept` does not fit the model.
    """
    if kept is None:
        kept = range(model.num_layers)
    layers = evenly_spaced_layers(model.num_layers, kept) if isinstance(kept, int) else kept
    return keep_layers(model, layers, name=name)


def begin_student(base: LanguageModel, start: StudentStart, *, name: str) -> LanguageModel:
    """The untrained student that `start` describes; it shares no weight with `base`.

    Raises:
        ConfigError: `start` does not fit the base.
    """
    layers = range(base.num_layers) if start.layers is None else start.layers
    student = keep_layers(base, layers, name=name)
    if start.is_narrower:
        student = narrowed(student, start)
    if start.random_seed is not None:
        student = LanguageModel(
            network=_drawn_anew(student.network, start.random_seed), chat=base.chat, name=name
        )
    return student


def _drawn_anew(network: Any, seed: int) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = type(network)(copy.deepcopy(network.config))
    fresh.generation_config = copy.deepcopy(network.generation_config)
    return fresh.eval()


def keep_layers(model: LanguageModel, layers: Sequence[int], *, name: str) -> LanguageModel:
    """A copy of `model` with only the decoder layers at `layers`, in that order.

    Embedding, head and final norm stay: a pruned student starts with the teacher's vocabulary and
    its way of reading hidden states.

    Raises:
        ConfigError: an index is out of range or not ascending.
    """
    check_layers(layers, model.num_layers)
    network = copy.deepcopy(model.network)
    decoder = network.get_decoder()
    decoder.layers = nn.ModuleList([decoder.layers[index] for index in layers])
    for new_index, layer in enumerate(decoder.layers):
        for module in layer.modules():
            # The KV cache is addressed by this index.
            if hasattr(module, "layer_idx"):
                module.layer_idx = new_index
    config = network.config.get_text_config()
    if getattr(config, "layer_types", None):
        config.layer_types = [config.layer_types[index] for index in layers]
    config.num_hidden_layers = len(layers)
    network.config._name_or_path = name
    return LanguageModel(network=network, chat=model.chat, name=name)


def check_layers(layers: Sequence[int], total: int) -> None:
    """Refuse what is no choice of layers.

    Raises:
        ConfigError: an index is out of range or not ascending.
    """
    if list(layers) != sorted(set(layers)) or not layers or layers[0] < 0 or layers[-1] >= total:
        raise ConfigError(
            f"layers {list(layers)}: give ascending, distinct indices from 0 to {total - 1}."
        )
