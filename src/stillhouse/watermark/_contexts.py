"""Which tokens of a completion are marked: those whose context is whole and new.

A key draws the same numbers whenever a context comes again. A scheme that chooses by them would
choose the same token again and the completion loop; so such a token is drawn without a mark.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from stillhouse.watermark._mark import MarkedRow
from stillhouse.watermark._prf import context_hash

_MAX_ROWS = 512  # more than an engine runs at once; a row that was forgotten is read again


@dataclass
class _Seen:
    row: MarkedRow
    ids: list[int] = field(default_factory=list)
    contexts: set[int] = field(default_factory=set)


class NewContexts:
    """Finds the context of the next token, if it may be marked.

    The answer depends on the arguments alone; what is kept only saves reading a completion again
    for each of its tokens.

    Args:
        width: Ids in a context.
        repeats: Where a context must be new.
    """

    def __init__(self, width: int, repeats: Literal["completion", "conversation"]) -> None:
        self._width = width
        self._with_prompt = repeats == "conversation"
        self._rows: OrderedDict[int, _Seen] = OrderedDict()

    def __call__(self, row: MarkedRow, previous_ids: Sequence[int]) -> int | None:
        """The hash of the context; None where the next token is drawn without a mark.

        The first `width` tokens of a completion are unmarked: who tests it does not have the
        prompt, and a question that is asked again must not get the same first words each time.
        """
        if len(previous_ids) < self._width:
            return None
        seen = self._caught_up(row, previous_ids)
        found = context_hash(previous_ids[-self._width :])
        return None if found in seen.contexts else found

    def _caught_up(self, row: MarkedRow, previous_ids: Sequence[int]) -> _Seen:
        """The contexts of all tokens of the row before the next one."""
        seen = self._rows.pop(id(row), None)
        num_known = 0 if seen is None else len(seen.ids)
        if seen is None or seen.row is not row or seen.ids != list(previous_ids[:num_known]):
            seen = self._begun(row)
        for place in range(len(seen.ids), len(previous_ids)):
            if place >= self._width:
                seen.contexts.add(context_hash(previous_ids[place - self._width : place]))
        seen.ids.extend(previous_ids[len(seen.ids) :])
        self._rows[id(row)] = seen
        if len(self._rows) > _MAX_ROWS:
            self._rows.popitem(last=False)
        return seen

    def _begun(self, row: MarkedRow) -> _Seen:
        seen = _Seen(row)
        if self._with_prompt:
            ids = row.prompt_ids
            for end in range(self._width, len(ids) + 1):
                seen.contexts.add(context_hash(ids[end - self._width : end]))
        return seen
