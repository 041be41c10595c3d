"""A language model as one GGUF file."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from stillhouse.errors import ConfigError
from stillhouse.export._gguf._architecture import Architecture, read_architecture
from stillhouse.export._gguf._k_quants import Floats
from stillhouse.export._gguf._types import RECIPES, TensorPlace, quantised
from stillhouse.export._gguf._vocabulary import Vocabulary, read_vocabulary
from stillhouse.models import LanguageModel

RowOrder = Callable[[Floats, int], Floats]
"""The rows of a query or key matrix in another order, by the number of its heads."""

_TURNED = re.compile(r"layers\.\d+\.self_attn\.([qk])_proj\.(weight|bias)$")
_SUFFIXES = (".weight", ".bias")
_TOKENIZER = "tokenizer.ggml."


def pairs_first(rows: Floats, num_heads: int) -> Floats:
    """Rows of each head so that the two that rotate together are neighbours.

    transformers rotates row i of a head with row i + half of it, llama.cpp's `llama` row 2 i with
    row 2 i + 1.

    Args:
        rows: (H D,) or (H D, I), H heads.
        num_heads: H.
    """
    halves = rows.reshape(num_heads, 2, rows.shape[0] // num_heads // 2, *rows.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(rows.shape)


def write_gguf(
    model: LanguageModel, path: Path, *, recipe: str, order: RowOrder = pairs_first
) -> None:
    """Write `model` as llama.cpp reads it.

    Args:
        model: A Llama, Qwen2 or Qwen3.
        path: A new file.
        recipe: A key of `RECIPES`.
        order: Of the rows of queries and keys, for families whose halves llama.cpp turns.

    Raises:
        ConfigError: the family, a feature of the model or its tokenizer is not supported.
    """
    config = model.network.config
    architecture = read_architecture(config, name=model.name)
    vocabulary = read_vocabulary(model.chat, num_ids=int(config.vocab_size))
    writer = gguf.GGUFWriter(path, architecture.name)
    _describe(writer, architecture, name=model.name, file_type=RECIPES[recipe].file_type)
    _describe_tokenizer(writer, vocabulary, template=model.chat.tokenizer.chat_template)
    for name, weights in _tensors(model.network.state_dict(), architecture, order):
        place = TensorPlace(name, weights.shape, architecture.num_layers, architecture.is_tied)
        kind = RECIPES[recipe].type_of(place)
        writer.add_tensor(name, quantised(weights, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: Any, architecture: Architecture, *, name: str, file_type: int) -> None:
    writer.add_type("model")
    writer.add_name(name)
    writer.add_file_type(int(file_type))
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    for key, value in architecture.metadata.items():
        _add(writer, f"{architecture.name}.{key}", value)


def _describe_tokenizer(writer: Any, vocabulary: Vocabulary, *, template: str) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(vocabulary.cut)
    writer.add_token_list(list(vocabulary.tokens))
    writer.add_token_types(list(vocabulary.types))
    writer.add_token_merges(list(vocabulary.merges))
    for key, number in vocabulary.special_ids.items():
        writer.add_uint32(f"{_TOKENIZER}{key}", number)
    writer.add_add_bos_token(vocabulary.adds_bos)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(template)


def _add(writer: Any, key: str, value: int | float | str) -> None:
    add = {int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
    add[type(value)](key, value)


def _tensors(
    state: Mapping[str, Any], architecture: Architecture, order: RowOrder
) -> Iterator[tuple[str, Floats]]:
    """Each tensor by its name in the file, float32."""
    names = gguf.get_tensor_name_map(architecture.family, architecture.num_layers)
    yield from architecture.extra.items()
    for name, tensor in state.items():
        if name == "lm_head.weight" and architecture.is_tied:
            continue
        written = names.get_name(name, try_suffixes=_SUFFIXES)
        if written is None:
            raise ConfigError(
                f"The model has a tensor {name!r} that GGUF files of {architecture.name} do not "
                "have. Export it as safetensors."
            )
        weights = np.ascontiguousarray(tensor.detach().float().numpy())
        match = _TURNED.search(name)
        if match and architecture.turns_halves:
            of_queries = match[1] == "q"
            heads = architecture.num_heads if of_queries else architecture.num_key_value_heads
            weights = order(weights, heads)
        yield written, weights
