"""An encoder's weights as arrays: their names and shapes, and the same in eight bits.

Letters: I inputs, O outputs, V vocabulary, D width.
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

LARGEST = 63
"""Steps of an int8 weight. With 127, processors without VNNI overflow in sums of pairs."""

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

    Each output and each token has a scale, so that a weight errs by half a scale at most.
    """
    kept: dict[str, Array] = {}
    for name, array in weights.items():
        if precision == "int8" and _is_large(name):
            kept[name], kept[_scales_name(name)] = _quantised(array)
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
            wanted[_scales_name(name)] = ("float32", size[:1])
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


def _quantised(weights_OI: Array) -> tuple[Array, Array]:
    largest_O = np.abs(weights_OI).max(axis=1)
    scales_O = np.where(largest_O > 0, largest_O / LARGEST, 1.0).astype(np.float32)
    steps_OI = np.rint(weights_OI / scales_O[:, None])
    return np.clip(steps_OI, -LARGEST, LARGEST).astype(np.int8), scales_O
