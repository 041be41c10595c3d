"""Chat completion chunks, put together to the chat completion that they are pieces of."""

from typing import Any

from stillhouse.teachers._dialects._json import (
    count_in,
    dump,
    list_in,
    object_in,
    objects_in,
    parse_object,
)
from stillhouse.teachers._dialects._protocol import (
    SseEvent,
    StreamRefusedError,
)
from stillhouse.teachers._dialects._refusals import late_refusal

_END = "[DONE]"
_GROWING_TEXTS = ("content", "refusal", "reasoning_content", "reasoning")
_LOGPROB_LISTS = ("content", "refusal", "tokens", "token_logprobs", "top_logprobs", "token_ids")


class ChatAssembler:
    """The one choice of a streamed chat completion."""

    def __init__(self) -> None:
        self._top: dict[str, Any] = {}
        self._choice: dict[str, Any] = {"index": 0}
        self._message: dict[str, Any] = {"role": "assistant", "content": None}
        self._calls: dict[int, _Call] = {}
        self._pieces: dict[str, list[str]] = {}
        self._parts: list[dict[str, Any]] = []  # of a content that comes as parts (Mistral)
        self._has_choice = False
        self._has_ended = False
        self._fresh: list[str] = []

    @property
    def is_complete(self) -> bool:
        """Whether the finish reason or the end mark was seen; usage may still be missing."""
        return self._has_ended or self._choice.get("finish_reason") is not None

    def feed(self, event: SseEvent) -> None:
        """Take the next chunk."""
        data = event.data.strip()
        if not data:
            return
        if data == _END:
            self._has_ended = True
            return
        chunk = parse_object(data)
        if chunk.get("error") or event.name == "error":
            raise StreamRefusedError(late_refusal(chunk))
        for name, value in chunk.items():
            if name not in ("choices", "object") and value is not None:
                self._top[name] = value
        for choice in objects_in(chunk.get("choices"), "choices"):
            if count_in(choice.get("index"), "choices[].index") == 0:
                self._take_choice(choice)

    def take_text(self) -> str:
        """What the answer says that was not taken yet."""
        fresh, self._fresh = "".join(self._fresh), []
        return fresh

    def result(self) -> bytes:
        """The chat completion as far as it came."""
        message = self._message | {name: "".join(p) for name, p in self._pieces.items()}
        if self._parts:
            message["content"] = self._parts
        if self._calls:
            message["tool_calls"] = [self._calls[i].whole() for i in sorted(self._calls)]
        choices = [self._choice | {"message": message}] if self._has_choice else []
        return dump(self._top | {"object": "chat.completion", "choices": choices})

    def _take_choice(self, choice: dict[str, Any]) -> None:
        self._has_choice = True
        for name, value in choice.items():
            if name not in ("delta", "logprobs") and value is not None:
                self._choice[name] = value
        self._take_delta(object_in(choice.get("delta"), "choices[].delta"))
        self._take_logprobs(object_in(choice.get("logprobs"), "choices[].logprobs"))

    def _take_delta(self, delta: dict[str, Any]) -> None:
        for name, value in delta.items():
            if value is None:
                continue
            if name == "content" and isinstance(value, str) and not self._parts:
                self._fresh.append(value)
            if name == "tool_calls":
                for call in objects_in(value, "delta.tool_calls"):
                    self._take_call(call)
            elif name == "content" and isinstance(value, list):
                self._take_parts(objects_in(value, "delta.content"))
            elif name == "content" and self._parts:
                self._take_parts([{"type": "text", "text": value}])
            elif name in _GROWING_TEXTS and isinstance(value, str):
                self._pieces.setdefault(name, []).append(value)
            elif isinstance(value, list) and isinstance(self._message.get(name), list):
                self._message[name] = self._message[name] + value
            else:
                self._message[name] = value

    def _take_parts(self, parts: list[dict[str, Any]]) -> None:
        before = "".join(self._pieces.pop("content", []))
        if before:
            self._parts.append({"type": "text", "text": before})
        for part in parts:
            if part.get("type") == "text" and isinstance(part.get("text"), str):
                self._fresh.append(part["text"])
            last = self._parts[-1] if self._parts else {}
            texts = last.get("text"), part.get("text")
            if part.get("type") == last.get("type") == "text" and all(
                isinstance(text, str) for text in texts
            ):
                self._parts[-1] = last | {"text": f"{texts[0]}{texts[1]}"}
            else:
                self._parts.append(part)

    def _take_call(self, piece: dict[str, Any]) -> None:
        # A host that leaves the index out sends whole calls.
        given = piece.get("index")
        index = len(self._calls) if given is None else count_in(given, "tool_calls[].index")
        self._calls.setdefault(index, _Call()).take(piece)

    def _take_logprobs(self, given: dict[str, Any]) -> None:
        if not given:
            return
        known = self._choice.setdefault("logprobs", {})
        for name, value in given.items():
            if name in _LOGPROB_LISTS:
                known.setdefault(name, []).extend(list_in(value, f"logprobs.{name}"))
            elif value is not None:
                known[name] = value


class _Call:
    """One tool call: its arguments come in pieces, its id and name once."""

    def __init__(self) -> None:
        self._fields: dict[str, Any] = {}
        self._function: dict[str, Any] = {}
        self._arguments: list[str] = []

    def take(self, piece: dict[str, Any]) -> None:
        for name, value in piece.items():
            if name not in ("index", "function") and value not in (None, ""):
                self._fields[name] = value
        for name, value in object_in(piece.get("function"), "tool_calls[].function").items():
            if name == "arguments" and isinstance(value, str):
                self._arguments.append(value)
            elif value is not None:
                self._function[name] = value

    def whole(self) -> dict[str, Any]:
        function = dict(self._function)
        if self._arguments or "arguments" not in function:
            function["arguments"] = "".join(self._arguments)
        return self._fields | {"function": function}
