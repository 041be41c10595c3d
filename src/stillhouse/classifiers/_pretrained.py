"""The weights of a published encoder, under our names."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from stillhouse.artifacts import weights_revision
from stillhouse.classifiers._shape import EncoderShape, Family, locate_encoder, read_shape
from stillhouse.classifiers._tokens import TokenReader, read_tokenizer
from stillhouse.classifiers._weights import Array, float_shapes
from stillhouse.errors import IntegrityError

_PREFIXES = ("", "bert.", "roberta.", "distilbert.", "0.auto_model.")
_BERT = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attended": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "inner": "intermediate.dense",
    "outer": "output.dense",
    "norm": "output.LayerNorm",
}
_DISTILBERT = {
    "query": "attention.q_lin",
    "key": "attention.k_lin",
    "value": "attention.v_lin",
    "attended": "attention.out_lin",
    "attention_norm": "sa_layer_norm",
    "inner": "ffn.lin1",
    "outer": "ffn.lin2",
    "norm": "output_layer_norm",
}
_JOINT = ("query", "key", "value")


def encoder_revision(base: str) -> str:
    """SHA-256 of the encoder's weights (docs/format.md, section 4).

    Args:
        base: Where it is; see `locate_encoder`.

    Raises:
        ConfigError: nothing is there.
        IntegrityError: there are no weights, or they are damaged.
        MissingDependencyError: the default encoder is not installed.
    """
    return weights_revision(locate_encoder(base))


def open_base(base: str, *, max_tokens: int) -> tuple[TokenReader, EncoderShape, dict[str, Array]]:
    """Tokenizer, sizes and float32 weights of an encoder.

    Args:
        base: Where it is; see `locate_encoder`.
        max_tokens: Longer texts lose their end; less where the encoder knows fewer positions.

    Raises:
        ConfigError: nothing is there, or it is of an unknown family.
        IntegrityError: files are missing or damaged.
        MissingDependencyError: the default encoder is not installed.
    """
    folder = locate_encoder(base)
    family, shape = read_shape(folder)
    weights = _renamed(_read(folder), family, shape, where=folder)
    for name, size in float_shapes(shape).items():
        if weights[name].shape != size:
            raise IntegrityError(
                f"{name} in {folder} has the shape {weights[name].shape}; the config.json there "
                f"asks for {size}. Fetch the model again."
            )
    reader = read_tokenizer(folder, max_tokens=min(max_tokens, shape.positions))
    if reader.num_ids > shape.vocabulary:
        raise IntegrityError(
            f"The tokenizer in {folder} has {reader.num_ids} ids, and the encoder knows "
            f"{shape.vocabulary}. Fetch the model again."
        )
    return reader, shape, weights


def _read(folder: Path) -> dict[str, Array]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    with suppress(ImportError):
        import ml_dtypes  # noqa: F401 - comes with onnx, and tells numpy of bfloat16

    paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        raise IntegrityError(
            f"{folder} holds no *.safetensors weights. Save the encoder with safe_serialization."
        )
    weights: dict[str, Array] = {}
    for path in paths:
        try:
            weights.update(load_file(path))
        except (SafetensorError, OSError, TypeError, KeyError) as err:  # the last two: no bfloat16
            raise IntegrityError(
                f"{path} is damaged, or not of float32 or float16 ({type(err).__name__}: {err}). "
                "Fetch it again, or save it in float32."
            ) from err
    return weights


def _renamed(
    weights: Mapping[str, Array], family: Family, shape: EncoderShape, *, where: Path
) -> dict[str, Array]:
    prefix = next((p for p in _PREFIXES if f"{p}embeddings.LayerNorm.weight" in weights), "")

    def get(name: str) -> Array:
        if f"{prefix}{name}" not in weights:
            raise IntegrityError(
                f"The encoder in {where} lacks the weights {name}. Fetch the model again."
            )
        return weights[f"{prefix}{name}"].astype(np.float32)

    positions = get("embeddings.position_embeddings.weight")
    if family != "distilbert":  # what is read is the first kind of text, so its mark is constant
        positions += get("embeddings.token_type_embeddings.weight")[0]
    named = {
        "tokens.weight": get("embeddings.word_embeddings.weight"),
        # RoBERTa's first positions are those of padding.
        "positions.weight": positions[max(len(positions) - shape.positions, 0) :],
        "norm.weight": get("embeddings.LayerNorm.weight"),
        "norm.bias": get("embeddings.LayerNorm.bias"),
    }
    theirs = _DISTILBERT if family == "distilbert" else _BERT
    place = "transformer.layer" if family == "distilbert" else "encoder.layer"
    for number in range(shape.layers):
        for kind in ("weight", "bias"):
            found = {ours: get(f"{place}.{number}.{name}.{kind}") for ours, name in theirs.items()}
            joint = np.concatenate([found.pop(name) for name in _JOINT])
            named[f"layers.{number}.query_key_value.{kind}"] = joint
            named |= {f"layers.{number}.{ours}.{kind}": array for ours, array in found.items()}
    return named
