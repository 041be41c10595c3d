"""Which held-out texts were in the training data: equal, nearly equal, or in long runs of words."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Literal, get_args

from stillhouse.curate._near import NEAR_JACCARD, NearTexts
from stillhouse.errors import DataError
from stillhouse.records import Record

Overlap = Literal["exact", "near", "ngram"]

NGRAM_WORDS = 13  # as in the contamination study of GPT-3, arXiv:2005.14165, appendix C
_KINDS: tuple[Overlap, ...] = get_args(Overlap)
_WORD = re.compile(r"\w+")


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
        train, held_out = list(self._train), list(self._held_out)
        texts = NearTexts(train, held_out)
        for place, others in texts.candidates():
            for other in others:
                if self._is_known(train[place], held_out[other]):
                    continue
                similarity = texts.similarity(place, other)
                if similarity >= NEAR_JACCARD:
                    yield train[place], held_out[other], similarity

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


def _by_normal_form(texts: Sequence[str]) -> dict[str, list[int]]:
    places: defaultdict[str, list[int]] = defaultdict(list)
    for place, text in enumerate(texts):
        places[_normal_form(text)].append(place)
    return dict(places)


def _normal_form(text: str) -> str:
    """Its words in small letters; texts without words, such as emoji, as they are."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(_WORD.findall(folded)) or text.strip()


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
