"""An encoder's weights as arrays: their names and shapes, and the same in eight bits.

Letters: I inputs, O outputs, K blocks of inputs, V vocabulary, D width.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from stillhouse.classifiers._shape import EncoderShape
from stillhouse.errors import IntegrityError

Precision = Literal["int8", "float32"]
Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]

LARGEST = 127
"""Steps of an int8 weight."""
BLOCK = 64
"""Inputs of a linear layer that share a scale, of weights and of activations alike.

One scale for all activations of a layer, as dynamic quantisation has it, is set by the few large
ones that a normalised layer always has: states then err by 11 %, in blocks by 4 %.
"""

_LARGE = ("query_key_value.weight", "attended.weight", "inner.weight", "outer.weight")


def float_shapes(shape: EncoderShape) -> dict[str, tuple[int, ...]]:
    """The shape of each weight of an encoder, by name; linear layers are (O, I)."""
    width, inner = shape.width, shape.inner_width
    sizes: dict[str, tuple[int, ...]] = {
        "tokens.weight": (shape.vocabulary, width),
        "positions.weight": (shape.positions, width),
        "norm.weight": (width,),
        "norm.bias": (width,),
    }
    rows = {
        "query_key_value": (3 * width, width),
        "attended": (width, width),
        "inner": (inner, width),
        "outer": (width, inner),
        "attention_norm": (width,),
        "norm": (width,),
    }
    for number in range(shape.layers):
        for name, of_weight in rows.items():
            sizes[f"layers.{number}.{name}.weight"] = of_weight
            sizes[f"layers.{number}.{name}.bias"] = of_weight[:1]
    return sizes


def shrunk(weights: Arrays, precision: Precision) -> dict[str, Array]:
    """The weights as they are kept: float32, or linear layers and tokens in eight bits.

    Each block of an output's inputs and each token has a scale, so that a weight errs by half a
    scale at most.
    """
    kept: dict[str, Array] = {}
    for name, array in weights.items():
        if precision == "int8" and _is_large(name):
            kept[name], kept[_scales_name(name)] = _quantised(array, _block(name, array.shape))
        else:
            kept[name] = array.astype(np.float32, copy=False)
    return kept


def check_arrays(arrays: Arrays, shape: EncoderShape, precision: Precision) -> None:
    """See that each weight is there as `shrunk` makes it, and nothing else.

    Raises:
        IntegrityError: it is not.
    """
    wanted: dict[str, tuple[str, tuple[int, ...]]] = {}
    for name, size in float_shapes(shape).items():
        is_int8 = precision == "int8" and _is_large(name)
        wanted[name] = ("int8" if is_int8 else "float32", size)
        if is_int8:
            wanted[_scales_name(name)] = ("float32", (size[0], -(-size[1] // _block(name, size))))
    if missing := sorted(wanted.keys() ^ arrays.keys()):
        raise IntegrityError(
            f"{len(missing)} tensors of the encoder are missing or too many, the first is "
            f"{missing[0]}"
        )
    for name, (kind, size) in wanted.items():
        found = arrays[name]
        if (found.dtype.name, found.shape) != (kind, size):
            raise IntegrityError(
                f"the tensor {name} is {found.dtype} of shape {found.shape}, not {kind} of {size}"
            )


def _is_large(name: str) -> bool:
    return name == "tokens.weight" or name.endswith(_LARGE)


def _scales_name(name: str) -> str:
    return f"{name.removesuffix('weight')}scales"


def _block(name: str, size: tuple[int, ...]) -> int:
    """Inputs that share a scale: of tokens all, as these are only read."""
    return size[1] if name == "tokens.weight" else BLOCK


def _quantised(weights_OI: Array, block: int) -> tuple[Array, Array]:
    """(O, I) int8 steps and (O, K) float32 scales."""
    starts_K = np.arange(0, weights_OI.shape[1], block)
    largest_OK = np.maximum.reduceat(np.abs(weights_OI), starts_K, axis=1)
    scales_OK = np.where(largest_OK > 0, largest_OK / LARGEST, 1.0).astype(np.float32)
    scales_OI = np.repeat(scales_OK, block, axis=1)[:, : weights_OI.shape[1]]
    steps_OI = np.rint(weights_OI / scales_OI)
    return np.clip(steps_OI, -LARGEST, LARGEST).astype(np.int8), scales_OK
