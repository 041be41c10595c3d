"""The centred score of any token in any context under a key, with its law when there is no mark."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stillhouse.statistics import BernoulliLaw, BinomialMeanLaw, ExponentialLaw, ScoreLaw
from stillhouse.watermark import Profile, WatermarkKey, score_pairs

Scorer = Callable[[npt.NDArray[np.uint64], npt.NDArray[np.int64]], npt.NDArray[np.float64]]
"""Contexts (N, 1) and ids (N, K) to scores (N, K), less their mean under the null law."""


@dataclass(frozen=True)
class KeyedScores:
    """What one key says of tokens.

    Attributes:
        law: Of a score where the key has nothing to do with the token.
        scorer: Gives the scores.
    """

    law: ScoreLaw
    scorer: Scorer


def keyed_scores(profile: Profile, key: WatermarkKey) -> KeyedScores:
    """The scores of a profile's scheme, centred.

    A tournament's score is the mean of its layers' bits.

    Raises:
        ConfigError: the key is not the profile's, or its prf cannot score what was not written.
    """
    law, mean, scale = _law(profile)

    def scorer(
        contexts: npt.NDArray[np.uint64], ids: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        return score_pairs(profile, key, contexts, ids) * scale - mean

    # A wrong key is told before hours of forward passes.
    scorer(np.zeros(1, dtype=np.uint64), np.zeros(1, dtype=np.int64))
    return KeyedScores(law, scorer)


def decoy_scores(profile: Profile, count: int, *, seed: int = 0) -> Iterator[KeyedScores]:
    """The scores of keys that nobody used, the same for a seed."""
    for number in range(count):
        secret = hashlib.sha256(f"stillhouse/protect/decoy/1\0{seed}\0{number}".encode()).digest()
        key = WatermarkKey(secret)
        yield keyed_scores(profile.model_copy(update={"key_id": key.key_id}), key)


def _law(profile: Profile) -> tuple[ScoreLaw, float, float]:
    """The law of a centred score, the mean that is taken off, and what raw scores are times."""
    if profile.scheme == "kgw":
        gamma = profile.parameters["gamma"]
        return BernoulliLaw(gamma), gamma, 1.0
    if profile.scheme == "gumbel":
        return ExponentialLaw(), 1.0, 1.0
    if profile.scheme == "dual_gumbel":
        alpha = profile.parameters["alpha"]
        return ExponentialLaw((1 - alpha, alpha)), 1.0, 1.0
    layers = int(profile.parameters["layers"])
    return BinomialMeanLaw((1 / layers,) * layers), 0.5, 1 / layers
