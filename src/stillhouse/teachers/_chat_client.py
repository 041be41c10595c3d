"""One request to an OpenAI-compatible endpoint, with retries: the only HTTP client path.

A key goes to the host that was named and nowhere else: redirects are not followed, and neither
proxies from the environment nor `~/.netrc` are used (`trust_env=False`).
"""

import asyncio
import email.utils
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from stillhouse.errors import RateLimitedError, TeacherError, TeacherUnavailableError
from stillhouse.records import Completion, ItemError, Request
from stillhouse.teachers._answers import failed
from stillhouse.teachers._wire import (
    MalformedAnswerError,
    parse_answer,
    parse_error,
    request_body,
)

KEY_VARIABLE = "STILLHOUSE_API_KEY"
_RETRIED_STATUSES = frozenset({408, 409, 429})  # and every 5xx
_FATAL_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
_MAX_ANSWER_BYTES = 64 << 20  # 4,000 tokens with 20 logprobs each are about 7 MB


@dataclass(frozen=True)
class Retry:
    """When to ask again: exponential backoff with full jitter, or what the endpoint says.

    Attributes:
        max_tries: Times that one request is sent at most.
        base_s: Upper end of the first delay; it doubles with each try.
        cap_s: Upper end of every delay.
        longest_wait_s: An endpoint that asks to wait longer ends the stream instead.
    """

    max_tries: int = 5
    base_s: float = 0.5
    cap_s: float = 8.0
    longest_wait_s: float = 120.0


@dataclass(frozen=True)
class ChatEndpoint:
    """Where a model answers, and how to ask it.

    Attributes:
        base_url: Up to and with `/v1`, without a slash at the end.
        model: The name that the endpoint knows it by.
        api_key: Sent as a bearer token when given; never shown.
        concurrency: Requests under way at once.
        connect_timeout_s: For each connection.
        total_timeout_s: For each try, from connecting to the last byte.
        cost_usd: What one call costs, or None when unknown.
        extra: Fields that this endpoint takes beyond the protocol.
    """

    base_url: str
    model: str
    api_key: str | None = field(default=None, repr=False)
    concurrency: int = 16
    connect_timeout_s: float = 10.0
    total_timeout_s: float = 120.0
    retry: Retry = Retry()
    cost_usd: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Failure:
    """One try that gave no completion, and how long the endpoint asks to wait."""

    error: ItemError
    wait_s: float | None = None


