"""Figures of a single text."""

import re
from collections import Counter

_WORD = re.compile(r"\w+")
_GRAM_WORDS = 3
_REPEATS = 3


def is_looping(text: str) -> bool:
    """Whether some run of three words occurs three times or more.

    Case and punctuation do not count, and occurrences may overlap: "high-end, high-end, high-end,
    high-end" loops. Scripts written without spaces between words are read as few long words, so
    there this misses most loops.
    """
    words = [word.casefold() for word in _WORD.findall(text)]
    grams = Counter(zip(*(words[start:] for start in range(_GRAM_WORDS)), strict=False))
    return any(times >= _REPEATS for times in grams.values())
