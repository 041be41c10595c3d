"""Where a network's weights lie while it is trained: whole on one device, or shared among ranks.

The tiled loss reads the head's weight outside of any module's forward and adds to its gradient by
itself. Both kinds of placement make that weight and its gradient available between the forward and
the backward pass.
"""

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils.checkpoint import checkpoint

from stillhouse.losses import Head
from stillhouse.models import PredictingBatch, output_head, predicting_hidden_states
from stillhouse.train._device_config import DeviceConfig
from stillhouse.train._ranks import Ranks

R = TypeVar("R", bound=Any)


class Placement(Protocol):
    """A network that can be run forward and back.

    Attributes:
        network: Holds the weights that change.
    """

    network: Any

    def hidden_states(self, batch: PredictingBatch) -> Tensor:
        """Float32 hidden states at the predicting positions, (N, D), differentiable."""
        ...

    def head(self) -> Head:
        """The head, between `hidden_states` and the backward pass."""
        ...

    def copy_back(self) -> None:
        """Bring the trained weights to the network that was given, if they are not there."""
        ...


def place(network: Any, config: DeviceConfig, ranks: Ranks) -> Placement:
    """Prepare a network for training on this rank."""
    # transformers makes the pad token's embedding deaf to gradients; where pad is also the
    # end-of-turn token, as in SmolLM2-Instruct, that token is part of every prompt. Our own
    # padding reaches no valid position, so it adds nothing to any gradient.
    network.get_input_embeddings().padding_idx = None
    if ranks.size == 1:
        return _Whole(network, config, ranks.device)
    return _Sharded(network, config, ranks)


def trained_parameters(network: Any) -> dict[str, Tensor]:
    """The parameters that change, by name; what is frozen comes from the base."""
    return {name: value for name, value in network.named_parameters() if value.requires_grad}


def gathered(tensor: Tensor) -> Tensor:
    """All of a tensor; where it is shared among ranks, all of them must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def shared_like(whole: Tensor, example: Tensor) -> Tensor:
    """`whole` placed as `example` is: this rank's part of it, or itself."""
    if not isinstance(example, DTensor):
        return whole.to(example.device)
    return distribute_tensor(whole, example.device_mesh, example.placements, src_data_rank=None)


def on_device(record: R, device: torch.device) -> R:
    """A batch or a target with all its tensors on a device."""
    if device.type == "cpu":
        return record
    names = (field.name for field in fields(record)) if is_dataclass(record) else record._fields
    values = {name: getattr(record, name) for name in names}
    there = {
        name: value.to(device) if isinstance(value, Tensor) else value
        for name, value in values.items()
    }
    moved: R = type(record)(**there)
    return moved


def local_part(tensor: Tensor) -> Tensor:
    """What of a tensor lies on this rank."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


class _Whole:
    def __init__(self, network: Any, config: DeviceConfig, device: torch.device) -> None:
        self.network = network.to(device)
        self._autocast = _autocast(config, device)
        self._recomputing = contextlib.ExitStack()
        if config.recompute:
            self._recomputing.enter_context(_recomputed_layers(network))
        # Neither a compiled layer nor one that runs twice can hand a prefix's keys to the rest.
        is_compiled = _compile_layers(network, config, device)
        self._shares_prefix = not (is_compiled or config.recompute)
        # A dense gradient of the embedding is V x D zeros per call, a sixth of a step's time; a
        # sparse one is added to the rows that the batch used, of a dense gradient made once.
        embedding = network.get_input_embeddings()
        embedding.sparse = True
        if embedding.weight.requires_grad:
            embedding.weight.grad = torch.zeros_like(embedding.weight)

    def hidden_states(self, batch: PredictingBatch) -> Tensor:
        if not self._shares_prefix:
            batch = batch._replace(num_shared=0)
        with self._autocast:
            return predicting_hidden_states(self.network, batch).float()

    def head(self) -> Head:
        return _head(self.network)

    def copy_back(self) -> None:
        """They are there; the layers compute as they did before."""
        self._recomputing.close()


class _Sharded:
    """FSDP2: each rank keeps a part of every weight and gathers a layer's when it is needed.

    Embedding, last norm and head form the outermost unit, which stays gathered from the forward
    pass to the end of the backward pass; its gradients, the head's too, are averaged over the
    ranks there. The network that was given is left as it was until `copy_back`.
    """

    def __init__(self, network: Any, config: DeviceConfig, ranks: Ranks) -> None:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        self._given = network
        self.network = copy.deepcopy(network).to(ranks.device)
        self._autocast = _autocast(config, ranks.device)
        self._recomputing = contextlib.ExitStack()
        if config.recompute:
            self._recomputing.enter_context(_recomputed_layers(self.network))
        _compile_layers(self.network, config, ranks.device)
        mesh = init_device_mesh(ranks.device.type, (ranks.size,))
        for layer in self.network.get_decoder().layers:
            fully_shard(layer, mesh=mesh)
        self._forward = _HiddenStates(self.network)
        fully_shard(self._forward, mesh=mesh, reshard_after_forward=False)

    def hidden_states(self, batch: PredictingBatch) -> Tensor:
        with self._autocast:
            hidden_ND: Tensor = self._forward(batch).float()
        return hidden_ND

    def head(self) -> Head:
        return _head(self.network)

    def copy_back(self) -> None:
        targets = trained_parameters(self._given)
        with torch.no_grad():
            for name, parameter in trained_parameters(self.network).items():
                targets[name].copy_(gathered(parameter.detach()))


class _HiddenStates(nn.Module):
    """The part of a network that ends before the head."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: PredictingBatch) -> Tensor:
        # A prefix that is computed apart hands keys and values over behind the layers' outputs,
        # where FSDP does not see that a layer's weights are still needed for its gradient.
        return predicting_hidden_states(self.network, batch._replace(num_shared=0))


def _head(network: Any) -> Head:
    weight_VD = output_head(network)
    if weight_VD.requires_grad and weight_VD.grad is None:
        weight_VD.grad = torch.zeros_like(weight_VD)
    return Head(weight_VD.detach(), weight_VD.grad)


def _autocast(config: DeviceConfig, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    is_short = config.precision == "bfloat16" or (
        config.precision == "auto" and device.type == "cuda"
    )
    if not is_short:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


@contextlib.contextmanager
def _recomputed_layers(network: Any) -> Iterator[None]:
    """While it is open, a layer keeps its inputs alone and runs again in the backward pass."""
    layers = network.get_decoder().layers
    for layer in layers:
        # In evaluation mode nothing is drawn, so that there is no random state to bring back.
        layer.forward = partial(
            checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False
        )
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward  # the instance's; that of its class comes to light again


def _compile_layers(network: Any, config: DeviceConfig, device: torch.device) -> bool:
    """Compile where it is asked for; returns whether it was."""
    if config.compile == "off" or (config.compile == "auto" and device.type != "cuda"):
        return False
    for layer in network.get_decoder().layers:
        layer.compile(dynamic=True)
    return True
