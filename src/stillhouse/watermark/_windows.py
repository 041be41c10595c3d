"""Which tokens of a text may be scored: each context once, none that the prompt or others gave.

A keyed score is a fixed number for a context and a token. Scores of unmarked text are independent
only where no such pair is counted twice, in a text or, for the long run of one key, over texts.

Letters: D texts, T tokens, N windows: a context with the token after it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from stillhouse.errors import DataError, ShapeError
from stillhouse.watermark._ngrams import NgramFilter
from stillhouse.watermark._prf import U64, context_hashes, mix, spread

Once = Literal["context", "pair"]
"""What counts once: a context with the first token after it, or each token after it."""

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Windows:
    """What is left to be scored of some texts, in their order; no key is in it.

    Attributes:
        ids_T: The ids of all texts and prompts, one after the other.
        width: Ids in a context.
        at_N: Where the scored tokens stand in them.
        contexts_N: Hash of each context.
        ids_N: The token after it.
        positions_N: Index of the token in its text, without the prompt.
        texts_N: Which text it is in.
        num_tokens_D: Of each text, without the prompt.
        num_repeated_D: Windows that were dropped, since the text had them before.
        num_in_prompt_D: Those that the prompt had.
        num_common_D: Those that many documents have.
    """

    ids_T: Integers
    width: int
    at_N: Integers
    contexts_N: U64
    ids_N: Integers
    positions_N: Integers
    texts_N: Integers
    num_tokens_D: Integers
    num_repeated_D: Integers
    num_in_prompt_D: Integers
    num_common_D: Integers

    @property
    def num_scored_D(self) -> Integers:
        """How many are left, by text."""
        return np.bincount(self.texts_N, minlength=len(self.num_tokens_D))


def windows(
    texts: Sequence[npt.ArrayLike],
    *,
    width: int,
    prompts: Sequence[npt.ArrayLike] | None = None,
    common: NgramFilter | None = None,
    once: Once = "context",
) -> Windows:
    """The windows of texts that may be scored.

    Args:
        texts: Token ids of each.
        width: Ids in a context.
        prompts: Token ids of what each answers: windows that they hold are not scored in the text.
        common: N-grams that are never scored.
        once: What counts once.

    Raises:
        DataError: an id is negative or no whole number.
        ShapeError: a text is no row of ids, or there are not as many prompts as texts.
        ConfigError: the filter is for another context width.
    """
    rows = [_row(text) for text in texts]
    heads = [_row(prompt) for prompt in prompts] if prompts is not None else []
    if heads and len(heads) != len(rows):
        raise ShapeError(f"{len(heads)} prompts for {len(rows)} texts. Give one for each.")
    # Each text is a part by itself, and each prompt one before it that belongs to the same text.
    parts = [part for pair in zip(heads, rows, strict=True) for part in pair] if heads else rows
    is_head_P = np.arange(len(parts)) % 2 == 0 if heads else np.zeros(len(parts), dtype=bool)
    length_P = np.array([len(part) for part in parts], dtype=np.int64)
    ids_T = np.concatenate(parts) if parts else _EMPTY
    part_T = np.repeat(np.arange(len(parts)), length_P)
    place_T = np.arange(len(ids_T)) - np.repeat(np.cumsum(length_P) - length_P, length_P)
    # Contexts that reach over the beginning of a part belong to none.
    at_W = np.flatnonzero(place_T[width:] >= width) + width
    contexts_W, ids_W = context_hashes(ids_T, width)[at_W - width], ids_T[at_W]
    place_W, is_head_W = place_T[at_W], is_head_P[part_T[at_W]]
    text_W = part_T[at_W] // 2 if heads else part_T[at_W]
    num_D = len(rows)

    ngrams_W = _ngrams(contexts_W, ids_W) if common is not None or once == "pair" else contexts_W
    keys_W = (ngrams_W if once == "pair" else contexts_W) ^ mix(text_W.astype(np.uint64))
    first_W, is_first_W = _first_places(keys_W)
    # What the prompt had first is its, wherever it comes again.
    is_of_prompt_W = is_head_W[first_W] & ~is_head_W
    is_repeated_W = ~is_first_W & ~is_of_prompt_W & ~is_head_W
    is_kept_W = is_first_W & ~is_head_W
    num_common_D = np.zeros(num_D, dtype=np.int64)
    if common is not None:
        common.check_width(width)
        kept = np.flatnonzero(is_kept_W)
        dropped = kept[common.holds(ngrams_W[kept])]
        is_kept_W[dropped] = False
        num_common_D = np.bincount(text_W[dropped], minlength=num_D)
    return Windows(
        ids_T=ids_T,
        width=width,
        at_N=at_W[is_kept_W],
        contexts_N=contexts_W[is_kept_W],
        ids_N=ids_W[is_kept_W],
        positions_N=place_W[is_kept_W],
        texts_N=text_W[is_kept_W],
        num_tokens_D=np.array([len(row) for row in rows], dtype=np.int64),
        num_repeated_D=np.bincount(text_W[is_repeated_W], minlength=num_D),
        num_in_prompt_D=np.bincount(text_W[is_of_prompt_W], minlength=num_D),
        num_common_D=num_common_D,
    )


def ngram_hashes(ids_T: npt.ArrayLike, width: int) -> U64:
    """(max(0, T - width),) hash of each context with the token after it, without any key."""
    row = _row(ids_T)
    return _ngrams(context_hashes(row, width), row[width:])


_EMPTY = np.zeros(0, dtype=np.int64)
# 8 to 16 slots for each key: with fewer more keys are sorted, with more the cache holds fewer.
_SPARE_BITS = 3
_MOST_SLOT_BITS = 26


def _ngrams(contexts_N: U64, ids_N: Integers) -> U64:
    return mix(contexts_N ^ spread(ids_N))


def _first_places(keys_N: U64) -> tuple[Integers, npt.NDArray[np.bool_]]:
    """(N,) where each key stood first, and whether that is here.

    Keys are hashes. Each is put into a slot of a table by its first bits, in falling order of
    places, so that a slot holds the first place of all keys that share it. Where another key stands
    there, which is rare, sorting tells; it takes twenty times as long.
    """
    bits = min(max(len(keys_N).bit_length() + _SPARE_BITS, 8), _MOST_SLOT_BITS)
    slots_N = (keys_N >> np.uint64(64 - bits)).astype(np.int64)
    places_N = np.arange(len(keys_N))
    table = np.empty(1 << bits, dtype=np.int32 if len(keys_N) < 2**31 else np.int64)
    table[slots_N[::-1]] = places_N[::-1]  # of the same slot the last one written stays
    first_N = table[slots_N].astype(np.int64)
    others = np.flatnonzero(keys_N[first_N] != keys_N)
    if len(others):
        first_N[others] = others[_first_by_sorting(keys_N[others])]
    return first_N, first_N == places_N


def _first_by_sorting(keys_N: U64) -> Integers:
    order_N = np.argsort(keys_N, kind="stable")
    sorted_N = keys_N[order_N]
    begins_N = np.ones(len(keys_N), dtype=bool)
    np.not_equal(sorted_N[1:], sorted_N[:-1], out=begins_N[1:])
    first_N = np.empty(len(keys_N), dtype=np.int64)
    first_N[order_N] = order_N[begins_N][np.cumsum(begins_N) - 1]
    return first_N


def _row(ids: npt.ArrayLike) -> Integers:
    row = np.asarray(ids)
    if row.ndim != 1:
        raise ShapeError(f"A text has ids of shape {row.shape}. Give one row of token ids.")
    if not row.size:
        return _EMPTY
    if row.dtype.kind not in "iu" or int(row.max()) >= 2**31 or int(row.min()) < 0:
        raise DataError(
            f"Token ids are whole numbers from 0 to 2147483647; these are {row.dtype}, or outside "
            "that. Give the ids of a tokenizer."
        )
    return row.astype(np.int64, copy=False)
