"""Hidden states of student and teacher, compared layer by layer beside the main objective.

The teacher is run by the guide and the student by the step anyway: what their layers give is read
off on the way. Shape letters: N predicting positions, D and E widths of student and teacher.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from stillhouse.errors import ConfigError
from stillhouse.losses import hidden_state_loss
from stillhouse.models import PredictingBatch
from stillhouse.train._match_config import MatchConfig

_PREFIX = "match/"


class HiddenMatch:
    """The added term, and the maps that learn with it where widths differ.

    Args:
        student: Its network.
        teacher: The network that the guide asks.
        config: Which layers, and what their distance counts.
        seed: Of the maps before the first step.
        clip_norm: Of their gradients.

    Raises:
        ConfigError: a layer is not there.
    """

    def __init__(
        self, student: Any, teacher: Any, config: MatchConfig, *, seed: int, clip_norm: float
    ) -> None:
        self._config = config
        self._clip_norm = clip_norm
        self._sides = (
            [_layer(student, pair[0], "student") for pair in config.layers],
            [_layer(teacher, pair[1], "teacher") for pair in config.layers],
        )
        self._outputs: dict[nn.Module, Tensor] = {}
        self._maps = _first_maps(_width(student), _width(teacher), len(config.layers), seed)
        self._optimizer = (
            torch.optim.AdamW(
                self._learnt, lr=config.learning_rate, betas=(0.9, 0.95), weight_decay=0.0
            )
            if self._learnt
            else None
        )
        self._sum = 0.0
        self._metrics: dict[str, float] = {}

    @property
    def _learnt(self) -> list[Tensor]:
        return [one for one in self._maps if one.requires_grad]

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Keep what the layers give, while teacher and student read one part of a batch."""
        # Layers that are in several pairs are watched once.
        layers = dict.fromkeys(layer for side in self._sides for layer in side)
        handles = [layer.register_forward_hook(self._keep) for layer in layers]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def loss(self, batch: PredictingBatch, weight_N: Tensor) -> Tensor:
        """The weighted sum of the distances of what was watched last, differentiable.

        A position's is the mean over the pairs of layers.
        """
        student, teacher = ([self._at(batch, layer) for layer in side] for side in self._sides)
        with torch.enable_grad():
            distances = [
                hidden_state_loss(ours_ND, theirs_NE, map_ED, self._config.distance)
                for ours_ND, theirs_NE, map_ED in zip(student, teacher, self._maps, strict=True)
            ]
            loss = self._config.weight * (torch.stack(distances).mean(0) * weight_N).sum()
        self._outputs.clear()
        self._sum += loss.item()
        return loss

    def update(self, step: int) -> None:
        """Let the maps learn from the gradients of this step."""
        self._metrics, self._sum = {"train/match_loss": self._sum}, 0.0
        if self._optimizer is not None:
            torch.nn.utils.clip_grad_norm_(self._learnt, self._clip_norm)
            self._optimizer.step()
            self._optimizer.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """The maps and their moments."""
        kept = {}
        for number, map_ED in enumerate(self._learnt):
            kept[f"{_PREFIX}{number}/map"] = map_ED.detach()
            assert self._optimizer is not None
            for key, value in self._optimizer.state[map_ED].items():
                kept[f"{_PREFIX}{number}/{key}"] = value
        return kept

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take up where `state` was taken."""
        for entry, value in state.items():
            if not entry.startswith(_PREFIX):
                continue
            number, key = entry.removeprefix(_PREFIX).split("/")
            map_ED = self._learnt[int(number)]
            if key == "map":
                with torch.no_grad():
                    map_ED.copy_(value)
            else:
                assert self._optimizer is not None
                self._optimizer.state[map_ED][key] = value

    def metrics(self) -> dict[str, float]:
        """The last step's term, weight included."""
        return self._metrics

    def _keep(self, layer: nn.Module, inputs: Any, output: Any) -> None:
        # A prefix that all rows share is read in a call of its own, before the rest.
        self._outputs[layer] = output[0] if isinstance(output, tuple) else output

    def _at(self, batch: PredictingBatch, layer: nn.Module) -> Tensor:
        hidden_BSD = self._outputs[layer].float()
        num_skipped = batch.ids_BT.shape[1] - hidden_BSD.shape[1]
        return hidden_BSD[batch.rows_N, batch.columns_N - num_skipped]


def _layer(network: Any, index: int, whose: str) -> nn.Module:
    layers = network.get_decoder().layers
    if not -len(layers) <= index < len(layers):
        raise ConfigError(
            f"match.layers names the {whose}'s layer {index}, but it has {len(layers)}. Give one "
            f"from 0 to {len(layers) - 1}, or from -{len(layers)} to -1 to count from the end."
        )
    layer: nn.Module = layers[index]
    return layer


def _width(network: Any) -> int:
    return int(network.get_input_embeddings().weight.shape[1])


def _first_maps(width: int, teacher_width: int, number: int, seed: int) -> list[Tensor]:
    """Nothing to learn where widths are equal: there each state is compared as it is."""
    if width == teacher_width:
        return [torch.eye(width)] * number
    generator = torch.Generator().manual_seed(seed)
    scale = width**-0.5
    return [
        (scale * torch.randn(teacher_width, width, generator=generator)).requires_grad_()
        for _ in range(number)
    ]
