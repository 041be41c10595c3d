"""Generation that ends at a given text, as a grammar: whatever comes before it may be anything."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stillhouse.chat import ChatTokenizer

Bools = npt.NDArray[np.bool_]


class UntilGrammar:
    """Any text, up to the first of some stops; then the turn has to end.

    Without it a completion would go on to its last token, and be cut afterwards: the same text
    for many times the work.

    Args:
        chat: Of the model that generates.
        stops: Texts, none empty.
    """

    def __init__(self, chat: ChatTokenizer, stops: Sequence[str]) -> None:
        self._text_bytes = chat.text_bytes
        self._stops = tuple(stop.encode() for stop in stops)
        self._any_V = np.ones(len(chat.text_bytes), dtype=np.bool_)
        self._end_V = np.zeros(len(chat.text_bytes), dtype=np.bool_)
        self._end_V[list(chat.end_of_turn_ids)] = True

    def begin(self) -> "UntilConstraint":
        """The place before a completion's first token."""
        return UntilConstraint(self._text_bytes, self._stops, self._any_V, self._end_V)


class UntilConstraint:
    """Where one completion stands: before a stop, or at its end."""

    def __init__(
        self, text_bytes: list[bytes], stops: tuple[bytes, ...], any_V: Bools, end_V: Bools
    ) -> None:
        self._text_bytes = text_bytes
        self._stops = stops
        self._longest = max(map(len, stops), default=0)
        self._any_V, self._end_V = any_V, end_V
        self._tail = b""
        self._is_over = False

    def allowed_V(self) -> Bools:
        """(V,) every token, or once a stop was written those that end the turn."""
        return self._end_V if self._is_over else self._any_V

    def advance(self, token_id: int) -> None:
        """Go on with an id."""
        self._tail += self._text_bytes[token_id]
        self._is_over = self._is_over or any(stop in self._tail for stop in self._stops)
        self._tail = self._tail[-self._longest :]


def cut_at(text: str, stops: Sequence[str]) -> str:
    """`text` up to the first place where one of `stops` begins."""
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(places, default=len(text))]
