"""The score of any token in any context, for tests of what a model favours rather than wrote.

Letters: N contexts, K tokens of each.
"""

import numpy as np
import numpy.typing as npt

from stillhouse.errors import ConfigError
from stillhouse.watermark._key import WatermarkKey
from stillhouse.watermark._keyed import subkeys_of
from stillhouse.watermark._prf import token_hashes, token_uniforms
from stillhouse.watermark._profile import Profile


def score_pairs(
    profile: Profile,
    key: WatermarkKey,
    contexts: npt.NDArray[np.uint64],
    ids: npt.NDArray[np.int64],
) -> npt.NDArray[np.float64]:
    """What `score_tokens` gives a token, for tokens in contexts that need be of no text.

    Args:
        profile: How a text would be marked.
        key: Its key.
        contexts: Hashes of `context_hashes`, of the profile's width; broadcast against `ids`.
        ids: The tokens.

    Raises:
        ConfigError: the key is not the profile's, or its numbers are not drawn from hashes of
            contexts.
        DataError: an id is negative or no integer.
    """
    if profile.prf == "synthid-v1":
        raise ConfigError(
            "The numbers of synthid-v1 come from the ids of a context and not from its hash, so "
            "tokens that were not written cannot be scored. Mark with the prf splitmix64-v1."
        )
    if profile.scheme == "synthid":
        hashes = token_hashes(contexts, ids, subkeys_of(profile, key, "synthid"))
        won = np.zeros(hashes.shape)
        for layer in range(int(profile.parameters["layers"])):  # the uppermost bits
            won += (hashes >> np.uint64(63 - layer)) & np.uint64(1)
        return won
    if profile.scheme == "kgw":
        green = token_uniforms(contexts, ids, subkeys_of(profile, key, "green"))
        return (green < profile.parameters["gamma"]).astype(np.float64)
    if profile.scheme == "gumbel":
        return _surprise(profile, key, "gumbel", contexts, ids)
    alpha = profile.parameters["alpha"]
    first = _surprise(profile, key, "dual/a", contexts, ids)
    return (1 - alpha) * first + alpha * _surprise(profile, key, "dual/b", contexts, ids)


def _surprise(
    profile: Profile,
    key: WatermarkKey,
    purpose: str,
    contexts: npt.NDArray[np.uint64],
    ids: npt.NDArray[np.int64],
) -> npt.NDArray[np.float64]:
    scores: npt.NDArray[np.float64] = -np.log1p(
        -token_uniforms(contexts, ids, subkeys_of(profile, key, purpose))
    )
    return scores
