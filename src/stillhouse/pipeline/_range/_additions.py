"""Sums that are worked out digit by digit: prompts with right answers, and how one gets there."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stillhouse.artifacts import Artifact, Counts, begin_artifact, is_up_to_date, open_artifact
from stillhouse.errors import ConfigError
from stillhouse.records import Example, Message, Prompt, Split, messages_identity

SEPARATOR = "Answer: "
"""Between the steps and the sum."""

_SYSTEM = Message(role="system", content="Add the numbers.")
_STAGE = "range lessons"


@dataclass(frozen=True)
class Sum:
    """Two numbers of equally many digits.

    Attributes:
        first: Of the two.
        second: Of the two.
    """

    first: int
    second: int

    @property
    def messages(self) -> tuple[Message, ...]:
        """What is asked."""
        return (_SYSTEM, Message(role="user", content=f"{self.first} + {self.second}"))

    @property
    def answer(self) -> str:
        """The right one."""
        return str(self.first + self.second)

    @property
    def worked(self) -> str:
        """The sum of each pair of digits and the carry, from the last pair on, and the answer."""
        steps, carry = [], 0
        for a, b in zip(reversed(str(self.first)), reversed(str(self.second)), strict=True):
            total = int(a) + int(b) + carry
            steps.append(f"{a}+{b}+{carry}={total}")
            carry = total // 10
        return f"{', '.join(steps)}. {SEPARATOR}{self.answer}"


def different_sums(digits: int, count: int, *, seed: int) -> list[Sum]:
    """So many, each once; the same for a seed in every process.

    Raises:
        ConfigError: there are not so many.
    """
    low, high = 10 ** (digits - 1), 10**digits
    if count > (high - low) ** 2 // 2:
        raise ConfigError(
            f"{count:,} different sums are asked for, and numbers of {digits} digits give too few. "
            "Take more digits, or fewer examples and prompts."
        )
    generator = random.Random(f"stillhouse/range/additions/{seed}")

    def drawn() -> Iterator[Sum]:
        while True:
            # `random` alone: its sequence is the same in all Python versions.
            yield Sum(*(low + int(generator.random() * (high - low)) for _ in range(2)))

    found: dict[Sum, None] = {}
    stream = drawn()
    while len(found) < count:
        found[next(stream)] = None
    return list(found)


def lessons(sums: list[Sum], out: Path, *, tokenizer_sha256: str) -> Artifact:
    """Worked sums as a dataset, for the teacher to learn.

    Args:
        sums: That it learns.
        out: Folder; one that holds the same is returned as it is.
        tokenizer_sha256: Of the model that will read it.
    """
    config = {"first": sums[0].worked, "last": sums[-1].worked, "sums": len(sums)}
    if is_up_to_date(out, stage=_STAGE, config=config):
        return open_artifact(out)
    writer = begin_artifact(out, kind="dataset", stage=_STAGE, config=config, replace=True)
    try:
        rows = [
            Example(
                id=f"{_STAGE}/{number}",
                prompt_id=prompt_of(one, "train").id,
                request_id=f"{_STAGE}/{number}",
                messages=one.messages,
                completion=one.worked,
            )
            for number, one in enumerate(sums)
        ]
        writer.write_rows("examples", rows, Example)
        counts = Counts.model_validate({"in": len(rows), "kept": len(rows)})
        return writer.finish(counts=counts, tokenizer_sha256=tokenizer_sha256)
    finally:
        writer.release()


def prompt_of(one: Sum, split: Split) -> Prompt:
    """A sum as a prompt, with its right answer."""
    return Prompt(
        id=messages_identity(one.messages)[:16],
        messages=one.messages,
        split=split,
        reference=one.answer,
    )