class ChatClient:
    """Answers requests one by one; use it and close it within one event loop."""

    def __init__(self, endpoint: ChatEndpoint) -> None:
        self.endpoint = endpoint
        self._session: aiohttp.ClientSession | None = None
        self._has_connected = False
        self._paused_until_s = 0.0
        self._max_tokens_field = "max_tokens"

    async def answer(self, request: Request) -> Completion:
        """The completion of one request, or the item error after the last try.

        Raises:
            TeacherError: no further request can succeed (key refused, model missing, host
                unreachable, no log-probabilities, a long wait asked for).
        """
        retry = self.endpoint.retry
        attempt = 1
        while True:
            await self._wait_while_paused()
            outcome = await self._try_once(request, is_last=attempt == retry.max_tries)
            if isinstance(outcome, Completion):
                return outcome
            if attempt == retry.max_tries or not outcome.error.retryable:
                return failed(request, outcome.error, model=self.endpoint.model)
            await asyncio.sleep(self._delay_s(attempt, outcome.wait_s))
            attempt += 1

    async def close(self) -> None:
        """Close the connections; may be called twice."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _try_once(self, request: Request, *, is_last: bool) -> Completion | _Failure:
        field_name = self._max_tokens_field
        body = request_body(
            request,
            model=self.endpoint.model,
            max_tokens_field=field_name,
            extra=dict(self.endpoint.extra),
        )
        started_s = time.monotonic()
        try:
            status, headers, raw = await self._post(body)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as err:
            if is_last or not self._has_connected:
                raise self._unreachable(err) from err
            return _failure("unreachable", f"cannot connect ({_reason(err)})")
        except TimeoutError:
            return _failure("timeout", f"no answer within {self.endpoint.total_timeout_s:g} s")
        except (aiohttp.ClientError, ConnectionError) as err:
            return _failure("connection_lost", f"the connection broke ({_reason(err)})")
        if status == 200:
            return self._parse(raw, request, seconds=time.monotonic() - started_s)
        if status == 400 and field_name == "max_tokens" and b"max_completion_tokens" in raw:
            # Newer OpenAI models refuse the old name, most other servers know no other.
            self._max_tokens_field = "max_completion_tokens"
            return await self._try_once(request, is_last=is_last)
        return self._refused(status, headers, raw)

    async def _post(self, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        session = self._open_session()
        url = f"{self.endpoint.base_url}/chat/completions"
        async with session.post(url, data=body, allow_redirects=False) as response:
            self._has_connected = True
            parts: list[bytes] = []
            num_bytes = 0
            async for part in response.content.iter_any():
                parts.append(part)
                num_bytes += len(part)
                if num_bytes > _MAX_ANSWER_BYTES:
                    raise aiohttp.ClientPayloadError(f"an answer of over {_MAX_ANSWER_BYTES} bytes")
            return response.status, response.headers, b"".join(parts)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            endpoint = self.endpoint
            headers = {"Content-Type": "application/json"}
            if endpoint.api_key:
                headers["Authorization"] = f"Bearer {endpoint.api_key}"
            self._session = aiohttp.ClientSession(
                headers=headers,
                connector=aiohttp.TCPConnector(limit=endpoint.concurrency),
                timeout=aiohttp.ClientTimeout(
                    total=endpoint.total_timeout_s, sock_connect=endpoint.connect_timeout_s
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._session

    def _parse(self, raw: bytes, request: Request, *, seconds: float) -> Completion | _Failure:
        try:
            return parse_answer(raw, request, cost_usd=self.endpoint.cost_usd, seconds=seconds)
        except MalformedAnswerError as err:
            return _failure("malformed_answer", f"not a chat completion: {err}")

    def _refused(self, status: int, headers: Mapping[str, str], raw: bytes) -> _Failure:
        error = parse_error(raw)
        said = self._without_key(error.message)
        if 300 <= status < 400 or status in (401, 402, 403, 404) or error.code in _FATAL_CODES:
            raise self._fatal(status, said, location=headers.get("Location", ""))
        wait_s = wait_asked_s(headers)
        is_retryable = status in _RETRIED_STATUSES or status >= 500
        is_retryable = {"true": True, "false": False}.get(
            headers.get("x-should-retry", ""), is_retryable
        )
        if wait_s is not None and wait_s > self.endpoint.retry.longest_wait_s:
            raise RateLimitedError(
                f"{self.endpoint.base_url} asks to wait {wait_s:.0f} s ({status}: {said}). "
                "Run the same command again later; it goes on where it stopped."
            )
        if status == 429 or (status == 503 and wait_s is not None):
            self._pause(wait_s)
        kind = {408: "timeout", 429: "rate_limited"}.get(status)
        kind = kind or ("server_error" if status >= 500 else "bad_request")
        item = ItemError(type=kind, message=f"{status}: {said}", retryable=is_retryable)
        return _Failure(item, wait_s)

    def _fatal(self, status: int, said: str, *, location: str) -> TeacherError:
        base_url, model = self.endpoint.base_url, self.endpoint.model
        if 300 <= status < 400:
            where = location.partition("?")[0]
            message = (
                f"{base_url} redirects ({status}) to {where!r}; a key is never sent on. "
                "Give that address."
            )
        elif status == 404:
            message = (
                f"{base_url} has no model {model!r} (404: {said}). Check the name after '#', and "
                "that the URL ends where '/chat/completions' follows, usually in /v1."
            )
        elif status == 401 and not self.endpoint.api_key:
            message = f"{base_url} asks for a key (401: {said}). Set {KEY_VARIABLE}."
        elif status in (401, 403):
            message = (
                f"{base_url} refuses the key in {KEY_VARIABLE} ({status}: {said}). "
                "Check the key and what it may use."
            )
        else:
            message = (
                f"{base_url} will not go on for payment reasons ({status}: {said}). Check the "
                f"balance and limits of the account of {KEY_VARIABLE}."
            )
        return TeacherUnavailableError(message)

    def _unreachable(self, err: aiohttp.ClientError) -> TeacherUnavailableError:
        host_and_port = self.endpoint.base_url.split("/")[2]
        return TeacherUnavailableError(
            f"Nothing answers at {host_and_port} ({_reason(err)}). Check that the server runs and "
            "that host and port are right."
        )

    def _without_key(self, text: str) -> str:
        key = self.endpoint.api_key
        return text.replace(key, "***") if key else text

    def _delay_s(self, attempt: int, wait_s: float | None) -> float:
        retry = self.endpoint.retry
        if wait_s is not None:
            return wait_s + random.uniform(0.0, min(retry.base_s, 0.1 * wait_s))
        return random.uniform(0.0, min(retry.cap_s, retry.base_s * 2.0 ** (attempt - 1)))

    def _pause(self, wait_s: float | None) -> None:
        """Hold back every request, not only the one that was told to slow down."""
        retry = self.endpoint.retry
        pause_s = retry.base_s if wait_s is None else wait_s
        self._paused_until_s = max(self._paused_until_s, time.monotonic() + pause_s)

    async def _wait_while_paused(self) -> None:
        while (left_s := self._paused_until_s - time.monotonic()) > 0:
            await asyncio.sleep(left_s)


def wait_asked_s(headers: Mapping[str, str]) -> float | None:
    """How long the endpoint asks to wait: `retry-after-ms`, seconds or an HTTP date."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return max(milliseconds / 1000.0, 0.0)
    text = headers.get("Retry-After")
    seconds = _number(text)
    if seconds is not None:
        return max(seconds, 0.0)
    if text is None:
        return None
    try:
        when = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(when.timestamp() - time.time(), 0.0)


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else None
    except ValueError:
        return None
    return number if number is None or number < float("inf") else None


def _failure(kind: str, message: str) -> _Failure:
    return _Failure(ItemError(type=kind, message=message, retryable=True))


def _reason(err: BaseException) -> str:
    if isinstance(err, aiohttp.ClientConnectorError) and err.strerror:
        return err.strerror
    return " ".join(str(err).split()) or type(err).__name__
