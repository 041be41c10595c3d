"""Which held-out texts were in the training data: equal, nearly equal, or in long runs of words.

Near texts are found without hashing at random: a join with prefix filtering over character
shingles (Bayardo et al. 2007, "Scaling up all pairs similarity search") finds every pair at the
threshold, and each is verified. So the result is exact, and the same in every run.
"""

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, get_args

from stillhouse.errors import DataError
from stillhouse.records import Record

Overlap = Literal["exact", "near", "ngram"]

NEAR_JACCARD = 0.8
NGRAM_WORDS = 13  # as in the contamination study of GPT-3, arXiv:2005.14165, appendix C
_SHINGLE_CHARS = 5  # not tuned; a typo changes five of them, so texts of 50 characters stay near
_KINDS: tuple[Overlap, ...] = get_args(Overlap)
_WORD = re.compile(r"\w+")
_Skip = Callable[[str, str], bool]


class OverlapPair(Record):
    """A training text and a held-out text that are too much alike, by their places."""

    kind: Overlap
    train: int
    held_out: int
    similarity: float
    """Jaccard of their shingles: 1 where they are equal. Of runs of words, the share of the
    held-out text's words that the run has."""


class Contamination(Record):
    """What training and held-out texts share.

    Every text that has a counterpart on the other side is in one pair at least, with the closest
    kind that was found for it: `exact` (equal but for case, spaces and punctuation), else `near`
    (Jaccard of 5-character shingles of 0.8 or more), else `ngram` (a run of 13 equal words).
    """

    num_train: int
    num_held_out: int
    pairs: tuple[OverlapPair, ...]

    @property
    def train(self) -> dict[int, Overlap]:
        """The training texts that are in held-out ones, with the closest kind."""
        return _closest((pair.train, pair.kind) for pair in self.pairs)

    @property
    def held_out(self) -> dict[int, Overlap]:
        """The held-out texts that are in training ones, with the closest kind."""
        return _closest((pair.held_out, pair.kind) for pair in self.pairs)

    @property
    def fraction(self) -> float:
        """The share of held-out texts that are contaminated. It is counted, not estimated."""
        return len(self.held_out) / self.num_held_out

    def counts(self) -> dict[str, dict[str, int]]:
        """By side, how many texts are of each closest kind."""
        sides = {"train": self.train, "held_out": self.held_out}
        return {
            side: {kind: Counter(found.values())[kind] for kind in _KINDS}
            for side, found in sides.items()
        }


def contamination(train_texts: Sequence[str], held_out_texts: Sequence[str]) -> Contamination:
    """What `train_texts` and `held_out_texts` share; order matters for the places alone.

    Scripts without spaces between words are compared by characters; runs of words are not found
    in them.

    Raises:
        DataError: a side is empty: nothing was compared then.
    """
    if not train_texts or not held_out_texts:
        raise DataError(
            f"Contamination between {len(train_texts)} training and {len(held_out_texts)} held-out "
            "texts says nothing. Give texts on both sides."
        )
    search = _Search(_by_normal_form(train_texts), _by_normal_form(held_out_texts))
    return Contamination(
        num_train=len(train_texts), num_held_out=len(held_out_texts), pairs=tuple(search.pairs())
    )


class _Search:
    """Finds pairs, closest kind first; a pair of two texts that are known is not looked at.

    Args:
        train: Normal form to the places of its texts.
        held_out: The same.
    """

    def __init__(self, train: dict[str, list[int]], held_out: dict[str, list[int]]) -> None:
        self._train = train
        self._held_out = held_out
        self._known_train: set[str] = set()
        self._known_held_out: set[str] = set()

    def pairs(self) -> Iterator[OverlapPair]:
        """All pairs that are needed to name each contaminated text."""
        for text in self._train.keys() & self._held_out.keys():
            self._known_train.add(text)
            self._known_held_out.add(text)
        for text in filter(self._known_held_out.__contains__, self._train):
            yield from self._witnesses("exact", text, text, 1.0)
        for train, held_out, similarity in self._near():
            yield from self._witnesses("near", train, held_out, similarity)
        for train, held_out, share in self._ngrams():
            yield from self._witnesses("ngram", train, held_out, share)

    def _is_known(self, train: str, held_out: str) -> bool:
        return train in self._known_train and held_out in self._known_held_out

    def _witnesses(
        self, kind: Overlap, train: str, held_out: str, similarity: float
    ) -> Iterator[OverlapPair]:
        self._known_train.add(train)
        self._known_held_out.add(held_out)
        first_train, *more_train = self._train[train]
        first_held_out, *more_held_out = self._held_out[held_out]
        places = [(first_train, first_held_out)]
        places += [(place, first_held_out) for place in more_train]
        places += [(first_train, place) for place in more_held_out]
        for train_place, held_out_place in places:
            yield OverlapPair(
                kind=kind, train=train_place, held_out=held_out_place, similarity=similarity
            )

    def _near(self) -> Iterator[tuple[str, str, float]]:
        index = _NearIndex(list(self._held_out))
        for train in self._train:
            for held_out, similarity in index.near(train, skip=self._is_known):
                yield train, held_out, similarity

    def _ngrams(self) -> Iterator[tuple[str, str, float]]:
        owners: defaultdict[str, list[str]] = defaultdict(list)
        for held_out in self._held_out:
            for gram in set(_ngrams(held_out)):
                owners[gram].append(held_out)
        for train in self._train:
            for gram in _ngrams(train):
                for held_out in owners.get(gram, ()):
                    if not self._is_known(train, held_out):
                        yield train, held_out, NGRAM_WORDS / len(held_out.split(" "))


