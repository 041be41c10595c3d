"""The prompts of a collection, read again and again without holding them in memory.

A million prompts are three arrays of 64-bit hashes here, 24 MB: what repeats, and what stands in
both splits, is found by sorting them. Two of a million hashes agree by chance once in 30 million
files; errors are looked up again with the texts themselves.
"""

import hashlib
import sys
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from stillhouse.artifacts import file_sha256
from stillhouse.collect._prompts import Row, asked_identity, check_prompts, iterate_prompts
from stillhouse.errors import DataError, RecordError
from stillhouse.records import Prompt, canonical_json, messages_identity
from stillhouse.runlog import ReadPosition

_HASH_BITS = np.uint64(2**64 - 2)


@dataclass(frozen=True, slots=True)
class Survey:
    """What one reading of all prompts found.

    Attributes:
        sha256: Of the canonical rows, in hex: the content, wherever it comes from.
        num_prompts: Rows, repeated ones included.
        repeats: Numbers of the rows that ask what an earlier one asks; they are not asked again.
        num_routed: Of the rows that are asked, those for one teacher only, by its name.
        num_repeats_routed: Of the repeats, those for one teacher only.
    """

    sha256: str
    num_prompts: int
    repeats: frozenset[int] = frozenset()
    num_routed: Mapping[str, int] = field(default_factory=dict)
    num_repeats_routed: int = 0

    def num_asked(self, name: str) -> int:
        """Rows that the teacher called `name` is asked."""
        for_others = sum(self.num_routed.values()) - self.num_routed.get(name, 0)
        return self.num_prompts - len(self.repeats) - for_others

    def num_repeated(self, num_teachers: int) -> int:
        """Times that a repeat is not asked: of each of so many teachers, or of the one it names."""
        return num_teachers * (len(self.repeats) - self.num_repeats_routed) + (
            self.num_repeats_routed
        )

    def num_asked_before(self, position: ReadPosition) -> int:
        """Rows before a position that are asked; none may be for one teacher only."""
        return position.num_rows - sum(row < position.num_rows for row in self.repeats)

    def to_text(self) -> str:
        """As JSON, to be remembered."""
        fields = {
            "sha256": self.sha256,
            "num_prompts": self.num_prompts,
            "repeats": sorted(self.repeats),
            "num_routed": dict(self.num_routed),
            "num_repeats_routed": self.num_repeats_routed,
        }
        return orjson.dumps(fields).decode()

    @classmethod
    def from_text(cls, text: str) -> "Survey":
        """What `to_text` wrote."""
        fields = orjson.loads(text)
        return cls(**{**fields, "repeats": frozenset(fields["repeats"])})


START = ReadPosition(0, 0, "")
"""Before the first row."""


class Asked(NamedTuple):
    """A prompt that is asked, and the position after its row."""

    prompt: Prompt
    end: ReadPosition


