"""Texts that are all but equal, by the rule that gives the peer's 3,075 test rows.

Equal words after folding case and space, or a Jaccard similarity of word 3-shingles of 0.9 or more:
taskdistill 0.1.1, `curate/dedupe.py`, which drops them within the test rows, and training rows that
are all but equal to test rows.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence

_WORDS = 3
_SIMILAR = 0.9
_WORD = re.compile(r"\w+")


def first_of_similar(texts: Sequence[str]) -> list[int]:
    """Places of the texts that are not all but equal to an earlier one."""
    index = SimilarTexts()
    kept = []
    for place, text in enumerate(texts):
        if not index.has_similar(text):
            kept.append(place)
        index.add(text)
    return kept


class SimilarTexts:
    """Texts to compare others with."""

    def __init__(self, texts: Sequence[str] = ()) -> None:
        self._keys: set[str] = set()
        self._sizes: list[int] = []
        self._owners: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
        for text in texts:
            self.add(text)

    def add(self, text: str) -> None:
        """Compare with this one from now on."""
        shingles = _shingles(text)
        for shingle in shingles:
            self._owners[shingle].append(len(self._sizes))
        self._sizes.append(len(shingles))
        self._keys.add(_folded(text))

    def has_similar(self, text: str) -> bool:
        """Whether one of them is all but equal to `text`."""
        if _folded(text) in self._keys:
            return True
        shingles = _shingles(text)
        shared = Counter(owner for shingle in shingles for owner in self._owners.get(shingle, ()))
        return any(
            common >= _SIMILAR * (len(shingles) + self._sizes[owner] - common)
            for owner, common in shared.items()
        )


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).split()).casefold()


def _shingles(text: str) -> set[tuple[str, ...]]:
    words = _WORD.findall(_folded(text))
    return {tuple(words[start : start + _WORDS]) for start in range(len(words) - _WORDS + 1)}
