"""What a test of a suspect counts: tokens in contexts, each with a weight.

A weight says how much a suspect favours a token, by its own distribution, by how that differs from
a reference's, or because it wrote it. It never depends on the key, so that under the null
hypothesis a sum of weight times keyed score has a law that is known exactly, whatever the models
are.

Letters: N contexts, K tokens of each, T tokens of a text.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stillhouse.errors import ShapeError
from stillhouse.watermark import context_hashes

Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class WeightedTokens:
    """What one statistic is made of.

    Attributes:
        contexts_N: Hash of each context, without a key.
        ids_NK: Tokens in the watermark's vocabulary; no context has one twice with weight.
        weights_NK: How much each counts; 0 fills rows up.
    """

    contexts_N: Hashes
    ids_NK: Ints
    weights_NK: Floats

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together."""
        if self.ids_NK.shape != self.weights_NK.shape or len(self.ids_NK) != len(self.contexts_N):
            raise ShapeError(
                f"{self.contexts_N.shape} contexts, ids {self.ids_NK.shape} and weights "
                f"{self.weights_NK.shape} do not belong together. Give (N,), (N, K) and (N, K)."
            )

    def __len__(self) -> int:
        """N."""
        return len(self.contexts_N)

    def first(self, count: int) -> "WeightedTokens":
        """The first so many contexts."""
        kept = slice(0, count)
        return WeightedTokens(self.contexts_N[kept], self.ids_NK[kept], self.weights_NK[kept])


def written_tokens(contexts_N: Hashes, ids_N: Ints) -> WeightedTokens:
    """One token for each context, all of weight 1: what was written, or ranked first."""
    return WeightedTokens(contexts_N, ids_N[:, None], np.ones((len(ids_N), 1)))


@dataclass(frozen=True)
class Windows:
    """The tokens of one text that may be scored.

    Attributes:
        positions_N: Of the tokens, in the completion.
        contexts_N: The hash of what stands before each.
    """

    positions_N: Ints
    contexts_N: Hashes


def fresh_windows(prompt_ids: Sequence[int], completion_ids: Sequence[int], width: int) -> Windows:
    """Tokens of a completion whose context is whole, and stands nowhere earlier in the text.

    A model copies: what followed a context before, in the prompt or in the answer, is likely to
    follow it again, and in a marked text that is what the key favours. So an innocent reader of
    marked text would look guilty if such tokens counted.

    Args:
        prompt_ids: In the watermark's tokens.
        completion_ids: In the same.
        width: Tokens of a context.
    """
    hashes = context_hashes(np.array([*prompt_ids, *completion_ids], dtype=np.int64), width)
    _, first = np.unique(hashes, return_index=True)
    kept = np.sort(first)
    # The first tokens of a completion are not marked: their context would reach into the prompt.
    kept = kept[kept >= len(prompt_ids)]
    return Windows(kept + width - len(prompt_ids), hashes[kept])


class CorpusContexts:
    """Keeps each context, or each token in a context, of a whole corpus once.

    The same pair has the same keyed score wherever it stands: counting it again is no evidence, and
    without this an innocent model looks guilty.
    """

    def __init__(self) -> None:
        self._seen: set[tuple[int, int]] = set()

    def new(self, contexts_N: Hashes, ids_N: Ints | None = None) -> npt.NDArray[np.bool_]:
        """(N,) true where a context, or with `ids_N` a token in it, was not there before."""
        ids = np.full(len(contexts_N), -1) if ids_N is None else ids_N
        is_new = np.zeros(len(contexts_N), dtype=bool)
        for place, pair in enumerate(zip(contexts_N.tolist(), ids.tolist(), strict=True)):
            if pair not in self._seen:
                self._seen.add(pair)
                is_new[place] = True
        return is_new
