"""A profile together with its key, and a text as both of them see it.

Letters: T tokens of a text, N those with a whole context.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stillhouse.errors import ConfigError
from stillhouse.watermark._key import WatermarkKey
from stillhouse.watermark._prf import U64, PrfName, Subkeys, context_hashes
from stillhouse.watermark._profile import Profile
from stillhouse.watermark._scores import I64


@dataclass(frozen=True, slots=True)
class ScoredTokens:
    """The tokens of a text that have a whole context.

    Attributes:
        contexts_N: Hash of each context, without a key.
        ids_N: The tokens.
        positions_N: Where they stand in the text.
    """

    contexts_N: U64
    ids_N: I64
    positions_N: I64


def subkeys_of(profile: Profile, key: WatermarkKey, purpose: str) -> Subkeys:
    """What a scheme computes with.

    Raises:
        ConfigError: the key is not the profile's.
    """
    check_key(profile, key)
    prf: PrfName = "hmac-sha256-v1" if profile.prf == "hmac-sha256-v1" else "splitmix64-v1"
    return key.subkeys(purpose, profile.customer_bytes, prf=prf)


def check_key(profile: Profile, key: WatermarkKey) -> None:
    """Refuse another key than the profile commits to.

    Raises:
        ConfigError: it is another.
    """
    if key.key_id != profile.key_id:
        raise ConfigError(
            f"The profile {profile.profile_id[:12]} is of the key {profile.key_id[:12]}, and the "
            f"key {key.key_id[:12]} was given. Give the key that the profile was made with."
        )


def scored_tokens(profile: Profile, ids_T: npt.ArrayLike) -> ScoredTokens:
    """The tokens that can be scored; none where the text is shorter than a context.

    Args:
        profile: Says how long a context is.
        ids_T: One text, by the profile's tokenizer and without its prompt.

    Raises:
        DataError: an id is negative or no integer.
        ShapeError: more than one text.
    """
    width = profile.context_width
    contexts_N = context_hashes(ids_T, width)
    ids_N = np.asarray(ids_T)[width:].astype(np.int64)
    positions_N = np.arange(width, width + len(contexts_N), dtype=np.int64)
    return ScoredTokens(contexts_N, ids_N[: len(contexts_N)], positions_N)


def check_customers(profile: Profile) -> None:
    """Refuse a profile under which customers have no keys of their own.

    Raises:
        ConfigError: it is one.
    """
    if profile.prf == "synthid-v1":
        raise ConfigError(
            "The profile draws its numbers as transformers' SynthID does, which knows no "
            "customers. Give a profile with the prf splitmix64-v1."
        )


def customer_profile(profile: Profile, key: WatermarkKey, customer: str) -> Profile:
    """The same profile of one customer, by name."""
    return profile.model_copy(update={"customer": key.customer_id(customer)})