class PromptSource:
    """Prompts from a file or a list.

    Attributes:
        file_sha256: Of the file's bytes, to remember its survey under; None for a list.

    Raises:
        ConfigError: the file is missing.
    """

    def __init__(self, prompts: Path | Sequence[Prompt]) -> None:
        self._prompts = prompts
        self.file_sha256: str | None = None
        self._stamp: tuple[int, ...] | None = None
        if isinstance(prompts, Path):
            self._where = str(prompts)
            next(iterate_prompts(prompts), None)  # a wrong path is told before it is hashed
            self._stamp = _stamp(prompts)
            self.file_sha256 = file_sha256(prompts)
        else:
            self._where = "The list of prompts"
            check_prompts(prompts, where=self._where)

    @property
    def looks_unchanged(self) -> bool:
        """Whether the file's size and time are those it was opened with: cheap, and no proof."""
        return not isinstance(self._prompts, Path) or _stamp(self._prompts) == self._stamp

    def survey(self) -> Survey:
        """Read everything once, and refuse what no experiment can be made with.

        Raises:
            RecordError: a row is wrong, two have one id, or both splits ask the same.
            DataError: there are no prompts.
        """
        digest = hashlib.sha256()
        names, contents, sides = array("Q"), array("Q"), array("Q")
        routed: dict[int, str] = {}
        for number, (_, prompt, is_named, _) in enumerate(self._rows()):
            digest.update(canonical_json(prompt) + b"\n")
            # A row that has no name of its own cannot share one: its number stands for it.
            names.append(_hash64(prompt.id if is_named else f"\0{number}"))
            contents.append(_hash64(asked_identity(prompt)))
            side = _hash64(messages_identity(prompt.messages)) & ~1
            sides.append(side | (prompt.split == "held_out"))
            if prompt.teacher is not None:
                routed[number] = sys.intern(prompt.teacher)
        if not names:
            raise DataError(f"{self._where} holds no prompts. Add at least one.")
        if _repeats(np.frombuffer(names, dtype=np.uint64)).size:
            self._refuse_equal_ids()
        side_P = np.frombuffer(sides, dtype=np.uint64)
        if _repeats(side_P & _HASH_BITS).size != _repeats(side_P).size:
            self._refuse_mixed_splits()
        repeated = frozenset(_repeats(np.frombuffer(contents, dtype=np.uint64)).tolist())
        num_routed = Counter(name for row, name in routed.items() if row not in repeated)
        num_repeats_routed = len(repeated & routed.keys())
        return Survey(
            digest.hexdigest(), len(names), repeated, dict(num_routed), num_repeats_routed
        )

    def iterate(self, survey: Survey, after: ReadPosition = START) -> Iterator[Asked]:
        """Each row that is asked, from a position on.

        Raises:
            DataError: the file is not the one that was surveyed.
        """
        number = after.num_rows
        for row in self._rows(num_before=after.num_rows, start=after.offset_bytes):
            if number not in survey.repeats:
                position = ReadPosition(row.end, number + 1, survey.sha256)
                yield Asked(row.prompt, position)
            number += 1
        if number != survey.num_prompts:
            raise DataError(
                f"{self._where} has {number} rows, and had {survey.num_prompts} when it was first "
                "read: it changed meanwhile. Run the same command again; what was answered is kept."
            )

    def check_unchanged(self) -> None:
        """Refuse a file that has changed since it was opened.

        Raises:
            DataError: it has.
        """
        if not isinstance(self._prompts, Path):
            return
        try:
            is_the_same = file_sha256(self._prompts) == self.file_sha256
        except FileNotFoundError:
            is_the_same = False
        if not is_the_same:
            raise DataError(
                f"{self._where} changed while it was read. Run the same command again: what was "
                "answered is kept."
            )

    def _rows(self, *, num_before: int = 0, start: int = 0) -> Iterator[Row]:
        if isinstance(self._prompts, Path):
            yield from iterate_prompts(self._prompts, num_before=num_before, start=start)
            return
        for number in range(start, len(self._prompts)):
            yield Row(f"prompt {number + 1}", self._prompts[number], True, number + 1)

    def _refuse_equal_ids(self) -> None:
        places: dict[str, str] = {}
        for where, prompt, is_named, _ in self._rows():
            if is_named and prompt.id in places:
                raise RecordError(
                    f"{self._where}, {where}: the id {prompt.id!r} is that of {places[prompt.id]} "
                    "as well. Make ids unique, or leave them out."
                )
            places[prompt.id] = where

    def _refuse_mixed_splits(self) -> None:
        first_with: dict[str, Prompt] = {}
        for _, prompt, _, _ in self._rows():
            twin = first_with.setdefault(messages_identity(prompt.messages), prompt)
            if twin.split != prompt.split:
                raise RecordError(
                    f"{self._where}: prompts {twin.id!r} ({twin.split}) and {prompt.id!r} "
                    f"({prompt.split}) have the same messages. Remove one: measuring on what was "
                    "trained on says nothing."
                )


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        state = path.stat()
    except FileNotFoundError:
        return None
    return state.st_ino, state.st_size, state.st_mtime_ns


def _hash64(text: str) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def _repeats(hash_P: npt.NDArray[np.uint64]) -> npt.NDArray[np.intp]:
    """Indices of all values that occurred before, ascending."""
    order_P = np.argsort(hash_P, kind="stable")
    sorted_P = hash_P[order_P]
    is_repeat_P = np.concatenate([[False], sorted_P[1:] == sorted_P[:-1]])
    return np.sort(order_P[is_repeat_P])
