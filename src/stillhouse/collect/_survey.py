"""What reading all prompts finds out about them, kept so that a grown file is only read on.

A million prompts are three arrays of 64-bit hashes here, 24 MB: what repeats, and what stands in
both splits, is found by sorting them. Two of a million hashes agree by chance once in 30 million
files; errors are looked up again with the texts themselves.
"""

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from stillhouse.collect._prompts import Row, asked_identity
from stillhouse.records import canonical_json, messages_identity, prompt_content
from stillhouse.runlog import ReadPosition

_HASH_BITS = np.uint64(2**64 - 2)
_MOST_GROWN_FROM = 16

ROW_HASHES = np.dtype([("name", "<u8"), ("content", "<u8"), ("side", "<u8"), ("route", "<u4")])
"""A row as it is kept: hashes of its id, of what it asks, and of its messages with the split in the
lowest bit; and which of the teachers' names it has, 0 for none.
"""


@dataclass(frozen=True, slots=True)
class Survey:
    """What one reading of all prompts found.

    Attributes:
        sha256: Of the canonical rows, in hex: the content, wherever it comes from.
        num_prompts: Rows, repeated ones included.
        repeats: Numbers of the rows that ask what an earlier one asks; they are not asked again.
        num_routed: Of the rows that are asked, those for one teacher only, by its name.
        num_repeats_routed: Of the repeats, those for one teacher only.
        grown_from: The `sha256` of earlier surveys whose rows are the first of these but not all,
            longest first; of very many, the longest.
    """

    sha256: str
    num_prompts: int
    repeats: frozenset[int] = frozenset()
    num_routed: Mapping[str, int] = field(default_factory=dict)
    num_repeats_routed: int = 0
    grown_from: tuple[str, ...] = ()

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
            "grown_from": self.grown_from,
        }
        return orjson.dumps(fields).decode()

    @classmethod
    def from_text(cls, text: str) -> "Survey":
        """What `to_text` wrote."""
        fields = orjson.loads(text)
        repeats, grown_from = frozenset(fields["repeats"]), tuple(fields["grown_from"])
        return cls(**{**fields, "repeats": repeats, "grown_from": grown_from})


class Mark(NamedTuple):
    """A place between two rows.

    Attributes:
        num_rows: Rows before it.
        end: Of the last of them, for `iterate_prompts`.
        sha256: Of these rows, in hex.
    """

    num_rows: int
    end: int
    sha256: str


@dataclass(frozen=True, slots=True)
class KeptRows:
    """What a surveyor had taken up, for another to go on with.

    Attributes:
        mark: After these rows.
        teachers: As of the surveyor.
        grown_from: As of the survey.
        parts: The rows, of the type `ROW_HASHES`.
    """

    mark: Mark
    teachers: Mapping[str, int]
    grown_from: Sequence[str]
    parts: Sequence[npt.NDArray[np.void]]


class Surveyor:
    """Takes up rows one after the other, and keeps 28 bytes of each.

    Args:
        known: Of surveys that may be of the first rows of these: how many rows, and their `sha256`.

    Attributes:
        mark: After the rows so far.
        mark_before_last: Before the last row that was added; a file that ends without a newline may
            have that row go on when it grows.
        teachers: Numbers, from 1, of those that some rows are for alone, by name.
    """

    def __init__(self, known: Iterable[tuple[int, str]] = ()) -> None:
        self.mark = self.mark_before_last = Mark(0, 0, "")
        self.teachers: dict[str, int] = {}
        self._known = set(known)
        self._known_sizes = {num_rows for num_rows, _ in self._known}
        self._grown_from: list[str] = []
        self._chain = b""
        self._names, self._contents, self._sides = array("Q"), array("Q"), array("Q")
        self._routes = array("I")

    def add(self, row: Row) -> None:
        """Take up the next row."""
        prompt, number = row.prompt, len(self._names)
        # Each hash goes into the next, so that any number of first rows has one of its own.
        self._chain = hashlib.sha256(self._chain + canonical_json(prompt_content(prompt))).digest()
        # A row that has no name of its own cannot share one: its number stands for it.
        self._names.append(_hash64(prompt.id if row.is_named else f"\0{number}"))
        self._contents.append(_hash64(asked_identity(prompt)))
        side = _hash64(messages_identity(prompt.messages)) & ~1
        self._sides.append(side | (prompt.split == "held_out"))
        self._routes.append(
            0
            if prompt.teacher is None
            else self.teachers.setdefault(prompt.teacher, len(self.teachers) + 1)
        )
        self.mark_before_last = self.mark
        self.mark = Mark(number + 1, row.end, self._chain.hex())
        if number + 1 in self._known_sizes and (number + 1, self.mark.sha256) in self._known:
            self._grown_from.insert(0, self.mark.sha256)

    def load(self, kept: "KeptRows") -> None:
        """Take up, before any other, rows that were kept."""
        self.teachers, self._grown_from = dict(kept.teachers), list(kept.grown_from)
        for part in kept.parts:
            self._names.frombytes(part["name"].astype(np.uint64).tobytes())
            self._contents.frombytes(part["content"].astype(np.uint64).tobytes())
            self._sides.frombytes(part["side"].astype(np.uint64).tobytes())
            self._routes.frombytes(part["route"].astype(np.uintc).tobytes())
        self.mark = self.mark_before_last = kept.mark
        self._chain = bytes.fromhex(kept.mark.sha256)

    def kept_rows(self, start: int, stop: int) -> npt.NDArray[np.void]:
        """Rows as `load` takes them up."""
        part = np.empty(stop - start, dtype=ROW_HASHES)
        part["name"] = self._names[start:stop]
        part["content"] = self._contents[start:stop]
        part["side"] = self._sides[start:stop]
        part["route"] = self._routes[start:stop]
        return part

    def has_equal_ids(self) -> bool:
        """Whether two rows seem to have one id."""
        return bool(_repeats(np.frombuffer(self._names, dtype=np.uint64)).size)

    def has_mixed_splits(self) -> bool:
        """Whether the same messages seem to be in both splits."""
        side_P = np.frombuffer(self._sides, dtype=np.uint64)
        return _repeats(side_P & _HASH_BITS).size != _repeats(side_P).size

    def survey(self) -> Survey:
        """What the rows so far are, all in all."""
        route_P = np.frombuffer(self._routes, dtype=np.uintc)
        repeat_R = _repeats(np.frombuffer(self._contents, dtype=np.uint64))
        counts = Counter(dict(enumerate(np.bincount(route_P).tolist())))
        counts.subtract(route_P[repeat_R].tolist())
        return Survey(
            sha256=self.mark.sha256,
            num_prompts=self.mark.num_rows,
            repeats=frozenset(repeat_R.tolist()),
            num_routed={
                name: counts[route] for name, route in self.teachers.items() if counts[route]
            },
            num_repeats_routed=int(np.count_nonzero(route_P[repeat_R])),
            grown_from=tuple(one for one in self._grown_from if one != self.mark.sha256)[
                :_MOST_GROWN_FROM
            ],
        )


def _hash64(text: str) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def _repeats(hash_P: npt.NDArray[np.uint64]) -> npt.NDArray[np.intp]:
    """Indices of all values that occurred before, ascending."""
    order_P = np.argsort(hash_P, kind="stable")
    sorted_P = hash_P[order_P]
    is_repeat_P = np.concatenate([[False], sorted_P[1:] == sorted_P[:-1]])
    return np.sort(order_P[is_repeat_P])
