"""What a suspect wrote, where nothing else of it can be had: each token in a context counts once.

Letters: N contexts, K tokens of each.
"""

from collections.abc import Sequence

import numpy as np

from stillhouse.protect._texts import ScoredText
from stillhouse.protect._weights import (
    Floats,
    Hashes,
    Ints,
    WeightedTokens,
    written_tokens,
)


def written(texts: Sequence[ScoredText]) -> WeightedTokens:
    """All tokens that count, in order, with weight 1."""
    return written_tokens(
        np.concatenate([text.windows.contexts_N for text in texts]),
        np.concatenate([text.written_N for text in texts]),
    )


def less_expected(tokens: WeightedTokens, expected: WeightedTokens) -> WeightedTokens:
    """Weights of what was written less what a reference expected: 1 - q, and -q for the others.

    A token that anybody would have written says nothing, and weighs next to nothing here. Weights
    of the same token in the same context are added up, so that each counts as one score; a context
    that came n times is divided by the root of n, as its sum is that much noisier.

    Args:
        tokens: One token for each time that a context came.
        expected: The reference's largest probabilities at the same places.
    """
    is_written = expected.ids_NK == tokens.ids_NK
    others: Floats = np.where(is_written, 0.0, -expected.weights_NK)
    own = 1.0 - np.sum(np.where(is_written, expected.weights_NK, 0.0), axis=1, keepdims=True)
    _, context_N, count_C = np.unique(tokens.contexts_N, return_inverse=True, return_counts=True)
    weights_NK = np.concatenate([own, others], axis=1) / np.sqrt(count_C[context_N])[:, None]
    ids_NK: Ints = np.concatenate([tokens.ids_NK, expected.ids_NK], axis=1)
    return _added(tokens.contexts_N, ids_NK, weights_NK)


def _added(contexts_N: Hashes, ids_NK: Ints, weights_NK: Floats) -> WeightedTokens:
    """One row for each token in a context, with the sum of its weights."""
    pairs = np.empty(ids_NK.size, dtype=[("context", np.uint64), ("id", np.int64)])
    pairs["context"] = np.repeat(contexts_N, ids_NK.shape[1])
    pairs["id"] = ids_NK.ravel()
    found, places = np.unique(pairs, return_inverse=True)
    sums = np.zeros(len(found))
    np.add.at(sums, places, weights_NK.ravel())
    return WeightedTokens(found["context"], found["id"][:, None], sums[:, None])
