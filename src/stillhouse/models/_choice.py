"""Choose what a student keeps of its base."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from stillhouse.chat import EncodedExample
from stillhouse.errors import ConfigError
from stillhouse.models._anatomy import Anatomy, anatomy
from stillhouse.models._importance import layer_change, layer_loss_rise, width_importance
from stillhouse.models._load import LanguageModel
from stillhouse.models._prune import check_layers, evenly_spaced_layers
from stillhouse.models._start import StudentStart

LayerChoice = Literal["even", "cosine", "loss"]


@dataclass(frozen=True)
class KeptSizes:
    """How much a student keeps; None keeps all.

    Attributes:
        layers: So many, or those at these indices.
        heads: Query heads of a layer; groups that share keys and values are kept whole.
        neurons: Width of the MLP.
        channels: Width of the residual stream.
    """

    layers: int | tuple[int, ...] | None = None
    heads: int | None = None
    neurons: int | None = None
    channels: int | None = None

    @property
    def is_narrower(self) -> bool:
        """Whether anything but whole layers is left out."""
        return (self.heads, self.neurons, self.channels) != (None, None, None)


def choose_start(
    model: LanguageModel,
    sizes: KeptSizes,
    texts: Sequence[EncodedExample],
    *,
    layers_by: LayerChoice = "even",
) -> StudentStart:
    """What a student of these sizes keeps of `model`: what is most active on `texts`.

    Args:
        model: The base.
        sizes: How much is kept.
        texts: What importance is measured on; not read for layers that are spread evenly.
        layers_by: How a number of layers is chosen: spread `even`ly, those that turn the residual
            stream most (`cosine`), or those whose absence costs the most `loss`.

    Raises:
        ConfigError: the sizes do not fit the model.
        DataError: text is needed and there is none.
    """
    layers = _chosen_layers(model, sizes.layers, texts, layers_by)
    if not sizes.is_narrower:
        return StudentStart(layers=layers)
    whole = anatomy(model.network)
    _check_widths(whole, sizes)
    importance = width_importance(model, texts)
    kept = range(whole.num_layers) if layers is None else layers
    groups, neurons, channels = None, None, None
    if sizes.heads is not None:
        num_groups = sizes.heads // whole.heads_per_group
        groups = tuple(_largest(importance.groups_LG[layer], num_groups) for layer in kept)
    if sizes.neurons is not None:
        neurons = tuple(_largest(importance.neurons_LI[layer], sizes.neurons) for layer in kept)
    if sizes.channels is not None:
        channels = _largest(importance.channels_D(kept), sizes.channels)
    return StudentStart(layers=layers, groups=groups, neurons=neurons, channels=channels)


def random_start(model: LanguageModel, sizes: KeptSizes, *, seed: int) -> StudentStart:
    """A student of these sizes whose weights are all drawn anew.

    Raises:
        ConfigError: the sizes do not fit the model.
    """
    layers = _chosen_layers(model, sizes.layers, (), "even")
    if not sizes.is_narrower:
        return StudentStart(layers=layers, random_seed=seed)
    whole = anatomy(model.network)
    _check_widths(whole, sizes)
    num_layers = whole.num_layers if layers is None else len(layers)
    # Which indices is all the same: what they name is drawn anew.
    num_groups = None if sizes.heads is None else sizes.heads // whole.heads_per_group
    return StudentStart(
        layers=layers,
        groups=None if num_groups is None else (tuple(range(num_groups)),) * num_layers,
        neurons=None if sizes.neurons is None else (tuple(range(sizes.neurons)),) * num_layers,
        channels=None if sizes.channels is None else tuple(range(sizes.channels)),
        random_seed=seed,
    )


def _chosen_layers(
    model: LanguageModel,
    wanted: int | tuple[int, ...] | None,
    texts: Sequence[EncodedExample],
    layers_by: LayerChoice,
) -> tuple[int, ...] | None:
    if wanted is None:
        return None
    if isinstance(wanted, tuple):
        check_layers(wanted, model.num_layers)
        return wanted
    even = evenly_spaced_layers(model.num_layers, wanted)
    if layers_by == "even":
        return even
    measure = layer_change if layers_by == "cosine" else layer_loss_rise
    return _largest(measure(model, texts), wanted)


def _largest(importance_P: Tensor, num_kept: int) -> tuple[int, ...]:
    """Indices of the largest values, ascending; of equal ones the first."""
    order = torch.argsort(importance_P, descending=True, stable=True)
    return tuple(sorted(order[:num_kept].tolist()))


def _check_widths(whole: Anatomy, sizes: KeptSizes) -> None:
    step = whole.heads_per_group
    if sizes.heads is not None and (
        sizes.heads % step or not step <= sizes.heads <= whole.num_heads
    ):
        raise ConfigError(
            f"heads={sizes.heads}, but the model has {whole.num_heads} heads of which each {step} "
            f"share keys and values. Give a multiple of {step} up to {whole.num_heads}."
        )
    for name, wanted, most in (
        ("mlp", sizes.neurons, whole.num_neurons),
        ("hidden", sizes.channels, whole.num_channels),
    ):
        if wanted is not None and not 1 <= wanted <= most:
            raise ConfigError(
                f"{name}={wanted}, but the model has {most}. Give a number from 1 to {most}."
            )
