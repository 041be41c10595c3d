"""SynthID: a tournament in layers, in each of which the key gives every token a bit.

A layer draws two tokens and keeps the one whose bit is 1; what that does to the law of a token is
computed, not drawn. Over keys one layer leaves each token its probability.
Source: Dathathri et al. 2024, doi:10.1038/s41586-024-08025-4.

Letters: V vocabulary, N scored tokens, L layers.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stillhouse.watermark._contexts import NewContexts
from stillhouse.watermark._hashes import VocabularyHashes
from stillhouse.watermark._key import WatermarkKey
from stillhouse.watermark._keyed import ScoredTokens, check_key, scored_tokens, subkeys_of
from stillhouse.watermark._mark import MarkedRow
from stillhouse.watermark._prf import U64, token_hashes
from stillhouse.watermark._profile import Profile
from stillhouse.watermark._scores import NullLaw, Scores
from stillhouse.watermark._synthid_prf import (
    U8,
    accumulate,
    context_states,
    layer_bits,
    synthid_keys,
)

if TYPE_CHECKING:
    from torch import Tensor

LayerBits = Callable[[int], U8]


class HashBits:
    """The bits of hashes from the highest down; quick where layers are asked in order.

    Args:
        hashes: Any number of them; they must not change meanwhile.
    """

    def __init__(self, hashes: U64) -> None:
        self._hashes = hashes
        self._group = -1
        self._bytes = np.empty(0, dtype=np.uint8)

    def __call__(self, layer: int) -> U8:
        """The bit of each hash in that layer."""
        group, place = divmod(layer, 8)
        if group != self._group:
            # An eighth of the memory for the next eight layers.
            self._bytes = (self._hashes >> np.uint64(56 - 8 * group)).astype(np.uint8)
            self._group = group
        return (self._bytes >> np.uint8(7 - place)) & np.uint8(1)


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
        bits = self._bits(context, previous_ids[-self._width :], len(logits_V))
        return tournament(logits_V, bits, self._num_layers)

    def _bits(self, context: int, context_ids: Sequence[int], width: int) -> LayerBits:
        if self._layer_keys is None:
            return HashBits(self._hashes.of_all(context, width))
        state = context_states(np.array([*context_ids, 0]), self._width)
        states_V, keys = accumulate(state, np.arange(width)), self._layer_keys
        return lambda layer: layer_bits(states_V, keys[layer])


def tournament(logits_V: "Tensor", bits: LayerBits, num_layers: int) -> "Tensor":
    """The log-probabilities after `num_layers` layers, nats.

    Args:
        logits_V: Float32; -inf stays what it is.
        bits: Gives the (V,) bits of a layer.
        num_layers: How many.
    """
    import torch

    probs_V = torch.softmax(logits_V, dim=0)
    for layer in range(num_layers):
        bits_V = torch.from_numpy(bits(layer)).to(probs_V)
        # 1 + bit - mass of the ones: with 1 for the whole, errors of the sum shrink by each layer.
        # That mass may round to more than 1, and a probability would fall below 0.
        mass_of_zeros = max(0.0, 1.0 - float(torch.dot(bits_V, probs_V)))
        probs_V.mul_(bits_V.add_(mass_of_zeros))
    return torch.log(probs_V)


def synthid_scores(profile: Profile, key: WatermarkKey, ids_T: npt.ArrayLike) -> Scores:
    """How many of a token's bits are 1."""
    num_layers = int(profile.parameters["layers"])
    tokens = scored_tokens(profile, ids_T)
    bits = _bits_of_text(profile, key, ids_T, tokens)
    scores_N = np.zeros(len(tokens.ids_N))
    for layer in range(num_layers):
        scores_N += bits(layer)
    return Scores(
        scores_N,
        NullLaw("binomial", (float(num_layers), 0.5)),
        tokens.contexts_N,
        tokens.positions_N,
        tokens.ids_N,
    )


def synthid_bits(profile: Profile, key: WatermarkKey, ids_T: npt.ArrayLike) -> U8:
    """(N, L) g-values of the tokens with a whole context."""
    bits = _bits_of_text(profile, key, ids_T, scored_tokens(profile, ids_T))
    return np.stack([bits(layer) for layer in range(int(profile.parameters["layers"]))], axis=1)


def _bits_of_text(
    profile: Profile, key: WatermarkKey, ids_T: npt.ArrayLike, tokens: ScoredTokens
) -> LayerBits:
    check_key(profile, key)
    if profile.prf != "synthid-v1":
        subkeys = subkeys_of(profile, key, "synthid")
        hashes_N = token_hashes(tokens.contexts_N, tokens.ids_N, subkeys)
        return HashBits(hashes_N)
    states_N = accumulate(context_states(ids_T, profile.context_width), tokens.ids_N)
    keys = synthid_keys(key, int(profile.parameters["layers"]))
    return lambda layer: layer_bits(states_N, keys[layer])
