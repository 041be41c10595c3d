"""Free text: how much of it is the same, in words or characters."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence

# Scripts that put no space between words: each character counts as a word.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_TOKEN = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_OUTER = " \t\n\"'`\u2018\u2019\u201c\u201d\u00ab\u00bb"


def text(answer: str, expected: str) -> float:
    """ROUGE-L F1: the longest common subsequence of words over the mean length.

    Case and punctuation do not count, the order of words does. Texts without words, such as
    emoji, are compared by `exact`.

    Source: Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", with equal weights.
    """
    given, wanted = _words(answer), _words(expected)
    if not given or not wanted:
        return exact(answer, expected)
    return 2 * _common_subsequence(given, wanted) / (len(given) + len(wanted))


def tokens(answer: str, expected: str) -> float:
    """F1 of the words, whatever their order, as in SQuAD but for the articles, which count."""
    given, wanted = Counter(_words(answer)), Counter(_words(expected))
    if not given or not wanted:
        return exact(answer, expected)
    return 2 * (given & wanted).total() / (given.total() + wanted.total())


def edit(answer: str, expected: str) -> float:
    """1 less the Levenshtein distance in characters over the length of the longer text.

    Runs of space count as one; case and punctuation count.
    """
    given, wanted = _plain(answer), _plain(expected)
    longer = max(len(given), len(wanted))
    return 1.0 - _distance(given, wanted) / longer if longer else 1.0


def exact(answer: str, expected: str) -> float:
    """1 where the texts are equal but for case, runs of space, quotes around and a final stop."""
    return float(_stripped(answer) == _stripped(expected))


def _words(text: str) -> list[str]:
    return _TOKEN.findall(unicodedata.normalize("NFKC", text).casefold())


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def _stripped(text: str) -> str:
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return folded.strip(_OUTER).removesuffix(".").strip(_OUTER)


def _places(symbols: Sequence[Hashable]) -> defaultdict[Hashable, int]:
    """For each symbol, the places where it stands, as the bits of an integer."""
    places: defaultdict[Hashable, int] = defaultdict(int)
    for place, symbol in enumerate(symbols):
        places[symbol] |= 1 << place
    return places


def _common_subsequence(given: Sequence[Hashable], wanted: Sequence[Hashable]) -> int:
    """Length of the longest common subsequence, a row of the usual table in one integer.

    Source: Hyyro 2004, "Bit-parallel LCS-length computation revisited".
    """
    places = _places(given)
    every = (1 << len(given)) - 1
    row = every  # a bit is off where the length grows
    for symbol in wanted:
        found = row & places.get(symbol, 0)
        row = (row + found | row - found) & every
    return len(given) - row.bit_count()


def _distance(given: str, wanted: str) -> int:
    """Levenshtein distance, a column of the usual table in two integers.

    Source: Myers 1999, "A fast bit-vector algorithm for approximate string matching", in the form
    of Hyyro 2003 for whole texts.
    """
    if not given:
        return len(wanted)
    places = _places(given)
    every = (1 << len(given)) - 1
    last = 1 << (len(given) - 1)
    rises, falls, distance = every, 0, len(given)  # of the column, from each place to the next
    for symbol in wanted:
        equal = places.get(symbol, 0)
        down = equal | falls
        across = (((equal & rises) + rises) ^ rises) | equal
        row_rises = falls | ~(across | rises) & every
        row_falls = rises & across
        distance += bool(row_rises & last) - bool(row_falls & last)
        row_rises = (row_rises << 1 | 1) & every
        row_falls = (row_falls << 1) & every
        rises = row_falls | ~(down | row_rises) & every
        falls = row_rises & down
    return distance
