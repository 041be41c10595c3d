"""Tokens into text, cut before a stop."""

import codecs
from collections.abc import Sequence


class TextStream:
    """Turns the bytes of tokens into text that can be sent.

    Text that may be the beginning of a stop waits until it is known not to be; so do the first
    bytes of a character. Of several stops the one that ends first counts, so that the answer does
    not depend on how its text was cut into tokens.

    Args:
        stop: Texts before which the answer ends.

    Attributes:
        is_stopped: Whether a stop was met.
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stop = tuple(stop)
        self._held = ""
        self.is_stopped = False

    def add(self, raw: bytes) -> str:
        """The text that can be sent now."""
        return self._take(self._decoder.decode(raw))

    def end(self) -> str:
        """What is left when no token follows."""
        text = self._take(self._decoder.decode(b"", final=True))
        held, self._held = self._held, ""
        return text if self.is_stopped else text + held

    def _take(self, text: str) -> str:
        if self.is_stopped:
            return ""
        whole = self._held + text
        found = [
            (place + len(stop), place) for stop in self._stop if (place := whole.find(stop)) >= 0
        ]
        if found:
            self.is_stopped = True
            self._held = ""
            _, place = min(found)
            return whole[:place]
        kept = max((_overlap(whole, stop) for stop in self._stop), default=0)
        self._held = whole[len(whole) - kept :]
        return whole[: len(whole) - kept]


def _overlap(text: str, stop: str) -> int:
    """Characters at the end of `text` with which `stop` may begin."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
