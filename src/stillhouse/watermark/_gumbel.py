"""Keyed Gumbel: a token is chosen as sampling would choose it, with the key's numbers for noise.

Whatever the law of a token is, argmax of log p + Gumbel(u) with uniform u draws from it: over keys
the text is distributed as without a mark (Aaronson 2022; Gumbel-max trick). With two keys, one of
them chosen for each token, the numbers of the other stay free.

Letters: V vocabulary, N scored tokens, S candidates.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stillhouse.watermark._contexts import NewContexts
from stillhouse.watermark._hashes import VocabularyHashes, may_come
from stillhouse.watermark._key import WatermarkKey
from stillhouse.watermark._keyed import scored_tokens, subkeys_of
from stillhouse.watermark._mark import MarkedRow
from stillhouse.watermark._own_random import WHICH_KEY, own_uniform
from stillhouse.watermark._prf import U64, token_uniforms, uniforms
from stillhouse.watermark._profile import Profile
from stillhouse.watermark._scores import NullLaw, Scores

if TYPE_CHECKING:
    from torch import Tensor

# Float32 exponentials are right to 2e-7 of their value, and what is let through is compared in
# float64. Where they underflow nothing can win: 1 - u is at least 2**-53, and `bound` below 37.
_SLACK = 1.0 + 1e-5


class GumbelMark:
    """Marks with one key, or with two."""

    def __init__(self, profile: Profile, key: WatermarkKey) -> None:
        self._contexts = NewContexts(profile.context_width, profile.repeats)
        self._hashes = [
            VocabularyHashes(subkeys_of(profile, key, purpose)) for purpose in _purposes(profile)
        ]
        self._alpha = profile.parameters.get("alpha", 0.0)

    def __call__(
        self, row: MarkedRow, previous_ids: Sequence[int], logits_V: "Tensor"
    ) -> "Tensor | int":
        """The token; at temperature 0 there is no choice to mark."""
        if row.temperature == 0.0:
            return logits_V
        context = self._contexts(row, previous_ids)
        if context is None:
            return logits_V
        second = bool(self._alpha) and is_second_key(row.seed, len(previous_ids), self._alpha)
        return gumbel_choice(logits_V.numpy(force=True), self._hashes[second], context)


def gumbel_choice(logits_V: npt.NDArray[np.float32], hashes: VocabularyHashes, context: int) -> int:
    """The token with the largest logit - log(-log u), exactly, with few logarithms.

    With E = -log u the winner has the least E / exp(logit). E is at least 1 - u, so that a token
    with a larger (1 - u) / exp(logit) than the E / exp(logit) of the likeliest cannot win.
    """
    ids_S = may_come(logits_V)
    hashes_S = hashes.of(context, len(logits_V), ids_S)
    if ids_S is None:
        return _winner(logits_V, hashes_S)
    return int(ids_S[_winner(logits_V[ids_S], hashes_S)])


def _winner(logits_S: npt.NDArray[np.float32], hashes_S: U64) -> int:
    uniforms_S = uniforms(hashes_S)
    likeliest = int(logits_S.argmax())
    bound = -np.log(uniforms_S[likeliest]) * _SLACK
    may_win = np.flatnonzero(1.0 - uniforms_S <= bound * np.exp(logits_S - logits_S[likeliest]))
    values = logits_S[may_win].astype(np.float64) - np.log(-np.log(uniforms_S[may_win]))
    return int(may_win[values.argmax()])


def is_second_key(seed: int, place: int, alpha: float) -> bool:
    """Whether the second key marks a token: with probability alpha, by the completion's own seed.

    A server that drafts with a small model and checks with a large one marks what it drafts with
    the first key and what it draws in place of a refused draft with the second. Here nothing is
    drafted, and the same share of tokens goes to the second by chance.

    Args:
        seed: Of the completion.
        place: Of the token in it.
        alpha: Share of the second key.
    """
    return own_uniform(seed, WHICH_KEY, place) < alpha


def gumbel_scores(profile: Profile, key: WatermarkKey, ids_T: npt.ArrayLike) -> Scores:
    """-log(1 - u) of each token, or with two keys (1 - alpha) and alpha times that of each key."""
    tokens = scored_tokens(profile, ids_T)
    scores_N = np.zeros(len(tokens.ids_N))
    alpha = profile.parameters.get("alpha", 0.0)
    for purpose, weight in zip(_purposes(profile), (1.0 - alpha, alpha), strict=False):
        subkeys = subkeys_of(profile, key, purpose)
        scores_N -= weight * np.log1p(-token_uniforms(tokens.contexts_N, tokens.ids_N, subkeys))
    null = NullLaw("hypoexponential", (1.0 - alpha, alpha)) if alpha else NullLaw("exponential")
    return Scores(scores_N, null, tokens.contexts_N, tokens.positions_N, tokens.ids_N)


def _purposes(profile: Profile) -> tuple[str, ...]:
    return ("gumbel",) if profile.scheme == "gumbel" else ("dual/a", "dual/b")
