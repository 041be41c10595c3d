import random
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.curate import Contamination, contamination
from stillhouse.errors import DataError

WORDS = [
    "my",
    "card",
    "has",
    "not",
    "come",
    "yet",
    "and",
    "the",
    "transfer",
    "to",
    "an",
    "account",
    "abroad",
    "is",
    "still",
    "pending",
]


def shingles(text: str) -> set[str]:
    text = " ".join(re.findall(r"\w+", text.lower()))
    return {text[i : i + 5] for i in range(max(1, len(text) - 4))}


def jaccard(one: str, other: str) -> float:
    a, b = shingles(one), shingles(other)
    return len(a & b) / len(a | b)


def grams(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + 13]) for i in range(len(words) - 12)}


def naive(train: list[str], held_out: list[str]) -> tuple[dict[int, str], dict[int, str]]:
    """By side, each contaminated text with its closest kind, from all pairs."""
    kinds = ["exact", "near", "ngram"]
    sides: tuple[dict[int, str], dict[int, str]] = ({}, {})
    for i, one in enumerate(train):
        for j, other in enumerate(held_out):
            if re.findall(r"\w+", one.lower()) == re.findall(r"\w+", other.lower()):
                kind = "exact"
            elif jaccard(one, other) >= 0.8:
                kind = "near"
            elif grams(one) & grams(other):
                kind = "ngram"
            else:
                continue
            for side, place in zip(sides, (i, j), strict=True):
                if place not in side or kinds.index(kind) < kinds.index(side[place]):
                    side[place] = kind
    return sides


def sentence(rng: random.Random, num_words: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(num_words))


def altered(rng: random.Random, text: str) -> str:
    place = rng.randrange(len(text))
    return text[:place] + rng.choice("xyz ") + text[place + rng.randrange(2) :]


def test_each_kind_is_found_and_named_by_the_closest() -> None:
    long = "one two three four five six seven eight nine ten eleven twelve thirteen"
    found = contamination(
        ["Where is my card?!", "when will my new card arrive", f"see {long} and more of it", "x"],
        [
            "where is  my card",
            "when will my new card arrives",
            f"a wholly other beginning of a text, then {long.upper()}, then nothing",
            "fine",
        ],
    )
    assert found.train == {0: "exact", 1: "near", 2: "ngram"}
    assert found.held_out == {0: "exact", 1: "near", 2: "ngram"}
    assert found.fraction == 0.75
    each = {"exact": 1, "near": 1, "ngram": 1}
    assert found.counts() == {"train": each, "held_out": each}
    exact, near, ngram = found.pairs
    assert exact.similarity == 1.0
    assert near.similarity == pytest.approx(
        jaccard("when will my new card arrive", "when will my new card arrives")
    )
    assert ngram.similarity == pytest.approx(13 / 23)


def test_clean_sides_give_no_pair() -> None:
    found = contamination(["my card is lost"], ["what is the weather", "my card was found"])
    assert found == Contamination(num_train=1, num_held_out=2, pairs=())
    assert found.fraction == 0.0


def test_every_repetition_on_either_side_is_counted() -> None:
    found = contamination(["a b", "A  B!", "c"], ["a, b", "c d e f", "(a b)"])
    assert found.train == {0: "exact", 1: "exact"}
    assert found.held_out == {0: "exact", 2: "exact"}


def test_a_text_that_is_equal_to_one_may_be_near_another() -> None:
    base = "please tell me when the transfer to my account abroad will arrive"
    found = contamination([base], [base, base + "s"])
    assert (found.train, found.held_out) == ({0: "exact"}, {0: "exact", 1: "near"})


@pytest.mark.parametrize("seed", range(8))
def test_the_search_finds_what_all_pairs_give(seed: int) -> None:
    rng = random.Random(seed)
    train = [sentence(rng, rng.randint(1, 18)) for _ in range(60)]
    held_out = [sentence(rng, rng.randint(1, 18)) for _ in range(20)]
    for source in rng.sample(train, 20):
        text = source
        for _ in range(rng.randint(0, 4)):
            text = altered(rng, text)
        held_out.append(f"{sentence(rng, 3)} {text}" if rng.random() < 0.3 else text)
    found = contamination(train, held_out)
    assert (found.train, found.held_out) == naive(train, held_out)
    assert found.held_out
    for pair in found.pairs:
        if pair.kind == "near":
            similarity = jaccard(train[pair.train], held_out[pair.held_out])
            assert pair.similarity == pytest.approx(similarity)
            assert similarity >= 0.8


TEXTS = st.lists(st.text("ab ,.", max_size=12).map(lambda text: f"{text}a"), min_size=1, max_size=6)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(TEXTS, TEXTS)
def test_short_texts_of_few_letters_are_compared_right(
    train: list[str], held_out: list[str]
) -> None:
    found = contamination(train, held_out)
    assert (found.train, found.held_out) == naive(train, held_out)


def test_texts_without_words_are_compared_as_they_are() -> None:
    found = contamination(["\U0001f44d", "..."], ["\U0001f44d ", "\U0001f44e"])
    assert (found.train, found.held_out) == ({0: "exact"}, {0: "exact"})


def test_the_order_of_the_other_side_does_not_matter() -> None:
    rng = random.Random(3)
    train = [sentence(rng, 9) for _ in range(200)]
    held_out = [altered(rng, text) for text in train[:50]]
    found = contamination(train, held_out)
    turned = contamination(train[::-1], held_out)
    assert turned.held_out == found.held_out
    assert {199 - place: kind for place, kind in turned.train.items()} == found.train
    assert contamination(train, held_out) == found


def test_ten_thousand_messages_are_compared_with_three_thousand_in_seconds() -> None:
    rng = random.Random(0)
    vocabulary = [f"w{number}" for number in range(2_000)]
    train = [" ".join(rng.choices(vocabulary, k=12)) for _ in range(10_000)]
    held_out = [" ".join(rng.choices(vocabulary, k=12)) for _ in range(2_900)]
    held_out += [altered(rng, text) for text in train[:100]]
    begun = time.process_time()
    found = contamination(train, held_out)
    assert time.process_time() - begun < 10.0
    assert len(found.held_out) >= 90


def test_messages_that_are_all_alike_take_no_longer() -> None:
    train = [f"please show me the status of my order number {n} now" for n in range(3_000)]
    held_out = [
        f"please show me the status of my order number {n} now" for n in range(3_000, 4_000)
    ]
    begun = time.process_time()
    found = contamination(train, held_out)
    assert time.process_time() - begun < 10.0
    assert found.fraction == 1.0


def test_long_texts_are_compared() -> None:
    rng = random.Random(1)
    long = " ".join(rng.choices([f"w{n}" for n in range(5_000)], k=20_000))
    assert len(long) > 100_000
    found = contamination([long, "x y"], [long[:1000] + " " + long[1000:], "z " * 50_000])
    assert found.held_out == {0: "near"} or found.held_out == {0: "exact"}


@pytest.mark.parametrize(("train", "held_out"), [([], ["a"]), (["a"], []), ([], [])])
def test_an_empty_side_says_nothing(train: list[str], held_out: list[str]) -> None:
    with pytest.raises(DataError, match="says nothing"):
        contamination(train, held_out)
