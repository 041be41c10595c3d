"""Two tokenisations of one text, cut into the shortest chunks that both of them know.

A chunk ends where a token ends in both, at the same byte. What closes the turn is a chunk of its
own, whatever tokens the two templates use for it; what the templates write before the completion
(a beginning-of-text token, say) is no part of either.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stillhouse.chat._spans import TokenSpans
from stillhouse.errors import RecordError

Ints = npt.NDArray[np.int64]

NO_CHUNK = -1

IsBoundary = Callable[[int, int], bool]
"""Whether a chunk may end after the teacher's and the student's tokens at these indices."""


@dataclass(frozen=True)
class Alignment:
    """The chunks of one completion, in order.

    Attributes:
        teacher: (n,) int64, the chunk of each of the teacher's tokens, or `NO_CHUNK`.
        student: (m,) int64, the same for the student's.
        num_chunks: C; each has at least one token on either side.
    """

    teacher: Ints
    student: Ints
    num_chunks: int

    def first_tokens(self) -> tuple[Ints, Ints]:
        """The index of each chunk's first token, teacher's and student's, (C,) int64 each.

        What comes before them is the same text, so their distributions can be compared.
        """
        return _firsts(self.teacher, self.num_chunks), _firsts(self.student, self.num_chunks)


def align(
    teacher: TokenSpans, student: TokenSpans, is_boundary: IsBoundary | None = None
) -> Alignment:
    """Align two tokenisations of the same text.

    Args:
        teacher: One.
        student: The other.
        is_boundary: Where chunks may end; where it says no, the chunk goes on to the next common
            end. None allows all.

    Returns:
        Chunks that cover both; where one side closes the turn and the other was cut, or the text
        stops at no boundary, tokens are left over at the end.

    Raises:
        RecordError: the two are of texts of different lengths.
    """
    _check_same_text(teacher, student)
    teacher_ends, student_ends = _with_closing(teacher), _with_closing(student)
    ends = np.intersect1d(teacher_ends, student_ends)
    if is_boundary is not None:
        tokens = zip(_last(teacher_ends, ends), _last(student_ends, ends), strict=True)
        is_closing = ends > teacher.ends[-1:]
        allowed = [
            closes or is_boundary(int(one), int(other))
            for closes, (one, other) in zip(is_closing, tokens, strict=True)
        ]
        ends = ends[np.array(allowed, dtype=bool)]
    return Alignment(_chunks(teacher_ends, ends), _chunks(student_ends, ends), len(ends))


def unaligned(num_teacher: int, num_student: int) -> Alignment:
    """No chunks at all, for so many tokens on either side."""
    return Alignment(
        np.full(num_teacher, NO_CHUNK, dtype=np.int64),
        np.full(num_student, NO_CHUNK, dtype=np.int64),
        0,
    )


def _check_same_text(teacher: TokenSpans, student: TokenSpans) -> None:
    lengths = [int(spans.ends[-1]) if len(spans) else 0 for spans in (teacher, student)]
    if lengths[0] != lengths[1]:
        raise RecordError(
            f"The teacher's tokens write {lengths[0]} bytes and the student's {lengths[1]}: they "
            "are not of one text. Give both the same completion."
        )


def _with_closing(spans: TokenSpans) -> Ints:
    """The ends, as if closing the turn wrote one byte more."""
    return spans.ends + (np.arange(len(spans)) >= spans.num_text)


def _last(token_ends: Ints, ends: Ints) -> Ints:
    return np.searchsorted(token_ends, ends, side="right") - 1


def _chunks(token_ends: Ints, chunk_ends: Ints) -> Ints:
    chunks = np.searchsorted(chunk_ends, token_ends)
    return np.where(chunks < len(chunk_ends), chunks, NO_CHUNK).astype(np.int64)


def _firsts(chunks: Ints, num_chunks: int) -> Ints:
    return np.searchsorted(chunks[chunks != NO_CHUNK], np.arange(num_chunks))
