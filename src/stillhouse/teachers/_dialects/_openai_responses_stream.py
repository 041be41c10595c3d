"""Typed response events, put together to the response that they are pieces of."""

from typing import Any

from stillhouse.teachers._dialects._facts import name_in
from stillhouse.teachers._dialects._json import count_in, dump, object_in, parse_object
from stillhouse.teachers._dialects._protocol import SseEvent, StreamRefusedError
from stillhouse.teachers._dialects._refusals import late_refusal

_LAST_EVENTS = frozenset({"response.completed", "response.incomplete"})


class ResponseAssembler:
    """A streamed response: its last event holds it whole."""

    def __init__(self) -> None:
        self._response: dict[str, Any] = {}
        self._items: dict[int, dict[str, Any]] = {}
        self._is_complete = False
        self._fresh: list[str] = []

    @property
    def is_complete(self) -> bool:
        """Whether `response.completed` or `response.incomplete` was seen."""
        return self._is_complete

    def feed(self, event: SseEvent) -> None:
        """Take the next event; pieces are read over, as items come whole when they are done."""
        data = event.data.strip()
        if not data or data == "[DONE]":
            return
        given = parse_object(data)
        kind = name_in(given.get("type")) or event.name
        if kind == "error" or (given.get("error") and "response" not in given):
            raise StreamRefusedError(late_refusal(given))
        response = object_in(given.get("response"), "response")
        if kind == "response.failed":
            raise StreamRefusedError(late_refusal({"error": response.get("error") or response}))
        if response:
            self._response = response
        if kind == "response.output_text.delta" and isinstance(given.get("delta"), str):
            self._fresh.append(given["delta"])
        if kind == "response.output_item.done":
            index = count_in(given.get("output_index"), "output_index")
            self._items[index] = object_in(given.get("item"), "item")
        self._is_complete = self._is_complete or kind in _LAST_EVENTS

    def take_text(self) -> str:
        """What the answer says that was not taken yet."""
        fresh, self._fresh = "".join(self._fresh), []
        return fresh

    def result(self) -> bytes:
        """The response; of one that was cut, the items that were done."""
        if self._response.get("output") or not self._items:
            return dump(self._response)
        output = [self._items[index] for index in sorted(self._items)]
        return dump(self._response | {"output": output})
