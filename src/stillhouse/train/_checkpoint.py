"""Checkpoints from which training goes on bit for bit.

A checkpoint is a folder `step-N` with weights and optimiser state as safetensors and a small
`state.json`, written beside the others under another name and renamed when it is whole. The
hashes in `state.json` tell damage apart before a single weight is touched.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stillhouse.artifacts import file_sha256, sync_folder
from stillhouse.errors import CheckpointError
from stillhouse.train._placement import gathered, shared_like, trained_parameters

_PREFIX = "step-"
_STATE = "state.json"
_WEIGHTS = "weights.safetensors"
_OPTIMIZER = "optimizer.safetensors"
_SOURCE = "source.safetensors"
_FILES = (_WEIGHTS, _OPTIMIZER, _SOURCE)


class CheckpointState(NamedTuple):
    """Where a run stood.

    Attributes:
        step: Steps that were finished.
        seconds: Time spent on them, over all attempts.
    """

    step: int
    seconds: float


def save_checkpoint(
    folder: Path,
    state: CheckpointState,
    *,
    network: Any,
    optimizer: torch.optim.Optimizer,
    source: Mapping[str, Tensor] | None = None,
    is_first: bool = True,
) -> None:
    """Write the checkpoint after `state.step` steps and remove older ones.

    `source` is what else goes on from step to step, such as texts that were drawn. Ranks that share
    a network all call this, to gather it; the first one writes.
    """
    from safetensors.torch import save_file

    weights, moments = _weights(network), _optimizer_tensors(network, optimizer)
    if not is_first:
        return
    folder.mkdir(exist_ok=True)
    target = folder / f"{_PREFIX}{state.step}"
    temporary = folder / f".{target.name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    save_file(weights, temporary / _WEIGHTS)
    save_file(moments, temporary / _OPTIMIZER)
    save_file(dict(source or {}), temporary / _SOURCE)
    hashes = {name: file_sha256(temporary / name) for name in _FILES}
    (temporary / _STATE).write_text(json.dumps({**state._asdict(), "sha256": hashes}))
    for entry in temporary.iterdir():
        with entry.open("rb") as stream:
            os.fsync(stream.fileno())
    if target.exists():
        shutil.rmtree(target)
    temporary.rename(target)
    sync_folder(folder)
    for older in folder.iterdir():
        if older != target:
            shutil.rmtree(older)


def load_checkpoint(
    folder: Path, *, network: Any, optimizer: torch.optim.Optimizer
) -> tuple[CheckpointState, dict[str, Tensor]]:
    """Restore the newest checkpoint in place; where there is none, the run is at its beginning.

    Returns:
        Where the run stood, and what `source` was then.

    Raises:
        CheckpointError: it is damaged or of another model.
    """
    steps = [
        int(number)
        for entry in folder.glob(f"{_PREFIX}*")
        if (number := entry.name.removeprefix(_PREFIX)).isdecimal()
    ]
    if not steps:
        return CheckpointState(step=0, seconds=0.0), {}
    newest = folder / f"{_PREFIX}{max(steps)}"
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = _read_state(newest, step=max(steps))
        _restore(newest, network, optimizer)
        source = load_file(newest / _SOURCE)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as err:
        raise CheckpointError(
            f"{newest} is damaged or of another model ({type(err).__name__}: {err}). "
            f"Remove {folder} to start the training again."
        ) from err
    return state, source


def _read_state(checkpoint: Path, *, step: int) -> CheckpointState:
    values = json.loads((checkpoint / _STATE).read_text())
    state = CheckpointState(step=int(values["step"]), seconds=float(values["seconds"]))
    if state.step != step:
        raise ValueError(f"{_STATE} is of step {state.step}")
    for name in _FILES:
        if file_sha256(checkpoint / name) != values["sha256"][name]:
            raise ValueError(f"{name} has changed")
    return state


def _restore(checkpoint: Path, network: Any, optimizer: torch.optim.Optimizer) -> None:
    from safetensors.torch import load_file

    parameters = trained_parameters(network)
    weights, moments = load_file(checkpoint / _WEIGHTS), load_file(checkpoint / _OPTIMIZER)
    if {name: value.shape for name, value in weights.items()} != {
        name: value.shape for name, value in parameters.items()
    }:
        raise ValueError("its tensors are not those of the model")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(shared_like(weights[name], parameter))
    for name, tensor in moments.items():
        owner, key = name.rsplit("/", 1)
        parameter = parameters[owner]
        is_number = tensor.ndim == 0  # steps so far, which the optimiser keeps where it makes them
        optimizer.state[parameter][key] = tensor if is_number else shared_like(tensor, parameter)


def _weights(network: Any) -> dict[str, Tensor]:
    return {
        name: gathered(parameter.detach())
        for name, parameter in trained_parameters(network).items()
    }


def _optimizer_tensors(network: Any, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{name}/{key}": gathered(value)
        for name, parameter in trained_parameters(network).items()
        for key, value in optimizer.state[parameter].items()
    }
