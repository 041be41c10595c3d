"""Message events, put together to the message that they are pieces of."""

from typing import Any

import orjson

from stillhouse.teachers._dialects._facts import name_in
from stillhouse.teachers._dialects._json import (
    count_in,
    dump,
    object_in,
    parse_object,
    text_in,
)
from stillhouse.teachers._dialects._protocol import (
    MalformedAnswerError,
    SseEvent,
    StreamRefusedError,
)
from stillhouse.teachers._dialects._refusals import late_refusal

# Delta to the field that it makes longer.
_GROWING_TEXTS = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
}


class MessageAssembler:
    """One streamed message."""

    def __init__(self) -> None:
        self._message: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}
        self._blocks: dict[int, _Block] = {}
        self._is_complete = False
        self._fresh: list[str] = []

    @property
    def is_complete(self) -> bool:
        """Whether `message_stop` was seen."""
        return self._is_complete

    def feed(self, event: SseEvent) -> None:
        """Take the next event."""
        if not event.data.strip():
            return
        data = parse_object(event.data)
        kind = name_in(data.get("type")) or event.name
        if kind == "error":
            raise StreamRefusedError(late_refusal(data))
        if kind == "message_start":
            self._take(object_in(data.get("message"), "message"))
        elif kind == "message_delta":
            self._take(object_in(data.get("delta"), "delta"))
            self._take_usage(data)
        elif kind == "content_block_start":
            block = object_in(data.get("content_block"), "content_block")
            self._blocks[self._index(data)] = _Block(block)
        elif kind == "content_block_delta":
            delta = object_in(data.get("delta"), "delta")
            self._block(data).take(delta)
            if name_in(delta.get("type")) == "text_delta":
                self._fresh.append(text_in(delta.get("text"), "delta.text"))
        elif kind == "message_stop":
            self._is_complete = True

    def take_text(self) -> str:
        """What the answer says that was not taken yet."""
        fresh, self._fresh = "".join(self._fresh), []
        return fresh

    def result(self) -> bytes:
        """The message as far as it came."""
        content = [self._blocks[index].whole() for index in sorted(self._blocks)]
        return dump(self._message | {"content": content, "usage": self._usage})

    def _take(self, fields: dict[str, Any]) -> None:
        self._message |= fields
        self._take_usage(fields)

    def _take_usage(self, fields: dict[str, Any]) -> None:
        # Counts are sums so far, and come only where they are known.
        usage = object_in(fields.get("usage"), "usage")
        self._usage |= {name: value for name, value in usage.items() if value is not None}

    def _block(self, data: dict[str, Any]) -> "_Block":
        index = self._index(data)
        if index not in self._blocks:
            raise MalformedAnswerError(f"a piece of block {index}, which has not begun")
        return self._blocks[index]

    @staticmethod
    def _index(data: dict[str, Any]) -> int:
        return count_in(data.get("index"), "index")


class _Block:
    """One content block: text, thinking or a tool call whose input comes as pieces of JSON."""

    def __init__(self, start: dict[str, Any]) -> None:
        self._fields = start
        self._pieces: dict[str, list[str]] = {}
        self._citations: list[Any] = []
        self._input: list[str] = []

    def take(self, delta: dict[str, Any]) -> None:
        kind = name_in(delta.get("type"))
        if kind == "input_json_delta":
            self._input.append(text_in(delta.get("partial_json"), "delta.partial_json"))
        elif kind == "citations_delta":
            self._citations.append(delta.get("citation"))
        elif kind in _GROWING_TEXTS:
            name = _GROWING_TEXTS[kind]
            self._pieces.setdefault(name, []).append(text_in(delta.get(name), f"delta.{name}"))

    def whole(self) -> dict[str, Any]:
        block = dict(self._fields)
        for name, pieces in self._pieces.items():
            block[name] = text_in(block.get(name), f"content_block.{name}") + "".join(pieces)
        if self._citations:
            block["citations"] = self._citations
        if written := "".join(self._input):
            block["input"] = _value_or_text(written)
        return block


def _value_or_text(written: str) -> Any:
    """The input of a tool; as it was written where it was cut before its end."""
    try:
        return orjson.loads(written)
    except orjson.JSONDecodeError:
        return written
