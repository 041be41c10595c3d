"""Plain HTTP calls to the mock provider, straight or through a proxy."""

import http.client
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

HEADERS = {
    "authorization": "Bearer test-key",
    "x-api-key": "test-key",
    "x-goog-api-key": "test-key",
    "anthropic-version": "2023-06-01",
}
PATHS = {
    "openai_chat": "/v1/chat/completions",
    "openai_responses": "/v1/responses",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/mock-small:generateContent",
}


class Listening(Protocol):
    """Who can be called: a mock provider, or a proxy in front of it."""

    @property
    def port(self) -> int:
        """Where it listens, on this machine."""
        ...


@dataclass(frozen=True, slots=True)
class Got:
    """An answer as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


def headers_of(dialect: str) -> dict[str, str]:
    """The headers of one dialect, its key among them."""
    names = {"anthropic": ("x-api-key", "anthropic-version"), "gemini": ("x-goog-api-key",)}
    return {name: HEADERS[name] for name in names.get(dialect, ("authorization",))}


def call(
    provider: Listening,
    method: str,
    path: str,
    body: Any = None,
    headers: dict[str, str] | None = None,
    timeout_s: float = 5.0,
) -> Got:
    """One request on a connection of its own; `body` is bytes, or a value to send as JSON."""
    sent = body if isinstance(body, bytes) or body is None else orjson.dumps(body)
    connection = http.client.HTTPConnection("127.0.0.1", provider.port, timeout=timeout_s)
    try:
        given = {**headers_of("openai_chat"), **(headers or {})}
        connection.request(method, path, sent, given)
        response = connection.getresponse()
        received = {name.lower(): value for name, value in response.getheaders()}
        return Got(response.status, received, response.read())
    finally:
        connection.close()


def body_of(dialect: str, text: str, *, stream: bool = False, **more: Any) -> dict[str, Any]:
    """The smallest request of a dialect."""
    if dialect == "gemini":
        return {"contents": [{"role": "user", "parts": [{"text": text}]}], **more}
    messages = [{"role": "user", "content": text}]
    given: dict[str, Any] = {"model": "mock-small", "messages": messages, **more}
    if dialect == "openai_responses":
        given = {"model": "mock-small", "input": text, **more}
    if dialect == "anthropic":
        given.setdefault("max_tokens", 1000)
    return {**given, "stream": True} if stream else given


def ask(
    provider: Listening,
    text: str = "rain tonight",
    *,
    dialect: str = "openai_chat",
    stream: bool = False,
    fault: str | None = None,
    timeout_s: float = 5.0,
    **more: Any,
) -> Got:
    """Ask for a completion."""
    path = PATHS[dialect]
    if stream and dialect == "gemini":
        path = path.replace(":generateContent", ":streamGenerateContent?alt=sse")
    headers = {**headers_of(dialect), **({"x-mock-fault": fault} if fault else {})}
    body = body_of(dialect, text, stream=stream, **more)
    return call(provider, "POST", path, body, headers, timeout_s)
