"""Numbers in 16 bits."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from stillhouse.errors import ShapeError
from stillhouse.signal._signals import FloatArray

HalfType = Literal["float16", "bfloat16"]


def to_half(values: FloatArray, dtype: HalfType) -> npt.NDArray[np.uint16]:
    """The 16 bits of each value, rounded to the nearest.

    Raises:
        ShapeError: a value is beyond float16 (65,504) or not finite.
    """
    if not np.isfinite(values).all():
        raise ShapeError(f"A value is infinite or NaN; {dtype} keeps finite ones alone.")
    if dtype == "float16":
        with np.errstate(over="ignore"):
            halves = values.astype(np.float16)
        if not np.isfinite(halves).all():
            raise ShapeError(
                f"Values up to {np.abs(values).max():.3g} do not fit float16. Set dtype bfloat16."
            )
        return halves.view(np.uint16)
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    # To the nearest, ties to even, as hardware does it.
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return (rounded >> np.uint32(16)).astype(np.uint16)


def from_half(bits: npt.NDArray[np.uint16], dtype: HalfType) -> FloatArray:
    """Float32 values of 16 bits each."""
    if dtype == "float16":
        return bits.view(np.float16).astype(np.float32)
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
