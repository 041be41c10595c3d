"""In what each tensor of a GGUF file is kept.

The choices are those of llama.cpp's own quantiser, `llama_tensor_get_type_impl` and
`tensor_type_fallback` of https://github.com/ggml-org/llama.cpp (src/llama-quant.cpp), for dense
models: `gguf-q4_k` is its Q4_K_M.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType as Type
from gguf import LlamaFileType, quants

from stillhouse.export._gguf._k_quants import SUPER, Bytes, Floats, quantised_q4_k, quantised_q6_k

_SMALL_BLOCK = 32
_FALLBACKS = {Type.Q4_K: Type.Q5_0, Type.Q6_K: Type.Q8_0}
"""What is taken where a row is no whole number of super-blocks."""
_K_QUANTS: dict[Type, Callable[[Floats], Bytes]] = {
    Type.Q4_K: quantised_q4_k,
    Type.Q6_K: quantised_q6_k,
}


@dataclass(frozen=True)
class TensorPlace:
    """What the choice of a type depends on.

    Attributes:
        name: In the file, such as `blk.3.ffn_down.weight`.
        shape: Rows and columns, or one length.
        num_layers: Of the model.
        is_tied: Whether the head is the token embedding.
    """

    name: str
    shape: tuple[int, ...]
    num_layers: int
    is_tied: bool

    @property
    def is_head(self) -> bool:
        """Whether logits are computed with it."""
        return self.name == "output.weight" or (self.is_tied and self.name == "token_embd.weight")

    @property
    def is_key_or_value(self) -> bool:
        """Whether it makes what later tokens read."""
        return self.name.endswith(("attn_k.weight", "attn_v.weight"))

    @property
    def is_sensitive(self) -> bool:
        """Whether it is a value or down projection of a layer that gets more bits."""
        parts = self.name.split(".")
        if len(parts) < 3 or parts[2] not in ("attn_v", "ffn_down"):
            return False
        layer, eighth = int(parts[1]), self.num_layers // 8
        is_outer = layer < eighth or layer >= 7 * self.num_layers // 8
        return is_outer or (layer - eighth) % 3 == 2


@dataclass(frozen=True)
class Recipe:
    """A kind of GGUF file.

    Attributes:
        file_type: What the file calls itself.
        choose: The type of a matrix.
    """

    file_type: LlamaFileType
    choose: Callable[[TensorPlace], Type]

    def type_of(self, place: TensorPlace) -> Type:
        """The type of a tensor; vectors are norms and biases, which stay as they are."""
        return Type.F32 if len(place.shape) == 1 else _fitting(self.choose(place), place)


def _q8_0(place: TensorPlace) -> Type:
    # Few weights and a third of the error, most of it of the inputs, which llama.cpp rounds too.
    return Type.F16 if place.is_key_or_value else Type.Q8_0


def _q4_k(place: TensorPlace) -> Type:
    if place.is_head:
        return Type.Q8_0 if place.shape[-1] % SUPER else Type.Q6_K
    return Type.Q6_K if place.is_sensitive else Type.Q4_K


def _fitting(wanted: Type, place: TensorPlace) -> Type:
    columns = place.shape[-1]
    if wanted in _FALLBACKS and columns % SUPER:
        wanted = _FALLBACKS[wanted]
    return Type.F16 if columns % _SMALL_BLOCK else wanted


RECIPES = {
    "gguf-f16": Recipe(LlamaFileType.MOSTLY_F16, lambda place: Type.F16),
    "gguf-q8_0": Recipe(LlamaFileType.MOSTLY_Q8_0, _q8_0),
    "gguf-q4_k": Recipe(LlamaFileType.MOSTLY_Q4_K_M, _q4_k),
}


def quantised(weights: Floats, kind: Type) -> npt.NDArray[np.generic]:
    """The tensor as it is kept: bytes for blocks, else float32 or float16."""
    if kind in _K_QUANTS:
        return _K_QUANTS[kind](weights)
    made: npt.NDArray[np.generic] = quants.quantize(np.ascontiguousarray(weights), kind)
    return made
