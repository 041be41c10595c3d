import ctypes

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type

from stillhouse.export._gguf._k_quants import quantised_q4_k, quantised_q6_k
from stillhouse.export._gguf._types import RECIPES, TensorPlace, quantised

CASES = [(quantised_q4_k, Type.Q4_K, 15), (quantised_q6_k, Type.Q6_K, 63)]


def rows(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_t(4, size=(24, 512)) * 0.05).astype(np.float32)


def odd_rows() -> np.ndarray:
    """All zero, one value, positive only, negative only, and of very different sizes."""
    x = rows(1)[:6]
    x[0], x[1, :300], x[2], x[3] = 0, 0.25, np.abs(x[2]), -np.abs(x[3])
    x[4] *= np.float32(0.1)
    x[5, ::7] *= 100
    return x


@pytest.mark.parametrize(("quantise", "kind", "steps"), CASES)
def test_what_is_read_back_is_within_a_step_of_each_sub_block(quantise, kind, steps) -> None:
    x = rows()
    back = gguf.quants.dequantize(quantise(x), kind)
    size = 32 if kind == Type.Q4_K else 16
    blocks, read = x.reshape(-1, size), back.reshape(-1, size)
    width = np.maximum(blocks.max(1), 0) - np.minimum(blocks.min(1), 0)
    # The scale itself is rounded to 1/63 or 1/128 of the largest, which moves the far end.
    step = 2 * np.abs(blocks).max(1) / 63 if kind == Type.Q6_K else width / steps
    assert (np.abs(blocks - read).max(1) <= 1.5 * step + np.abs(x).max() / 63).all()
    error = np.sqrt(np.mean((x - back) ** 2) / np.mean(x**2))
    assert error < (0.1 if kind == Type.Q4_K else 0.03)


@pytest.mark.parametrize(("quantise", "kind", "steps"), CASES)
def test_zeros_and_one_sided_rows_come_back(quantise, kind, steps) -> None:
    x = odd_rows()
    back = gguf.quants.dequantize(quantise(x), kind)
    assert not back[0].any()
    assert np.isfinite(back).all()
    for row in range(len(x)):
        assert np.abs(back[row] - x[row]).max() <= 0.2 * np.abs(x[row]).max()


@pytest.mark.parametrize(("quantise", "kind", "steps"), CASES)
def test_rows_do_not_change_each_other(quantise, kind, steps) -> None:
    x = rows()
    assert np.array_equal(quantise(x)[5:6], quantise(x[5:6]))


@pytest.mark.parametrize(("quantise", "name"), [(quantised_q4_k, "q4_K"), (quantised_q6_k, "q6_K")])
def test_blocks_are_those_of_ggml(quantise, name: str) -> None:
    native = pytest.importorskip("xllamacpp.xllamacpp")
    try:
        theirs = getattr(ctypes.CDLL(native.__file__), f"quantize_{name}")
    except AttributeError:
        pytest.skip("this build of llama.cpp shows no quantiser")
    x = np.ascontiguousarray(np.concatenate([rows(2), odd_rows()]))
    ours = quantise(x)
    expected = np.zeros_like(ours)
    theirs.restype = ctypes.c_size_t
    pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (x, expected)]
    theirs(*pointers, ctypes.c_int64(len(x)), ctypes.c_int64(x.shape[1]), None)
    kind = Type.Q4_K if name == "q4_K" else Type.Q6_K
    # A compiler may fuse a product and a sum, which tips a choice now and then.
    block = gguf.GGML_QUANT_SIZES[kind][1]
    same = (ours.reshape(-1, block) == expected.reshape(-1, block)).all(axis=1)
    assert same.mean() >= 0.95
    errors = [np.mean((gguf.quants.dequantize(made, kind) - x) ** 2) for made in (ours, expected)]
    assert errors[0] == pytest.approx(errors[1], rel=1e-3)


def place(name: str, *shape: int, layers: int = 16, tied: bool = True) -> TensorPlace:
    return TensorPlace(name, shape, layers, tied)


def test_the_types_are_those_of_q4_k_m() -> None:
    choose = RECIPES["gguf-q4_k"].type_of
    assert choose(place("blk.4.ffn_up.weight", 512, 256)) == Type.Q4_K
    assert choose(place("blk.4.ffn_down.weight", 256, 512)) == Type.Q6_K  # (4 - 2) % 3 == 2
    assert choose(place("blk.3.ffn_down.weight", 256, 512)) == Type.Q4_K
    assert choose(place("blk.15.attn_v.weight", 256, 256)) == Type.Q6_K
    assert choose(place("blk.15.attn_k.weight", 256, 256)) == Type.Q4_K
    assert choose(place("token_embd.weight", 1000, 256)) == Type.Q6_K
    assert choose(place("token_embd.weight", 1000, 256, tied=False)) == Type.Q4_K
    assert choose(place("output.weight", 1000, 256, tied=False)) == Type.Q6_K
    assert choose(place("blk.0.attn_norm.weight", 256)) == Type.F32


def test_eight_bits_spare_what_later_tokens_read() -> None:
    choose = RECIPES["gguf-q8_0"].type_of
    assert choose(place("blk.0.attn_k.weight", 192, 576)) == Type.F16
    assert choose(place("blk.7.attn_v.weight", 192, 576)) == Type.F16
    assert choose(place("blk.0.attn_q.weight", 576, 576)) == Type.Q8_0
    assert choose(place("token_embd.weight", 49152, 576)) == Type.Q8_0
    assert choose(place("blk.0.attn_norm.weight", 576)) == Type.F32


def test_rows_of_no_whole_super_blocks_fall_back_as_in_llama_cpp() -> None:
    choose = RECIPES["gguf-q4_k"].type_of
    assert choose(place("blk.4.ffn_up.weight", 1536, 576)) == Type.Q5_0
    assert choose(place("blk.15.attn_v.weight", 192, 576)) == Type.Q8_0
    assert choose(place("token_embd.weight", 49152, 576)) == Type.Q8_0
    assert choose(place("blk.4.ffn_up.weight", 64, 40)) == Type.F16


@pytest.mark.parametrize("kind", [Type.F32, Type.F16, Type.Q8_0, Type.Q5_0, Type.Q4_K, Type.Q6_K])
def test_every_type_that_is_chosen_is_read_back(kind: Type) -> None:
    x = rows(3)
    back = gguf.quants.dequantize(quantised(x, kind), kind)
    assert np.sqrt(np.mean((back - x) ** 2) / np.mean(x**2)) < 0.1
