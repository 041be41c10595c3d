"""The teacher's head, stored once beside its hidden states."""

from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from stillhouse.artifacts import Artifact
from stillhouse.errors import IntegrityError
from stillhouse.signal._half import HalfType, from_half, to_half
from stillhouse.signal._signals import FloatArray

HEAD_NAME = "head.safetensors"


def write_head(path: Path, head: FloatArray, dtype: HalfType) -> None:
    """Write a head (V, D) in 16 bits.

    Raises:
        ShapeError: a value does not fit the type.
    """
    save_file({"head": to_half(head, dtype)}, path, metadata={"dtype": dtype})


def read_head(artifact: Artifact) -> FloatArray:
    """The head of a `hidden` signal, (V, D) float32, as its 16 bits give it.

    Raises:
        IntegrityError: the artefact has none, or it is damaged.
    """
    path = artifact.file(HEAD_NAME)
    try:
        with safe_open(path, framework="numpy") as file:
            bits, dtype = file.get_tensor("head"), (file.metadata() or {}).get("dtype")
    except (SafetensorError, OSError) as err:
        raise IntegrityError(f"{path} is damaged ({err}). Run capture again.") from err
    if dtype not in ("float16", "bfloat16") or bits.dtype != np.uint16:
        raise IntegrityError(f"{path} holds no head in 16 bits. Run capture again.")
    return from_half(bits, dtype)
