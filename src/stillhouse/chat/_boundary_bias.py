"""Whether two tokenizers mean the same by "a token ends here".

A tokenizer that writes `Hel` and stops has also said that the text does not go on with `lo`: it
has a token for that. Where the other tokenizer's token excludes less, the two models answer
different questions about the same bytes, and no training makes them agree.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate


class BoundaryBias:
    """How much more one of two tokenizers knows of the text to come at a common end.

    It is measured with how often tokens occur in the texts that are learnt from, as the share of
    occurrences: of all texts that write a token's bytes as one token or as the beginning of a
    longer one, those whose longer token only that tokenizer would have written.

    Args:
        teacher: The bytes of each of the teacher's ids.
        teacher_ids: Its tokens in the texts.
        student: The bytes of each of the student's ids.
        student_ids: Its tokens in the texts.

    Source: tokenization bias as in Minixhofer et al. 2025, arXiv:2503.20083.
    """

    def __init__(
        self,
        teacher: Sequence[bytes],
        teacher_ids: Iterable[int],
        student: Sequence[bytes],
        student_ids: Iterable[int],
    ) -> None:
        self._teacher = _Vocabulary(teacher, teacher_ids)
        self._student = _Vocabulary(student, student_ids)
        self._known: dict[tuple[int, int], float] = {}

    def __call__(self, teacher_id: int, student_id: int) -> float:
        """The larger of the two shares, 0 to 1, where these tokens end at the same byte."""
        pair = (teacher_id, student_id)
        if pair not in self._known:
            self._known[pair] = max(
                self._teacher.excess(teacher_id, self._student, student_id),
                self._student.excess(student_id, self._teacher, teacher_id),
            )
        return self._known[pair]


class _Vocabulary:
    def __init__(self, table: Sequence[bytes], ids: Iterable[int]) -> None:
        self._table = table
        self._tokens = frozenset(table)
        counts: Counter[bytes] = Counter()
        for token_id, count in Counter(ids).items():
            counts[table[token_id]] += count
        self._seen = sorted(counts)
        self._counts = counts
        self._before = [0, *accumulate(counts[token] for token in self._seen)]

    def excess(self, token_id: int, other: "_Vocabulary", other_id: int) -> float:
        """The share of texts that this token excludes and the other one does not."""
        token, ending = self._table[token_id], other._table[other_id]
        start, stop = self._range(token)
        total = self._before[stop] - self._before[start]
        if not total:
            return 0.0
        only_here = sum(
            self._counts[longer]
            for longer in self._seen[start:stop]
            if longer != token and not other.excludes(ending, longer[len(token) :])
        )
        return only_here / total

    def excludes(self, token: bytes, rest: bytes) -> bool:
        """Whether this vocabulary would have gone on after `token` if the text went on so."""
        return any(token + rest[:length] in self._tokens for length in range(1, len(rest) + 1))

    def _range(self, prefix: bytes) -> tuple[int, int]:
        """The seen tokens that begin with `prefix`."""
        start = bisect_left(self._seen, prefix)
        # No UTF-8 text has the byte 255, and a token of it alone is never a beginning.
        return start, bisect_left(self._seen, prefix + b"\xff" * 64, lo=start)
