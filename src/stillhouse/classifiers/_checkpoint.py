"""Where the training of an encoder goes on after it was stopped: one file, written whole."""

import os
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from stillhouse.errors import CheckpointError

_NAME = "epoch.safetensors"
_IDENTITY = "identity"


def save_epoch(folder: Path, tensors: Mapping[str, Tensor], *, identity: str) -> None:
    """Replace the checkpoint in a folder, which is made if absent.

    Args:
        folder: Where.
        tensors: All that the next epoch needs.
        identity: Of the texts, targets and settings: another training must not go on from it.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{_NAME}.{os.getpid()}.tmp"
    try:
        contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
        save_file(contiguous, temporary, metadata={_IDENTITY: identity})
        temporary.replace(folder / _NAME)
    finally:
        temporary.unlink(missing_ok=True)


def load_epoch(folder: Path, *, identity: str) -> dict[str, Tensor]:
    """The tensors of the last finished epoch; none if there is no checkpoint of this training.

    Raises:
        CheckpointError: the file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / _NAME
    if not path.is_file():
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get(_IDENTITY) != identity:
                return {}
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as err:
        raise CheckpointError(
            f"{path} is damaged ({err}). Remove it to begin the training again."
        ) from err
