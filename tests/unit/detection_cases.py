"""Profiles of all schemes, and texts that are marked by drawing from a law without a model."""

import numpy as np
from watermark_cases import KEY, TOKENIZER

from stillhouse.watermark import (
    Profile,
    WatermarkKey,
    context_hashes,
    score_tokens,
    token_uniforms,
)

SCHEMES = (
    ("gumbel", "splitmix64-v1"),
    ("gumbel", "hmac-sha256-v1"),
    ("dual_gumbel", "splitmix64-v1"),
    ("kgw", "splitmix64-v1"),
    ("synthid", "splitmix64-v1"),
    ("synthid", "synthid-v1"),
)


def profile_of(scheme: str = "gumbel", prf: str = "splitmix64-v1", **fields: object) -> Profile:
    return Profile.model_validate(
        {"scheme": scheme, "prf": prf, "tokenizer_sha256": TOKENIZER, "key_id": KEY.key_id} | fields
    )


def marked_text(
    num_tokens: int,
    law: np.ndarray,
    rng: np.random.Generator,
    *,
    width: int = 4,
    customer: str | None = None,
    key: WatermarkKey = KEY,
) -> np.ndarray:
    """Ids that the keyed Gumbel scheme draws from one law: argmax of log p - log(-log u).

    Contexts that were there before are drawn without the mark, as generation does it.
    """
    commitment = b"" if customer is None else bytes.fromhex(key.customer_id(customer))
    subkeys = key.subkeys("gumbel", commitment)
    ids = list(rng.choice(len(law), size=width, p=law))
    vocabulary, log_law, seen = np.arange(len(law)), np.log(law), set()
    for _ in range(num_tokens - width):
        context = int(context_hashes(np.array([*ids[-width:], 0]), width)[0])
        if context in seen:
            ids.append(int(rng.choice(len(law), p=law)))
            continue
        seen.add(context)
        uniforms = token_uniforms(np.array([context], dtype=np.uint64), vocabulary, subkeys)
        ids.append(int((log_law - np.log(-np.log(uniforms))).argmax()))
    return np.array(ids)


def text_with_high_scores(
    num_tokens: int, scheme: str, prf: str, rng: np.random.Generator
) -> np.ndarray:
    """Ids of which each is the best of eight by its score: a mark of any scheme."""
    profile = profile_of(scheme, prf)
    ids = [int(value) for value in rng.integers(0, 1000, size=4)]
    for _ in range(num_tokens - 4):
        tried = rng.integers(0, 1000, size=8)
        scores = [
            score_tokens(profile, KEY, [*ids[-4:], int(token)]).scores_N[0] for token in tried
        ]
        ids.append(int(tried[int(np.argmax(scores))]))
    return np.array(ids)
