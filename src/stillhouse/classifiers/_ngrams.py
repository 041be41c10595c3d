"""Texts as weighted character and word n-grams.

The same bytes on every platform: grams are numbered in the order of their characters, and no hash
is involved. Letters: N texts, F features.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from stillhouse.classifiers._configs import NgramConfig
from stillhouse.classifiers._texts import readable

_WORD = re.compile(r"\w+")
_EDGE = " "  # marks where a word begins and ends


@dataclass(frozen=True)
class Vocabulary:
    """The grams that are features, and how much each says.

    Attributes:
        chars: Character grams inside words, edges included, ascending.
        words: Word grams, ascending; their features come after those of `chars`.
        weights_F: (F,) float32, inverse frequencies.
        char_lengths: Shortest and longest of `chars`.
        word_lengths: Shortest and longest of `words`, in words.
    """

    chars: tuple[str, ...]
    words: tuple[str, ...]
    weights_F: npt.NDArray[np.float32]
    char_lengths: tuple[int, int]
    word_lengths: tuple[int, int]

    def __len__(self) -> int:
        return len(self.chars) + len(self.words)

    @cached_property
    def _char_ids(self) -> dict[str, int]:
        return {gram: number for number, gram in enumerate(self.chars)}

    @cached_property
    def _word_ids(self) -> dict[str, int]:
        return {gram: number for number, gram in enumerate(self.words, len(self.chars))}

    def features(self, text: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """The numbers of a text's features, ascending, and their values, of length 1.

        A gram counts as 1 + ln(times) times its weight. Both are empty when no gram is known.
        """
        return self._weighted(normalised(text), {})

    def matrix(self, texts: Sequence[str]) -> Any:
        """(N, F) float32 scipy CSR matrix of the texts' features."""
        from scipy.sparse import csr_array

        known: dict[str, list[int]] = {}  # words repeat: each is cut up once
        rows = [self._weighted(normalised(text), known) for text in texts]
        ends = np.cumsum([0, *(len(ids) for ids, _ in rows)])
        ids = np.concatenate([ids for ids, _ in rows])
        values = np.concatenate([values for _, values in rows])
        return csr_array((values, ids, ends), shape=(len(texts), len(self)))

    def _weighted(
        self, text: str, known: dict[str, list[int]]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        found: list[int] = []
        for word in text.split():
            ids = known.get(word)
            if ids is None:
                grams = char_grams(word, self.char_lengths)
                ids = known[word] = [i for i in map(self._char_ids.get, grams) if i is not None]
            found += ids
        grams = word_grams(text, self.word_lengths)
        found += [i for i in map(self._word_ids.get, grams) if i is not None]
        ids_F, times_F = np.unique(np.array(found, dtype=np.int64), return_counts=True)
        values_F: npt.NDArray[np.float32] = (1 + np.log(times_F)).astype(np.float32)
        values_F *= self.weights_F[ids_F]
        if len(values_F):
            values_F /= np.sqrt(values_F @ values_F)
        return ids_F, values_F


def learn_vocabulary(texts: Sequence[str], config: NgramConfig) -> Vocabulary:
    """The grams that are common enough, weighted by ln((1 + N) / (1 + texts with it)) + 1.

    Of more than `config.max_features`, the most frequent are kept.
    """
    chars, words = _text_counts(texts, config)
    # Of a small set, no gram may be frequent enough; then each one counts.
    fewest = min(config.min_texts, max([*chars.values(), *words.values()], default=1))
    ranked = [
        (-times, is_word, gram)
        for is_word, counts in enumerate((chars, words))
        for gram, times in counts.items()
        if times >= fewest
    ]
    kept = sorted(ranked)[: config.max_features]
    kept_chars = tuple(sorted(gram for _, is_word, gram in kept if not is_word))
    kept_words = tuple(sorted(gram for _, is_word, gram in kept if is_word))
    times = [*(chars[gram] for gram in kept_chars), *(words[gram] for gram in kept_words)]
    weights = np.log((1 + len(texts)) / (1 + np.array(times, dtype=np.float64))) + 1
    return Vocabulary(
        kept_chars,
        kept_words,
        weights.astype(np.float32),
        config.char_lengths,
        config.word_lengths,
    )


def normalised(text: str) -> str:
    """Lower case and compatible characters as one, so that spellings of a word meet."""
    return unicodedata.normalize("NFKC", readable(text)).casefold()


def char_grams(word: str, lengths: tuple[int, int]) -> Iterator[str]:
    """The character grams of a word with its edges, with repeats."""
    edged = f"{_EDGE}{word}{_EDGE}"
    for length in range(lengths[0], lengths[1] + 1):
        for start in range(len(edged) - length + 1):
            yield edged[start : start + length]


def word_grams(text: str, lengths: tuple[int, int]) -> Iterator[str]:
    """The word grams of a text, with repeats; punctuation between words does not count."""
    words = _WORD.findall(text)
    for length in range(lengths[0], lengths[1] + 1):
        for start in range(len(words) - length + 1):
            yield " ".join(words[start : start + length])


def _text_counts(texts: Sequence[str], config: NgramConfig) -> tuple[Counter[str], Counter[str]]:
    """In how many texts each character gram and each word gram is."""
    chars: Counter[str] = Counter()
    words: Counter[str] = Counter()
    known: dict[str, frozenset[str]] = {}
    for text in map(normalised, texts):
        in_text: set[str] = set()
        for word in text.split():
            if word not in known:
                known[word] = frozenset(char_grams(word, config.char_lengths))
            in_text |= known[word]
        chars.update(in_text)
        words.update(set(word_grams(text, config.word_lengths)))
    return chars, words
