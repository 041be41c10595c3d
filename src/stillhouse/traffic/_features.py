"""What is kept of a prompt: its frame, its content and its cues, as numbers under a key.

Letters: N prompts, B bands of a frame, C words of a content, S shingles, W words.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stillhouse.traffic._cues import cues_in
from stillhouse.traffic._key import TrafficKey
from stillhouse.traffic._recurring import RecentCounts
from stillhouse.traffic._words import (
    SHINGLE_WORDS,
    HashedWords,
    Hashes,
    Indices,
    WordHasher,
    ends,
    mix,
)

NUM_BANDS = 4
NUM_CONTENT = 48
"""Words of a content that are kept at most."""
NUM_BUCKETS = 4096
"""Of words: what is kept of one is in which it falls, and a sign."""
NO_WORD = 2 * NUM_BUCKETS
"""What fills the places that a short content leaves."""
_RECURRING = 6  # prompts that must have had a shingle before it counts as part of a frame
_ROWS = 2  # MinHash values of a band: two frames of Jaccard J share one with chance J**2
_SEEDS = mix(np.arange(1, NUM_BANDS * _ROWS + 1, dtype=np.uint64))


@dataclass(frozen=True)
class PromptFeatures:
    """Of N prompts.

    Attributes:
        frame_NB: Band keys of the frame's MinHash signature; 0 where a prompt has no frame.
        content_NC: Buckets of the words outside the frame, plus `NUM_BUCKETS` where the sign is
            negative, filled up with `NO_WORD`.
        cues_N: Bits of `CUES`.
        words_N: Words that were looked at.
        frame_words_N: How many of them are of the frame.
    """

    frame_NB: npt.NDArray[np.uint32]
    content_NC: npt.NDArray[np.uint16]
    cues_N: npt.NDArray[np.uint8]
    words_N: npt.NDArray[np.uint16]
    frame_words_N: npt.NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.cues_N)


@dataclass(frozen=True)
class PromptWords:
    """Of N prompts, before it is known what of them recurs.

    Attributes:
        hashed: Their words.
        cues_N: Bits of `CUES`.
    """

    hashed: HashedWords
    cues_N: npt.NDArray[np.uint8]


class Featuriser:
    """Makes features of prompts in the order in which they come, and keeps no prompt.

    What recurs is learnt on the way, so that the first prompts of a new frame have none yet.

    Args:
        key: What hashes are made under.
    """

    def __init__(self, key: TrafficKey) -> None:
        self.key_id, self._key = key.key_id, key
        self._hasher = WordHasher(key)
        self._shingles = RecentCounts()

    def account(self, name: str) -> str:
        """The pseudonym of an account."""
        return self._key.account(name)

    def features(self, texts: Sequence[str]) -> PromptFeatures:
        """Of prompts; batches of a few hundred are quickest, and one at a time gives the same."""
        return self.features_of(self.words(texts))

    def words(self, texts: Sequence[str]) -> PromptWords:
        """What does not depend on which prompts came before."""
        cues_N = np.fromiter((cues_in(ends(text)) for text in texts), np.uint8, len(texts))
        return PromptWords(self._hasher.hashed(texts), cues_N)

    def features_of(self, words: PromptWords) -> PromptFeatures:
        """Of the words of prompts, which are learnt from as they come."""
        hashed, num = words.hashed, words.hashed.num_prompts
        shingles_S, first_S = hashed.shingles()
        prompt_S = hashed.prompt_W[first_S]
        recurring_S = self._shingles.add(shingles_S, prompt_S, num) >= _RECURRING
        in_frame_W = np.zeros(len(hashed.words_W), bool)
        for step in range(SHINGLE_WORDS):
            in_frame_W[first_S[recurring_S] + step] = True
        words_N = np.bincount(hashed.prompt_W, minlength=num)
        frame_words_N = np.bincount(hashed.prompt_W[in_frame_W], minlength=num)
        return PromptFeatures(
            frame_NB=_bands(shingles_S[recurring_S], prompt_S[recurring_S], num),
            content_NC=contents(hashed.words_W[~in_frame_W], hashed.prompt_W[~in_frame_W], num),
            cues_N=words.cues_N,
            words_N=words_N.astype(np.uint16),
            frame_words_N=frame_words_N.astype(np.uint16),
        )


def contents(words_W: Hashes, prompt_W: Indices, num_prompts: int) -> npt.NDArray[np.uint16]:
    """Buckets of the words outside the frame, the same ones whatever their order."""
    content_NC = np.full((num_prompts, NUM_CONTENT), NO_WORD, np.uint16)
    bucket_W = words_W % np.uint64(NUM_BUCKETS)
    sign_W = (words_W >> np.uint64(63)) * np.uint64(NUM_BUCKETS)
    # A long content is sampled by hash, so that two like contents keep like words.
    order = np.lexsort((mix(words_W), prompt_W))
    prompt_W, signed_W = prompt_W[order], (bucket_W + sign_W)[order]
    is_new_W = np.ones(len(order), bool)
    is_new_W[1:] = (prompt_W[1:] != prompt_W[:-1]) | (signed_W[1:] != signed_W[:-1])
    prompt_W, signed_W = prompt_W[is_new_W], signed_W[is_new_W]
    starts_N = np.searchsorted(prompt_W, np.arange(num_prompts))
    place_W = np.arange(len(prompt_W)) - starts_N[prompt_W]
    is_kept_W = place_W < NUM_CONTENT
    content_NC[prompt_W[is_kept_W], place_W[is_kept_W]] = signed_W[is_kept_W]
    return content_NC


def _bands(shingles_S: Hashes, prompt_S: Indices, num_prompts: int) -> npt.NDArray[np.uint32]:
    """Band keys of the MinHash signature of each prompt's recurring shingles."""
    band_NB = np.zeros((num_prompts, NUM_BANDS), np.uint32)
    if not len(shingles_S):
        return band_NB
    starts = np.flatnonzero(np.diff(prompt_S, prepend=-1))
    with_frame = prompt_S[starts]
    for band in range(NUM_BANDS):
        key_P = np.full(len(starts), band, np.uint64)
        for row in range(_ROWS):
            ranks_S = mix(shingles_S ^ _SEEDS[band * _ROWS + row])
            key_P = mix(key_P + np.minimum.reduceat(ranks_S, starts))
        # 0 says that there is no frame.
        band_NB[with_frame, band] = np.maximum(key_P >> np.uint64(32), 1).astype(np.uint32)
    return band_NB
