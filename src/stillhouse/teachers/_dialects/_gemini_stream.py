"""Partial responses of streamGenerateContent, put together to the whole one."""

from typing import Any

from stillhouse.teachers._dialects._json import (
    count_in,
    dump,
    list_in,
    object_in,
    objects_in,
    parse_object,
)
from stillhouse.teachers._dialects._protocol import SseEvent, StreamRefusedError
from stillhouse.teachers._dialects._refusals import late_refusal


class GeminiAssembler:
    """The one candidate of a streamed response. The stream has no end mark."""

    def __init__(self) -> None:
        self._top: dict[str, Any] = {}
        self._candidate: dict[str, Any] = {}
        self._parts: list[_Part] = []
        self._logprobs: dict[str, Any] = {}
        self._fresh: list[str] = []

    @property
    def is_complete(self) -> bool:
        """Whether a finish reason was seen, or that the prompt was blocked."""
        feedback = self._top.get("promptFeedback")
        is_blocked = isinstance(feedback, dict) and bool(feedback.get("blockReason"))
        return is_blocked or bool(self._candidate.get("finishReason"))

    def feed(self, event: SseEvent) -> None:
        """Take the next partial response."""
        if not event.data.strip():
            return
        data = parse_object(event.data)
        if data.get("error"):
            raise StreamRefusedError(late_refusal(data))
        self._top |= {name: value for name, value in data.items() if name != "candidates"}
        for candidate in objects_in(data.get("candidates"), "candidates"):
            if count_in(candidate.get("index"), "candidates[].index") == 0:
                self._take(candidate)

    def take_text(self) -> str:
        """What the answer says that was not taken yet."""
        fresh, self._fresh = "".join(self._fresh), []
        return fresh

    def result(self) -> bytes:
        """The response as far as it came."""
        if not self._candidate:
            return dump(self._top)
        content = object_in(self._candidate.get("content"), "content")
        content = content | {"parts": [part.whole() for part in self._parts]}
        candidate = self._candidate | {"content": content}
        if self._logprobs:
            candidate["logprobsResult"] = self._logprobs
        return dump(self._top | {"candidates": [candidate]})

    def _take(self, candidate: dict[str, Any]) -> None:
        content = object_in(candidate.get("content"), "content")
        for part in objects_in(content.get("parts"), "content.parts"):
            if isinstance(part.get("text"), str) and not part.get("thought"):
                self._fresh.append(part["text"])
            if self._parts and self._parts[-1].continues_in(part):
                self._parts[-1].take(part)
            else:
                self._parts.append(_Part(part))
        logprobs = object_in(candidate.get("logprobsResult"), "logprobsResult")
        for name, value in logprobs.items():
            if name in ("chosenCandidates", "topCandidates"):
                self._logprobs.setdefault(name, []).extend(list_in(value, name))
            else:
                self._logprobs[name] = value
        # An empty content of a later piece must not take the role away.
        later = {name: value for name, value in candidate.items() if value not in (None, {})}
        self._candidate |= later | {"index": 0}


class _Part:
    """One part: text grows, anything else comes whole."""

    def __init__(self, start: dict[str, Any]) -> None:
        self._fields = start
        text = start.get("text")
        self._texts = [text] if isinstance(text, str) else []

    def continues_in(self, part: dict[str, Any]) -> bool:
        return (
            bool(self._texts)
            and isinstance(part.get("text"), str)
            and part.get("thought") == self._fields.get("thought")
        )

    def take(self, part: dict[str, Any]) -> None:
        self._texts.append(part["text"])
        self._fields = self._fields | part

    def whole(self) -> dict[str, Any]:
        return self._fields | ({"text": "".join(self._texts)} if self._texts else {})
