"""SynthID: a tournament in layers, in each of which the key gives every token a bit.

A layer draws two tokens and keeps the one whose bit is 1; what that does to the law of a token is
computed, not drawn. Over keys one layer leaves each token its probability.
Source: Dathathri et al. 2024, doi:10.1038/s41586-024-08025-4.

Letters: V vocabulary, S its tokens that may be drawn, N scored tokens, L layers.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stillhouse.watermark._contexts import NewContexts
from stillhouse.watermark._hashes import VocabularyHashes, may_come
from stillhouse.watermark._key import WatermarkKey
from stillhouse.watermark._keyed import ScoredTokens, check_key, scored_tokens, subkeys_of
from stillhouse.watermark._mark import MarkedRow
from stillhouse.watermark._prf import U64, token_hashes
from stillhouse.watermark._profile import Profile
from stillhouse.watermark._scores import I64, NullLaw, Scores
from stillhouse.watermark._synthid_prf import (
    U8,
    accumulate,
    context_states,
    layer_bits,
    synthid_keys,
)

if TYPE_CHECKING:
    from torch import Tensor

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.intp]
LayerCodes = Callable[[int, int], Codes]
"""The bits of so many layers from one on, as one number: the first of them is the highest."""

_TOGETHER = 10  # layers: a number for each of the 2**10 patterns is small beside a vocabulary
_ONES = np.ones(1 << _TOGETHER)

# Of zeros, and of numbers too small for float32 to hold whole, logarithms take ten times as long,
# and so do exponentials that give such numbers.
_LEAST = 2.0**-120


def hash_codes(hashes: U64) -> LayerCodes:
    """Layers take the bits of hashes from the highest down."""

    def codes(first: int, count: int) -> Codes:
        shifted = hashes >> np.uint64(64 - first - count)
        shifted &= np.uint64((1 << count) - 1)
        return shifted.view(np.int64).astype(np.intp, copy=False)

    return codes


class SynthIdMark:
    """Lets each layer of the tournament change the law of the next token."""

    def __init__(self, profile: Profile, key: WatermarkKey) -> None:
        self._contexts = NewContexts(profile.context_width, profile.repeats)
        self._width = profile.context_width
        self._num_layers = int(profile.parameters["layers"])
        self._hashes = VocabularyHashes(subkeys_of(profile, key, "synthid"))
        is_theirs = profile.prf == "synthid-v1"
        self._layer_keys = synthid_keys(key, self._num_layers) if is_theirs else None

    def __call__(
        self, row: MarkedRow, previous_ids: Sequence[int], logits_V: "Tensor"
    ) -> "Tensor | int":
        """The logarithm of the law after all layers; at temperature 0 there is none to change."""
        if row.temperature == 0.0:
            return logits_V
        context = self._contexts(row, previous_ids)
        if context is None:
            return logits_V
        import torch

        ids_S = may_come(logits_V.numpy(force=True))
        codes = self._codes(context, previous_ids[-self._width :], len(logits_V), ids_S)
        if ids_S is None:
            return tournament(logits_V, codes, self._num_layers)
        places_S = torch.from_numpy(ids_S).to(logits_V.device)
        law_S = tournament(logits_V[places_S], codes, self._num_layers)
        return torch.full_like(logits_V, -torch.inf).index_copy_(0, places_S, law_S)

    def _codes(
        self, context: int, context_ids: Sequence[int], width: int, ids_S: I64 | None
    ) -> LayerCodes:
        if self._layer_keys is None:
            return hash_codes(self._hashes.of(context, width, ids_S))
        state = context_states(np.array([*context_ids, 0]), self._width)
        ids = np.arange(width) if ids_S is None else ids_S
        return _their_codes(accumulate(state, ids), self._layer_keys)


def _their_codes(states: U64, keys: Sequence[int]) -> LayerCodes:
    """The same of transformers' numbers, where each layer's bits are computed by themselves."""

    def codes(first: int, count: int) -> Codes:
        found = np.zeros(len(states), dtype=np.intp)
        for key in keys[first : first + count]:
            found <<= 1
            found |= layer_bits(states, key)
        return found

    return codes


def tournament(logits_S: "Tensor", codes: LayerCodes, num_layers: int) -> "Tensor":
    """The log-probabilities after `num_layers` layers, nats.

    Tokens whose bits are the same in some layers are changed by the same factor there, so that
    those layers are computed on the mass of each pattern of bits, and on the tokens once.

    Args:
        logits_S: Float32, of tokens that may all be drawn.
        codes: Gives the (S,) bits of layers.
        num_layers: How many.

    Returns:
        (S,) float32; what has less than 2**-120 is given as that. All of it together changes no
        sum of float64, and so no draw.
    """
    import torch

    probs_S = torch.softmax(logits_S, dim=0).numpy(force=True).astype(np.float64)
    weights_S = torch.from_numpy(probs_S)  # the same memory
    for first in range(0, num_layers, _TOGETHER):
        count = min(_TOGETHER, num_layers - first)
        codes_S = codes(first, count)
        masses = torch.zeros(1 << count, dtype=torch.float64)
        masses.scatter_add_(0, torch.from_numpy(codes_S), weights_S)  # twice as fast as bincount
        probs_S *= _factors(masses.numpy(), count).take(codes_S)
    law_S = probs_S.astype(np.float32)
    return torch.from_numpy(np.log(np.maximum(law_S, _LEAST, out=law_S), out=law_S)).to(logits_S)


def _factors(masses: Floats, num_layers: int) -> Floats:
    """(2**L,) what each pattern's probabilities are multiplied by, from the masses of patterns."""
    by_layer = []
    for _ in range(num_layers):
        half = len(masses) // 2
        # 1 + bit - mass of the ones: with 1 for the whole, errors of the sum shrink by each layer.
        # That mass may round to more than 1, and a probability would fall below 0.
        mass_of_zeros = max(0.0, 1.0 - float(masses[half:].dot(_ONES[:half])))
        by_layer.append((mass_of_zeros, 1.0 + mass_of_zeros))
        masses = np.dot(by_layer[-1], masses.reshape(2, half))
    half = num_layers // 2
    found = np.multiply.outer(_products(by_layer[:half]), _products(by_layer[half:])).ravel()
    return np.maximum(found, _LEAST, out=found)


