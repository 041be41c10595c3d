"""The scores of chosen windows of many texts: what `score_tokens` gives, for those alone."""

import numpy as np
import numpy.typing as npt

from stillhouse.watermark._key import WatermarkKey
from stillhouse.watermark._keyed import check_key, subkeys_of
from stillhouse.watermark._prf import U64, token_hashes, token_uniforms
from stillhouse.watermark._profile import Profile
from stillhouse.watermark._schemes import score_tokens
from stillhouse.watermark._scores import NullLaw
from stillhouse.watermark._windows import Windows

Floats = npt.NDArray[np.float64]

_BYTES = 0x0101010101010101


def null_law(profile: Profile) -> NullLaw:
    """How a score is distributed where the text does not know the key."""
    if profile.scheme == "gumbel":
        return NullLaw("exponential")
    if profile.scheme == "dual_gumbel":
        alpha = profile.parameters["alpha"]
        return NullLaw("hypoexponential", (1.0 - alpha, alpha))
    if profile.scheme == "kgw":
        return NullLaw("bernoulli", (profile.parameters["gamma"],))
    return NullLaw("binomial", (float(profile.parameters["layers"]), 0.5))


def window_scores(profile: Profile, key: WatermarkKey, found: Windows) -> Floats:
    """(N,) the score of each window.

    The same numbers as those of `score_tokens`, which hashes the contexts of a whole text for each
    key: here they are hashed once, and what is not scored costs nothing.

    Raises:
        ConfigError: the key is not the profile's.
    """
    check_key(profile, key)
    pairs = found.contexts_N, found.ids_N
    if profile.scheme == "gumbel":
        subkeys = subkeys_of(profile, key, "gumbel")
        return np.asarray(-np.log1p(-token_uniforms(*pairs, subkeys)))
    if profile.scheme == "dual_gumbel":
        alpha = profile.parameters["alpha"]
        first = np.log1p(-token_uniforms(*pairs, subkeys_of(profile, key, "dual/a")))
        second = np.log1p(-token_uniforms(*pairs, subkeys_of(profile, key, "dual/b")))
        return np.asarray(-(1.0 - alpha) * first - alpha * second)
    if profile.scheme == "kgw":
        uniforms_N = token_uniforms(*pairs, subkeys_of(profile, key, "green"))
        return (uniforms_N < profile.parameters["gamma"]).astype(np.float64)
    if profile.prf == "synthid-v1":
        # Its numbers come from the ids of a context and not from a hash of them.
        scores_T = score_tokens(profile, key, found.ids_T).scores_N
        return np.asarray(scores_T[found.at_N - found.width])
    hashes_N = token_hashes(*pairs, subkeys_of(profile, key, "synthid"))
    # The bits of the layers are the first ones of the hash.
    kept_N = hashes_N >> np.uint64(64 - int(profile.parameters["layers"]))
    return _num_ones(kept_N).astype(np.float64)


def _num_ones(x: U64) -> U64:
    """How many bits are 1: added up in pairs, in fours, in bytes, then all bytes at once."""
    pairs, fours, bytes_ = (np.uint64(m) for m in (0x55 * _BYTES, 0x33 * _BYTES, 0x0F * _BYTES))
    x = x - ((x >> np.uint64(1)) & pairs)
    x = (x & fours) + ((x >> np.uint64(2)) & fours)
    x = (x + (x >> np.uint64(4))) & bytes_
    return (x * np.uint64(_BYTES)) >> np.uint64(56)
