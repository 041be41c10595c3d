"""Marked texts without a model: a random Markov chain whose laws all have one entropy.

What follows two tokens is a Zipf-shaped law over ids that depend on them, so that contexts are as
varied as in text and each choice is exactly as free as it is said to be. The keyed Gumbel scheme
then chooses as `stillhouse.watermark` does, contexts that were there before without the key.

Letters: R texts, V ids, T tokens.
"""

import numpy as np
import numpy.typing as npt

from stillhouse.watermark import Profile, WatermarkKey, context_hashes, token_uniforms, zipf_law

VOCABULARY = 1_024
_ORDER = 2
_STRIDE = 1_664_525  # any odd number: it scatters the likely ids over all ids

Ids = npt.NDArray[np.int64]


def profile_of(key: WatermarkKey, width: int, customer: str | None = None) -> Profile:
    commitment = None if customer is None else key.customer_id(customer)
    return Profile(
        scheme="gumbel",
        context_width=width,
        tokenizer_sha256="0" * 64,
        key_id=key.key_id,
        customer=commitment,
    )


def marked_texts(
    num_texts: int,
    num_tokens: int,
    entropy_nats: float,
    key: WatermarkKey,
    profile: Profile,
    rng: np.random.Generator,
) -> Ids:
    """(R, T) ids; the first `context_width` or two have no mark."""
    width = profile.context_width
    log_law_V = np.log(zipf_law(entropy_nats, VOCABULARY))
    ranks_V = np.arange(VOCABULARY)
    subkeys = key.subkeys("gumbel", profile.customer_bytes)
    ids_RT = rng.integers(0, VOCABULARY, size=(num_texts, num_tokens))
    seen: list[set[int]] = [set() for _ in range(num_texts)]
    for at in range(max(width, _ORDER), num_tokens):
        contexts_R = _hashes(ids_RT, at, width)
        offsets_R = (_hashes(ids_RT, at, _ORDER) % np.uint64(VOCABULARY)).astype(np.int64)
        candidates_RV = (ranks_V * _STRIDE + offsets_R[:, None]) % VOCABULARY
        uniforms_RV = token_uniforms(contexts_R[:, None], candidates_RV, subkeys)
        for row, context in enumerate(contexts_R.tolist()):
            if context in seen[row]:
                uniforms_RV[row] = rng.random(VOCABULARY)
            seen[row].add(context)
        choice_R = (log_law_V - np.log(-np.log(uniforms_RV))).argmax(axis=1)
        ids_RT[:, at] = candidates_RV[np.arange(num_texts), choice_R]
    return ids_RT


def _hashes(ids_RT: Ids, at: int, width: int) -> npt.NDArray[np.uint64]:
    """(R,) of the tokens before a place."""
    found = [context_hashes(row[at - width : at + 1], width)[0] for row in ids_RT]
    return np.array(found, dtype=np.uint64)


def edited(ids_RT: Ids, share: float, rng: np.random.Generator) -> Ids:
    """With a share of the tokens replaced by random ones."""
    is_edited = rng.random(ids_RT.shape) < share
    return np.where(is_edited, rng.integers(0, VOCABULARY, size=ids_RT.shape), ids_RT)
