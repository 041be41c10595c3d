"""Which of the student's tokens a teacher's token stands for, by the bytes of both.

Three rules. Tokens of the same bytes are the same. A teacher's token that the student does not
have stands for what the student writes first of it. A student's token that the teacher does not
have belongs to what the teacher writes first of it. So each of a teacher's text tokens has a place
among the student's, and no student token belongs to two.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stillhouse.chat._chat import ChatTokenizer

Ints = npt.NDArray[np.int64]

NO_ID = -1
_NOT_ASKED = -2


class VocabularyMap:
    """From a teacher's ids to a student's.

    Args:
        teacher: Whose ids are mapped.
        student: To whose they are.
        student_counts: (student's V,), how often each of its tokens occurs in the texts that are
            learnt from. Of the tokens that go on where a teacher's ends, only those that occur
            are kept, the most used first.
        closing_id: What the student's template writes first to close a turn: of several ends of
            turn the one that it uses, or text before it.
        width: J, the student ids per teacher's token at most.

    Source: string rules after X-Token 2026, arXiv:2605.21699.
    """

    def __init__(
        self,
        teacher: ChatTokenizer,
        student: ChatTokenizer,
        *,
        student_counts: Ints,
        closing_id: int,
        width: int,
    ) -> None:
        self._teacher_bytes = teacher.text_bytes
        self._student = _Writer(student)
        # A row more, for ids beyond the tokenizer's: heads are padded.
        self._ids = np.full((len(self._teacher_bytes) + 1, width), NO_ID, dtype=np.int64)
        if teacher.vocabulary_sha256 == student.vocabulary_sha256:
            self._ids[:-1, 0] = np.arange(len(self._teacher_bytes))  # control tokens too
            return
        self._ids[:-1, 0] = _NOT_ASKED
        self._ids[list(teacher.end_of_turn_ids), 0] = closing_id
        for owner, ids in self._longer(_Writer(teacher), student, student_counts).items():
            best = sorted(ids, key=lambda token_id: (-student_counts[token_id], token_id))
            kept = best[: width - 1]
            self._ids[owner, 1 : 1 + len(kept)] = kept

    def student_ids(self, teacher_ids: Ints) -> Ints:
        """The student's ids for each of `teacher_ids`, (..., J), filled up with `NO_ID`.

        The first is what the student writes first of the token, `NO_ID` where it is no text; for
        an end of turn it is what closes the student's. The others go on where the token ends.
        """
        rows = np.minimum(teacher_ids, len(self._teacher_bytes))
        asked = np.unique(rows)
        asked = asked[self._ids[asked, 0] == _NOT_ASKED]
        pieces = [self._teacher_bytes[token_id] for token_id in asked]
        self._ids[asked, 0] = self._student.first_ids(pieces)
        found: Ints = self._ids[rows]
        return found

    def _longer(
        self, teacher: "_Writer", student: ChatTokenizer, counts: Ints
    ) -> dict[int, list[int]]:
        table = student.text_bytes
        extra = [
            int(token_id)
            for token_id in np.flatnonzero(counts)
            if table[token_id] and not teacher.has(table[token_id])
        ]
        owners = teacher.first_ids([table[token_id] for token_id in extra])
        groups: dict[int, list[int]] = defaultdict(list)
        for token_id, owner in zip(extra, owners, strict=True):
            if owner != NO_ID:
                groups[owner].append(token_id)
        return groups


class _Writer:
    """What a tokenizer writes first of given bytes."""

    def __init__(self, chat: ChatTokenizer) -> None:
        self._chat = chat
        self._ids: dict[bytes, list[int]] = defaultdict(list)
        for token_id, data in enumerate(chat.text_bytes):
            if data:
                self._ids[data].append(token_id)

    def has(self, piece: bytes) -> bool:
        """Whether one token has these bytes."""
        return piece in self._ids

    def first_ids(self, pieces: Sequence[bytes]) -> list[int]:
        """The id for each piece; `NO_ID` for no bytes, or bytes that no token begins."""
        firsts = [self._only_id(piece) for piece in pieces]
        unclear = [index for index, first in enumerate(firsts) if first is None]
        written = self._chat.encode_pieces(
            [pieces[index].decode(errors="replace") for index in unclear]
        )
        for index, ids in zip(unclear, written, strict=True):
            firsts[index] = self._first(pieces[index], ids)
        return [NO_ID if first is None else first for first in firsts]

    def _only_id(self, piece: bytes) -> int | None:
        ids = self._ids.get(piece, [])
        return ids[0] if len(ids) == 1 else None

    def _first(self, piece: bytes, ids: Sequence[int]) -> int | None:
        """By the tokenizer itself where the piece is whole characters, else by longest match."""
        table = self._chat.text_bytes
        if b"".join(table[token_id] for token_id in ids) == piece and piece:
            return ids[0]
        beginnings = (self._ids.get(piece[:length]) for length in range(len(piece), 0, -1))
        return next((found[0] for found in beginnings if found), None)
