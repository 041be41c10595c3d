"""What a model can do without, measured on text (Minitron: Muralidharan et al. 2024, 2407.14679).

Suffixes: L layers, G groups of heads, I neurons, D channels.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from stillhouse.chat import EncodedExample
from stillhouse.errors import DataError
from stillhouse.losses import Head, token_logprobs
from stillhouse.models._anatomy import anatomy, channel_norms
from stillhouse.models._hidden import output_head, predicting_batch, predicting_hidden_states
from stillhouse.models._load import LanguageModel


@dataclass(frozen=True)
class WidthImportance:
    """How strongly each part of each layer is active; larger is more important.

    A part's activation is reduced to the L2 norm over the tokens of a text, and then to the mean
    over texts: of the paper's reductions the one that it found best.

    Attributes:
        groups_LG: What the heads of a group add before the output projection.
        neurons_LI: What goes into the MLP's last projection.
        channels_LD: Outputs of a layer's norms, summed.
        final_channels_D: Output of the norm after the last layer.
    """

    groups_LG: Tensor
    neurons_LI: Tensor
    channels_LD: Tensor
    final_channels_D: Tensor

    def channels_D(self, layers: Sequence[int]) -> Tensor:
        """Importance of each channel to the norms of given layers and the last norm."""
        return self.channels_LD[list(layers)].sum(dim=0) + self.final_channels_D


@torch.inference_mode()
def width_importance(model: LanguageModel, texts: Sequence[EncodedExample]) -> WidthImportance:
    """Read `texts` one by one and measure what is active.

    Raises:
        ConfigError: the parts of the architecture are not known.
        DataError: there is no text.
    """
    _check_texts(texts)
    sizes = anatomy(model.network)
    decoder = model.network.get_decoder()
    groups_LG = torch.zeros(sizes.num_layers, sizes.num_groups, dtype=torch.float64)
    neurons_LI = torch.zeros(sizes.num_layers, sizes.num_neurons, dtype=torch.float64)
    channels_LD = torch.zeros(sizes.num_layers, sizes.num_channels, dtype=torch.float64)
    final_D = torch.zeros(sizes.num_channels, dtype=torch.float64)
    with contextlib.ExitStack() as hooks:
        for index, layer in enumerate(decoder.layers):
            hooks.enter_context(_watching_input(layer.self_attn.o_proj, groups_LG[index]))
            hooks.enter_context(_watching_input(layer.mlp.down_proj, neurons_LI[index]))
            for norm in channel_norms(layer):
                hooks.enter_context(_watching_output(norm, channels_LD[index]))
        hooks.enter_context(_watching_output(decoder.norm, final_D))
        for text in texts:
            decoder(input_ids=torch.tensor([text.ids]), use_cache=False)
    total = len(texts)
    return WidthImportance(
        groups_LG / total, neurons_LI / total, channels_LD / total, final_D / total
    )


@torch.inference_mode()
def layer_change(model: LanguageModel, texts: Sequence[EncodedExample]) -> Tensor:
    """How far each layer turns the residual stream: 1 - cosine of input and output, (L,) float64.

    The mean over all tokens of `texts`.

    Raises:
        DataError: there is no text.
    """
    _check_texts(texts)
    decoder = model.network.get_decoder()
    total_L = torch.zeros(len(decoder.layers), dtype=torch.float64)
    with contextlib.ExitStack() as hooks:
        for index, layer in enumerate(decoder.layers):
            hooks.enter_context(_watching_change(layer, total_L[index]))
        for text in texts:
            decoder(input_ids=torch.tensor([text.ids]), use_cache=False)
    return total_L / sum(len(text.ids) for text in texts)


@torch.inference_mode()
def layer_loss_rise(model: LanguageModel, texts: Sequence[EncodedExample]) -> Tensor:
    """What leaving each layer out adds to the loss on the completions of `texts`, (L,) float64.

    In nats per token. It takes L + 1 passes over the texts.

    Raises:
        DataError: there is no text.
    """
    _check_texts(texts)
    layers = model.network.get_decoder().layers
    whole = _mean_loss(model, texts)
    rises = []
    for layer in layers:
        with _left_out(layer):
            rises.append(_mean_loss(model, texts) - whole)
    return torch.tensor(rises, dtype=torch.float64)


def _mean_loss(model: LanguageModel, texts: Sequence[EncodedExample]) -> float:
    head = Head(output_head(model.network).detach())
    total, num_tokens = 0.0, 0
    for text in texts:
        batch = predicting_batch([text])
        hidden_ND = predicting_hidden_states(model.network, batch)
        total -= float(token_logprobs(hidden_ND, head, batch.target_ids_N).double().sum())
        num_tokens += len(batch.target_ids_N)
    return total / num_tokens


def _check_texts(texts: Sequence[EncodedExample]) -> None:
    if not texts:
        raise DataError("Importance is measured on text and there is none. Give some examples.")


def _watching_input(module: nn.Module, total_P: Tensor) -> RemovableHandle:
    def watch(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        _add_activity(inputs[0], total_P)

    return module.register_forward_pre_hook(watch)


def _watching_output(module: nn.Module, total_P: Tensor) -> RemovableHandle:
    def watch(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        _add_activity(output, total_P)

    return module.register_forward_hook(watch)


def _add_activity(active_1TW: Tensor, total_P: Tensor) -> None:
    """Add the L2 norm of each of P equal parts of the last dimension."""
    parts = active_1TW.double().unflatten(-1, (len(total_P), -1))
    total_P += parts.square().sum(dim=(0, 1, 3)).sqrt()


def _watching_change(layer: nn.Module, total: Tensor) -> RemovableHandle:
    def watch(layer: nn.Module, inputs: Any, named: dict[str, Any], output: Any) -> None:
        before_1TD, after_1TD = _stream(inputs, named), _stream((output,), {})
        cosine_1T = torch.cosine_similarity(before_1TD.double(), after_1TD.double(), dim=-1)
        total.add_((1.0 - cosine_1T).sum())

    return layer.register_forward_hook(watch, with_kwargs=True)


def _stream(inputs: tuple[Any, ...], named: dict[str, Any]) -> Tensor:
    """The residual stream among what goes into a layer or comes out of it."""
    first: Any = inputs[0] if inputs else named["hidden_states"]
    stream: Tensor = first[0] if isinstance(first, tuple) else first
    return stream


@contextlib.contextmanager
def _left_out(layer: nn.Module) -> Iterator[None]:
    layer.forward = _pass_through  # hides the method of its class
    try:
        yield
    finally:
        del layer.forward


def _pass_through(hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return hidden_states
