"""Checkpoints from which training goes on bit for bit.

A checkpoint is a folder `step-N` with weights and optimiser state as safetensors and a small
`state.json`, written beside the others under another name and renamed when it is whole.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stillhouse.errors import CheckpointError

_PREFIX = "step-"


def save_checkpoint(
    folder: Path,
    *,
    step: int,
    network: Any,
    optimizer: torch.optim.Optimizer,
    state: dict[str, Any],
) -> None:
    """Write the checkpoint after `step` steps and remove older ones."""
    from safetensors.torch import save_file

    folder.mkdir(exist_ok=True)
    target = folder / f"{_PREFIX}{step}"
    temporary = folder / f".{target.name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    save_file(_weights(network), temporary / "weights.safetensors")
    save_file(_optimizer_tensors(network, optimizer), temporary / "optimizer.safetensors")
    (temporary / "state.json").write_text(json.dumps({"step": step, **state}))
    for entry in temporary.iterdir():
        with entry.open("rb") as stream:
            os.fsync(stream.fileno())
    if target.exists():
        shutil.rmtree(target)
    temporary.rename(target)
    for older in folder.iterdir():
        if older != target:
            shutil.rmtree(older)


def load_checkpoint(
    folder: Path, *, network: Any, optimizer: torch.optim.Optimizer
) -> dict[str, Any] | None:
    """Restore the newest checkpoint in place and return its state; None where there is none.

    Raises:
        CheckpointError: it is damaged or of another model.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    steps = [int(entry.name.removeprefix(_PREFIX)) for entry in folder.glob(f"{_PREFIX}*")]
    if not steps:
        return None
    newest = folder / f"{_PREFIX}{max(steps)}"
    try:
        state: dict[str, Any] = json.loads((newest / "state.json").read_text())
        weights = load_file(newest / "weights.safetensors")
        moments = load_file(newest / "optimizer.safetensors")
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                parameter.copy_(weights[name])
        _restore_optimizer(network, optimizer, moments)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as err:
        raise CheckpointError(
            f"{newest} cannot be read ({type(err).__name__}: {err}). "
            f"Remove {folder} to start the training again."
        ) from err
    return state


def _weights(network: Any) -> dict[str, Tensor]:
    return {name: parameter.detach() for name, parameter in network.named_parameters()}


def _optimizer_tensors(network: Any, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{name}/{key}": value
        for name, parameter in network.named_parameters()
        for key, value in optimizer.state[parameter].items()
    }


def _restore_optimizer(
    network: Any, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]
) -> None:
    parameters = dict(network.named_parameters())
    for name, tensor in tensors.items():
        parameter, key = name.rsplit("/", 1)
        optimizer.state[parameters[parameter]][key] = tensor