class _NearIndex:
    """Held-out texts by their rarest shingles.

    Shingles are numbered by how few held-out texts have them. Two texts at the threshold share
    one of the `_prefix_length` rarest of each: what one of them lacks in that part, the rest
    cannot make up for.
    """

    def __init__(self, texts: list[str]) -> None:
        shingles = {text: _shingles(text) for text in texts}
        times = Counter(shingle for found in shingles.values() for shingle in found)
        by_rarity = sorted(times, key=lambda shingle: (times[shingle], shingle))
        self._ranks = {shingle: rank for rank, shingle in enumerate(by_rarity)}
        self._sets = {
            text: frozenset(map(self._ranks.__getitem__, found)) for text, found in shingles.items()
        }
        self._owners: defaultdict[int, list[str]] = defaultdict(list)
        for text, ranks in self._sets.items():
            for rank in sorted(ranks)[: _prefix_length(len(ranks))]:
                self._owners[rank].append(text)

    def near(self, text: str, *, skip: _Skip) -> Iterator[tuple[str, float]]:
        """The held-out texts at the threshold, but for those that `skip` refuses when reached."""
        shingles = _shingles(text)
        ranks = {self._ranks[shingle] for shingle in shingles if shingle in self._ranks}
        size = len(shingles)
        # Shingles that no held-out text has are the rarest of all: they use up the prefix.
        num_rare = _prefix_length(size) - (size - len(ranks))
        if num_rare <= 0:
            return
        seen: set[str] = set()
        for rank in sorted(ranks)[:num_rare]:
            for candidate in self._owners.get(rank, ()):
                if candidate in seen or skip(text, candidate):
                    continue
                seen.add(candidate)
                found = self._sets[candidate]
                shared = len(ranks & found)
                similarity = shared / (size + len(found) - shared)
                if similarity >= NEAR_JACCARD:
                    yield candidate, similarity


def _prefix_length(num_shingles: int) -> int:
    # The small slack keeps 0.8 * 5 from being rounded up to 5.
    return num_shingles - math.ceil(NEAR_JACCARD * num_shingles - 1e-9) + 1


def _by_normal_form(texts: Sequence[str]) -> dict[str, list[int]]:
    places: defaultdict[str, list[int]] = defaultdict(list)
    for place, text in enumerate(texts):
        places[_normal_form(text)].append(place)
    return dict(places)


def _normal_form(text: str) -> str:
    """Its words in small letters; texts without words, such as emoji, as they are."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(_WORD.findall(folded)) or text.strip()


def _shingles(text: str) -> set[str]:
    last = max(1, len(text) - _SHINGLE_CHARS + 1)
    return {text[start : start + _SHINGLE_CHARS] for start in range(last)}


def _ngrams(text: str) -> Iterator[str]:
    words = text.split(" ")
    for start in range(len(words) - NGRAM_WORDS + 1):
        yield " ".join(words[start : start + NGRAM_WORDS])


def _closest(found: Iterator[tuple[int, Overlap]]) -> dict[int, Overlap]:
    closest: dict[int, Overlap] = {}
    for place, kind in found:
        if place not in closest or _KINDS.index(kind) < _KINDS.index(closest[place]):
            closest[place] = kind
    return dict(sorted(closest.items()))