def _products(by_layer: Sequence[tuple[float, float]]) -> list[float]:
    """The factor of each pattern of some layers, the first of them in the highest bit."""
    found = [1.0]
    for zero, one in by_layer:
        found = [product * factor for product in found for factor in (zero, one)]
    return found


def synthid_scores(profile: Profile, key: WatermarkKey, ids_T: npt.ArrayLike) -> Scores:
    """How many of a token's bits are 1."""
    num_layers = int(profile.parameters["layers"])
    tokens = scored_tokens(profile, ids_T)
    codes = _codes_of_text(profile, key, ids_T, tokens)
    ones_N = np.zeros(len(tokens.ids_N), dtype=np.uint64)
    for first in range(0, num_layers, 32):
        count = min(32, num_layers - first)
        ones_N += np.bitwise_count(codes(first, count).astype(np.uint64, copy=False))
    return Scores(
        ones_N.astype(np.float64),
        NullLaw("binomial", (float(num_layers), 0.5)),
        tokens.contexts_N,
        tokens.positions_N,
        tokens.ids_N,
    )


def synthid_bits(profile: Profile, key: WatermarkKey, ids_T: npt.ArrayLike) -> U8:
    """(N, L) g-values of the tokens with a whole context."""
    codes = _codes_of_text(profile, key, ids_T, scored_tokens(profile, ids_T))
    layers = range(int(profile.parameters["layers"]))
    return np.stack([codes(layer, 1).astype(np.uint8) for layer in layers], axis=1)


def _codes_of_text(
    profile: Profile, key: WatermarkKey, ids_T: npt.ArrayLike, tokens: ScoredTokens
) -> LayerCodes:
    check_key(profile, key)
    if profile.prf != "synthid-v1":
        subkeys = subkeys_of(profile, key, "synthid")
        return hash_codes(token_hashes(tokens.contexts_N, tokens.ids_N, subkeys))
    states_N = accumulate(context_states(ids_T, profile.context_width), tokens.ids_N)
    return _their_codes(states_N, synthid_keys(key, int(profile.parameters["layers"])))
