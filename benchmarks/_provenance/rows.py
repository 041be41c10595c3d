"""The rows that are hashed: examples of a dataset, of the size that headlines have."""

import random
from collections.abc import Iterator

from stillhouse.records import Example, Message

_WORDS = (
    *("town", "bridge", "council", "report", "bakery", "prize", "farm", "market", "river"),
    *("school", "train", "station", "price", "bread", "monday", "year", "work", "opened", "won"),
    *("met", "sold", "announced", "plans", "after", "before", "small", "large", "new", "old"),
)


def examples(count: int) -> Iterator[Example]:
    """Rows of random words with ids like real ones, the same in every run."""
    draws = random.Random(0)
    for number in range(count):
        request = f"{draws.getrandbits(256):064x}"
        text = " ".join(draws.choices(_WORDS, k=24))
        yield Example(
            id=request[:16],
            prompt_id=f"{draws.getrandbits(64):016x}",
            request_id=request,
            messages=(Message(role="user", content=f"Write a headline: {text}."),),
            completion=" ".join(draws.choices(_WORDS, k=8)).title(),
            completion_token_ids=tuple(draws.choices(range(49_152), k=12)),
            group=f"g{number // 4}",
        )
