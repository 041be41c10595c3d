"""Prompts as keyed hashes of their words, many prompts at a time.

A word becomes 64 bits of keyed BLAKE2b; what is kept of a prompt is made of such numbers alone.
Numbers are one word for all of them, and a long word counts by its first letters, which is a crude
stemming: what is asked, and in which frame, changes little by it.

Letters: W words of all prompts, N prompts.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from stillhouse.traffic._key import TrafficKey

Hashes = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]

SHINGLE_WORDS = 4
_WORD = re.compile(r"\d+|[^\W\d_]+|[#*<>{}\[\]=|]+")
_STEM_CHARS = 7
# A frame stands at the ends of a prompt; what a long middle holds changes no figure here.
_HEAD_CHARS, _TAIL_CHARS = 900, 500
_MAX_CACHED_WORDS = 1 << 17
_GAMMA = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class HashedWords:
    """The words of prompts, one prompt after the other.

    Attributes:
        words_W: Keyed hashes.
        prompt_W: Which prompt each is of, rising.
        num_prompts: How many there are, those without a word too.
    """

    words_W: Hashes
    prompt_W: Indices
    num_prompts: int

    def shingles(self) -> tuple[Hashes, Indices]:
        """Hashes of four words in a row, each at its first word; and where that word stands."""
        num = len(self.words_W) - SHINGLE_WORDS + 1
        if num <= 0:
            return np.empty(0, np.uint64), np.empty(0, np.int64)
        mixed = self.words_W[:num]
        for step in range(1, SHINGLE_WORDS):
            mixed = mix(mixed * _GAMMA + self.words_W[step : step + num])
        first = np.flatnonzero(self.prompt_W[:num] == self.prompt_W[SHINGLE_WORDS - 1 :])
        return mixed[first], first


class WordHasher:
    """Hashes words under a key; words are looked up again in a cache that never leaves memory."""

    def __init__(self, key: TrafficKey) -> None:
        self._key = key.derive("words")
        self._cache: dict[str, int] = {}

    def hashed(self, texts: Sequence[str]) -> HashedWords:
        """The words of prompts as far as figures need them: of the head and the tail."""
        if len(self._cache) > _MAX_CACHED_WORDS:
            self._cache.clear()
        cache, counts = self._cache, list[int]()
        found: list[int] = []
        for text in texts:
            before = len(found)
            for word in _WORD.findall(ends(text)):
                value = cache.get(word)
                found.append(self._miss(word) if value is None else value)
            counts.append(len(found) - before)
        words_W = np.array(found, dtype=np.uint64)
        return HashedWords(words_W, np.repeat(np.arange(len(texts)), counts), len(texts))

    def _miss(self, word: str) -> int:
        plain = "0" if word.isdigit() else word.lower()[:_STEM_CHARS]
        digest = blake2b(plain.encode("utf-8", "replace"), digest_size=8, key=self._key).digest()
        value = self._cache[word] = int.from_bytes(digest, "little")
        return value


def mix(values: Hashes) -> Hashes:
    """SplitMix64's finaliser, which spreads every bit over all of them."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def ends(text: str) -> str:
    """The head and the tail of a prompt, all of a short one: what figures are taken from."""
    if len(text) <= _HEAD_CHARS + _TAIL_CHARS:
        return text
    return f"{text[:_HEAD_CHARS]} {text[-_TAIL_CHARS:]}"
