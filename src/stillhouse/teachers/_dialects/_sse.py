"""Server-sent events out of bytes, whatever the pieces that they arrive in.

Follows the WHATWG specification, section 9.2.6 "Interpreting an event stream": three kinds of line
end, comments, several data lines in one event, a byte order mark. Event ids and retry times are
read over: no stream of ours is taken up again. In one thing it does not follow: bytes that are no
UTF-8 become lone surrogates, not U+FFFD. No JSON reader takes those, so an answer with broken bytes
in it is malformed, as it is where it comes in one piece; a student would learn the U+FFFD.
"""

import codecs
import re

from stillhouse.teachers._dialects._protocol import SseEvent

_LINE_END = re.compile("\r\n|\r|\n")


class SseParser:
    """Takes the bytes of one stream and gives its events as soon as each has ended."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._rest: list[str] = []  # pieces of the line that has not ended
        self._ended_with_cr = False
        self._is_at_start = True
        self._name = ""
        self._data: list[str] = []

    def feed(self, piece: bytes) -> list[SseEvent]:
        """The events that end within `piece`; one without its blank line is never given."""
        text = self._without_mark(self._decoder.decode(piece))
        if self._ended_with_cr and text:
            # The line ended with the CR already; an LF that follows belongs to it.
            text = text.removeprefix("\n")
            self._ended_with_cr = False
        if text:
            self._ended_with_cr = text.endswith("\r")
        first, *others = _LINE_END.split(text)
        self._rest.append(first)
        events: list[SseEvent] = []
        for line in others:
            self._take_line("".join(self._rest), events)
            self._rest = [line]
        return events

    def _without_mark(self, text: str) -> str:
        if not self._is_at_start or not text:
            return text
        self._is_at_start = False
        return text.removeprefix("\ufeff")

    def _take_line(self, line: str, events: list[SseEvent]) -> None:
        if not line:
            self._end_event(events)
            return
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._name = value

    def _end_event(self, events: list[SseEvent]) -> None:
        if self._data:
            events.append(SseEvent(name=self._name or "message", data="\n".join(self._data)))
        self._name, self._data = "", []
