"""Weights in four and six bits: the K-quants that gguf-py reads and does not write.

Letters: B super-blocks of 256 weights, S sub-blocks of one super-block, W weights of a sub-block.
All arrays have the weights of a sub-block first: numpy then adds them one after the other, in
float32, as ggml does.

Source: `quantize_row_q4_K_ref`, `make_qkx2_quants`, `quantize_row_q6_K_ref` and `make_qx_quants` of
ggml-quants.c, https://github.com/ggml-org/llama.cpp. They try a few scales for each sub-block and
keep the one with the least weighted squared error; the scales are then rounded to six or eight bits
of one that the super-block has.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

SUPER = 256
"""Weights of a super-block."""

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

_CHUNK = 1 << 12  # super-blocks at once: a few tens of MB; not tuned
_Q4_STEPS, _Q4_TRIES = 15, 20
_Q6_STEPS = 32
_SIX_BITS = np.float32(63)
_TINY = np.float32(1e-15)  # a sub-block whose largest weight is below it is all zero


def quantised_q4_k(rows: Floats) -> Bytes:
    """Four bits a weight, six for the scale and the offset of each 32: 4.5 bits in all.

    Args:
        rows: (R, C) weights, C a multiple of 256.

    Returns:
        (R, C / 256 * 144) bytes, as `gguf.quants.dequantize` reads them.
    """
    return _by_chunks(rows, _q4_blocks)


def quantised_q6_k(rows: Floats) -> Bytes:
    """Six bits a weight and eight for the scale of each 16: 6.5625 bits in all.

    Args:
        rows: (R, C) weights, C a multiple of 256.

    Returns:
        (R, C / 256 * 210) bytes, as `gguf.quants.dequantize` reads them.
    """
    return _by_chunks(rows, _q6_blocks)


def _by_chunks(rows: Floats, quantise: Any) -> Bytes:
    blocks = np.ascontiguousarray(rows, dtype=np.float32).reshape(-1, SUPER)
    parts = [quantise(blocks[start : start + _CHUNK]) for start in range(0, len(blocks), _CHUNK)]
    return np.concatenate(parts).reshape(len(rows), -1)


def _q4_blocks(blocks: Floats) -> Bytes:
    x_WBS = np.ascontiguousarray(blocks.reshape(-1, 8, 32).transpose(2, 0, 1))
    scales_BS, offsets_BS = _fitted_scales(x_WBS)
    levels_BS, d_B = _six_bits(scales_BS)
    offset_levels_BS, d_offset_B = _six_bits(offsets_BS)
    step_BS = d_B.astype(np.float32)[:, None] * levels_BS
    offset_BS = d_offset_B.astype(np.float32)[:, None] * offset_levels_BS
    with np.errstate(divide="ignore", invalid="ignore"):
        steps_WBS = np.clip(_nearest((x_WBS + offset_BS) / step_BS), 0, _Q4_STEPS)
    steps = np.where(step_BS > 0, steps_WBS, 0).transpose(1, 2, 0).astype(np.uint8)
    # Two sub-blocks share 32 bytes: the first in the low halves, the second in the high ones.
    packed = (steps[:, 0::2] | steps[:, 1::2] << 4).reshape(len(blocks), -1)
    levels, offset_levels = levels_BS.astype(np.uint8), offset_levels_BS.astype(np.uint8)
    return np.concatenate(
        [_halves(d_B), _halves(d_offset_B), _packed_levels(levels, offset_levels), packed], axis=1
    )


def _fitted_scales(x_WBS: Floats) -> tuple[Floats, Floats]:
    """The scale of each sub-block and what is subtracted, both at least 0."""
    weights = np.sqrt((x_WBS * x_WBS).sum(axis=0) / np.float32(32)) + np.abs(x_WBS)
    sum_w, sum_x = weights.sum(axis=0), (weights * x_WBS).sum(axis=0)
    high, offset = x_WBS.max(axis=0), np.minimum(x_WBS.min(axis=0), np.float32(0))
    is_flat = high <= offset
    high = np.where(is_flat, offset + np.float32(1), high)
    scale = (high - offset) / np.float32(_Q4_STEPS)
    best = _error(x_WBS, weights, _steps(x_WBS, offset, np.float32(1) / scale), scale, offset)
    for number in range(_Q4_TRIES + 1):
        reach = np.float32(_Q4_STEPS - 1) + np.float32(0.1) * np.float32(number)
        # From the offset that is best so far: a try that is better moves those after it.
        steps = _steps(x_WBS, offset, reach / (high - offset))
        found = _least_squares(x_WBS, weights, steps, sum_w, sum_x)
        error = _error(x_WBS, weights, steps, *found)
        is_better = error < best
        best = np.where(is_better, error, best)
        scale = np.where(is_better, found[0], scale)
        offset = np.where(is_better, found[1], offset)
    return np.where(is_flat, np.float32(0), scale), np.abs(offset)


def _steps(x_WBS: Floats, low_BS: Floats, inverse_BS: Floats) -> Floats:
    return np.clip(_nearest(inverse_BS * (x_WBS - low_BS)), 0, _Q4_STEPS)


def _least_squares(
    x_WBS: Floats, weights: Floats, steps: Floats, sum_w: Floats, sum_x: Floats
) -> tuple[Floats, Floats]:
    """Scale and offset, at most 0, with the least weighted error; not a number where none is."""
    weighted = weights * steps
    sum_l, sum_l2 = weighted.sum(axis=0), (weighted * steps).sum(axis=0)
    sum_xl = (weighted * x_WBS).sum(axis=0)
    determinant = sum_w * sum_l2 - sum_l * sum_l
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = (sum_w * sum_xl - sum_x * sum_l) / determinant
        offset = (sum_l2 * sum_x - sum_l * sum_xl) / determinant
        scale = np.where(offset > 0, sum_xl / sum_l2, scale)
    is_found = determinant > 0
    nothing = np.float32(np.nan)
    return (
        np.where(is_found, scale, nothing),
        np.where(is_found, np.minimum(offset, np.float32(0)), nothing),
    )


def _error(
    x_WBS: Floats, weights: Floats, steps: Floats, scale_BS: Floats, offset_BS: Floats
) -> Floats:
    off = scale_BS * steps + offset_BS - x_WBS
    return np.asarray((weights * (off * off)).sum(axis=0))


def _six_bits(values_BS: Floats) -> tuple[Floats, npt.NDArray[np.float16]]:
    """Each value as 0 to 63 of a unit that the super-block has, and the unit."""
    largest_B = values_BS.max(axis=1)
    with np.errstate(divide="ignore"):
        inverse_B = np.where(largest_B > 0, _SIX_BITS / largest_B, np.float32(0))
    levels = np.minimum(_nearest(inverse_B[:, None] * values_BS), _SIX_BITS)
    return levels, (largest_B / _SIX_BITS).astype(np.float16)


def _packed_levels(scales_BS: Bytes, offsets_BS: Bytes) -> Bytes:
    """(B, 12): eight scales and eight offsets of six bits each."""
    first, last = slice(0, 4), slice(4, 8)
    return np.concatenate(
        [
            scales_BS[:, first] | (scales_BS[:, last] >> 4) << 6,
            offsets_BS[:, first] | (offsets_BS[:, last] >> 4) << 6,
            (scales_BS[:, last] & 15) | (offsets_BS[:, last] & 15) << 4,
        ],
        axis=1,
    )


def _q6_blocks(blocks: Floats) -> Bytes:
    x_WBS = np.ascontiguousarray(blocks.reshape(-1, 16, 16).transpose(2, 0, 1))
    scales_BS = _fitted_signed_scales(x_WBS)
    largest_B = np.take_along_axis(scales_BS, np.abs(scales_BS).argmax(axis=1)[:, None], 1)[:, 0]
    is_zero_B = np.abs(largest_B) < _TINY
    inverse_B = np.float32(-128) / np.where(is_zero_B, np.float32(1), largest_B)
    d_B = np.where(is_zero_B, np.float32(0), np.float32(1) / inverse_B).astype(np.float16)
    levels = np.minimum(_nearest(inverse_B[:, None] * scales_BS), 127)
    levels_BS = np.where(is_zero_B[:, None], 0, levels).astype(np.int8)
    step_BS = d_B.astype(np.float32)[:, None] * levels_BS
    with np.errstate(divide="ignore", invalid="ignore"):
        steps_WBS = np.clip(_nearest(x_WBS / step_BS), -_Q6_STEPS, _Q6_STEPS - 1)
    signed = np.where(step_BS != 0, steps_WBS, 0)
    steps = (signed + _Q6_STEPS).transpose(1, 2, 0).astype(np.uint8).reshape(-1, 2, 4, 32)
    # Of each 128 weights, four runs of 32: their low four bits in 64 bytes, their high two in 32.
    low = np.concatenate(
        [
            (steps[:, :, 0] & 15) | (steps[:, :, 2] & 15) << 4,
            (steps[:, :, 1] & 15) | (steps[:, :, 3] & 15) << 4,
        ],
        axis=2,
    )
    high = np.bitwise_or.reduce([(steps[:, :, run] >> 4) << 2 * run for run in range(4)])
    num = len(blocks)
    made = np.concatenate(
        [low.reshape(num, -1), high.reshape(num, -1), levels_BS.view(np.uint8), _halves(d_B)],
        axis=1,
    )
    made[is_zero_B] = 0
    return made


def _fitted_signed_scales(x_WBS: Floats) -> Floats:
    """The scale of each sub-block, of the sign that gives its largest weight the step -32."""
    largest_BS = np.take_along_axis(x_WBS, np.abs(x_WBS).argmax(axis=0)[None], 0)[0]
    is_zero = np.abs(largest_BS) < _TINY
    divisor = np.where(is_zero, np.float32(1), largest_BS)
    weights = x_WBS * x_WBS
    scale = best = np.zeros_like(largest_BS)
    for number in (0, *range(-9, 0), *range(1, 10)):
        reach = np.float32(_Q6_STEPS) + np.float32(0.1) * np.float32(number)
        steps = np.clip(_nearest(-reach / divisor * x_WBS), -_Q6_STEPS, _Q6_STEPS - 1)
        sum_xl = (weights * x_WBS * steps).sum(axis=0)
        sum_l2 = (weights * steps * steps).sum(axis=0)
        is_better = (sum_l2 > 0) & (sum_xl * sum_xl > best * sum_l2)
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = np.where(is_better, sum_xl / sum_l2, scale)
        best = np.where(is_better, scale * sum_xl, best)
    return np.where(is_zero, np.float32(0), scale)


def _nearest(values: Any) -> Floats:
    return np.asarray(
        np.rint(values), dtype=np.float32
    )  # halves to even, as ggml's addition of 1.5 * 2^23 rounds them


def _halves(values_B: npt.NDArray[np.float16]) -> Bytes:
    return values_B.astype("<f2").view(np.uint8).reshape(len(values_B), 2)
