"""One request, its answer, and what the log keeps of both."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from tests.mock_provider.answers import Ask, Reply

_KEY_HEADERS = frozenset(("authorization", "x-api-key", "x-goog-api-key", "api-key", "cookie"))


@dataclass(slots=True)
class Incoming:
    """A request as it came in; header names are in lower case, `path` as the API knows it."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    family: str


@dataclass(slots=True)
class Outgoing:
    """An answer: either `body`, or `events` for a stream.

    `unused_tokens` were reserved of the account's limit and are given back at the end.
    """

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    events: Iterator[bytes] | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    unused_tokens: int = 0

    @classmethod
    def of(cls, value: Any, status: int = 200) -> "Outgoing":
        """An answer that is one JSON value."""
        return cls(orjson.dumps(value), status)


@dataclass(slots=True)
class Made:
    """A completion, written in its dialect only when it is sent."""

    ask: Ask
    replies: list[Reply]
    whole: Callable[[], dict[str, Any]]
    events: Callable[[], Iterator[bytes]]

    @property
    def completion_tokens(self) -> int:
        """Of all choices."""
        return sum(reply.counts.completion for reply in self.replies)


@dataclass(slots=True)
class Logged:
    """What the log keeps of a request.

    Attributes:
        number: From 1, in the order of arrival.
        headers: Without those that hold keys.
        received_s: Seconds since the epoch.
        answered_s: The same of the end; None while it is under way.
        status: None where no status was sent.
        fault: The fault that befell it, empty for none.
        is_paid: Whether the work was done, so that a real provider would bill it.
    """

    number: int
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    received_s: float
    answered_s: float | None = None
    status: int | None = None
    fault: str = ""
    is_paid: bool = False
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def json(self) -> Any:
        """The body, read."""
        return orjson.loads(self.body)

    def as_json(self) -> dict[str, Any]:
        """For the log that is read over HTTP."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return {**fields, "body": self.body.decode("utf-8", "replace")}


def keyless(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers in lower case without those that hold keys."""
    lower = {name.lower(): value for name, value in headers.items()}
    return {name: value for name, value in lower.items() if name not in _KEY_HEADERS}
