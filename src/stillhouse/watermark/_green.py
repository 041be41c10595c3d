"""Green list: the key picks a share gamma of the vocabulary, whose logits gain delta.

It is not unbiased: text becomes likelier green, and a little less likely under the model.
Source: Kirchenbauer et al. 2023, arXiv:2301.10226. There a generator permutes the vocabulary for
each token; here a token is green by its own number, so that a detector needs one hash for it.

Letters: V vocabulary, N scored tokens.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stillhouse.watermark._contexts import NewContexts
from stillhouse.watermark._hashes import VocabularyHashes, may_come
from stillhouse.watermark._key import WatermarkKey
from stillhouse.watermark._keyed import scored_tokens, subkeys_of
from stillhouse.watermark._mark import MarkedRow
from stillhouse.watermark._prf import UNIFORM_BITS, token_uniforms
from stillhouse.watermark._profile import Profile
from stillhouse.watermark._scores import NullLaw, Scores

if TYPE_CHECKING:
    from torch import Tensor


class GreenMark:
    """Adds delta to the logits of green tokens, at any temperature."""

    def __init__(self, profile: Profile, key: WatermarkKey) -> None:
        self._contexts = NewContexts(profile.context_width, profile.repeats)
        self._hashes = VocabularyHashes(subkeys_of(profile, key, "green"))
        self._first_red = _first_red(profile.parameters["gamma"])
        self._delta = profile.parameters["delta"]

    def __call__(
        self, row: MarkedRow, previous_ids: Sequence[int], logits_V: "Tensor"
    ) -> "Tensor | int":
        """Logits at the sampling temperature, with delta on those of green tokens."""
        context = self._contexts(row, previous_ids)
        if context is None:
            return logits_V
        import torch

        ids_S = may_come(logits_V.numpy(force=True))
        is_green_V = self._hashes.of(context, len(logits_V), ids_S) < self._first_red
        if ids_S is not None:
            is_green_S, is_green_V = is_green_V, np.zeros(len(logits_V), dtype=np.bool_)
            is_green_V[ids_S] = is_green_S
        return torch.add(logits_V, torch.from_numpy(is_green_V).to(logits_V), alpha=self._delta)


def _first_red(gamma: float) -> np.uint64:
    """The least hash whose uniform is not below gamma; exact, as no step here rounds."""
    num_green = math.ceil(gamma * 2.0**UNIFORM_BITS - 0.5)
    return np.uint64(num_green << (64 - UNIFORM_BITS))


def green_scores(profile: Profile, key: WatermarkKey, ids_T: npt.ArrayLike) -> Scores:
    """1 for a green token, 0 for another."""
    tokens = scored_tokens(profile, ids_T)
    uniforms_N = token_uniforms(tokens.contexts_N, tokens.ids_N, subkeys_of(profile, key, "green"))
    gamma = profile.parameters["gamma"]
    return Scores(
        (uniforms_N < gamma).astype(np.float64),
        NullLaw("bernoulli", (gamma,)),
        tokens.contexts_N,
        tokens.positions_N,
        tokens.ids_N,
    )
