"""The server: reads requests, keeps to its limits, and answers in the protocol of each path."""

import asyncio
import hashlib
import hmac
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote, urlsplit

import orjson
from aiohttp import web

from stillhouse.listening import HttpHost
from stillhouse.serve import _chat, _completions, _messages, _responses
from stillhouse.serve._ask import Answering, Ask, Engine, RefusedError
from stillhouse.serve._config import LOOPBACK, ServeConfig
from stillhouse.serve._counting import counted
from stillhouse.serve._decisions import decided
from stillhouse.serve._detection import detected
from stillhouse.serve._embeddings import embedded
from stillhouse.serve._fields import flag, model_name, read_object
from stillhouse.serve._figures import figures_of, figures_page, reports_of
from stillhouse.serve._files import FromFiles
from stillhouse.serve._headers import response_headers, version_of, watermark_of
from stillhouse.serve._metrics import Metrics
from stillhouse.serve._observer import LEFT, Observer
from stillhouse.serve._openai_common import error_body
from stillhouse.serve._openapi import openapi
from stillhouse.serve._responder import Responder
from stillhouse.serve._seen import Seen
from stillhouse.serve._sse import event
from stillhouse.serve._switching import in_service
from stillhouse.servicelog import LogWriter

if TYPE_CHECKING:
    from stillhouse.serve._spans import Tracing

logger = logging.getLogger(__name__)

_MODELS = "/v1/models"
_DOCUMENT = "/openapi.json"
_WATCHED = ("/health", "/metrics")
_LAST_EVENT_S = 1.0  # for a caller that reads slowly; longer ones are cut
_REPORTS = "/v1/stillhouse/"
_EVENT_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}


@dataclass(frozen=True)
class _Wire:
    """How one protocol reads requests and tells answers."""

    read: Callable[[dict[str, Any]], Ask]
    answer: Callable[[Answering, Ask, str], Awaitable[dict[str, Any]]]
    stream: Callable[[Answering, Ask, str, dict[str, Any]], AsyncIterator[bytes]]
    error: Callable[[RefusedError], dict[str, Any]] = error_body
    names_errors: bool = False
    """Whether an error in a stream is an event of that name."""


_WIRES = {
    "/v1/chat/completions": _Wire(_chat.read_ask, _chat.answer, _chat.stream),
    "/v1/completions": _Wire(_completions.read_ask, _completions.answer, _completions.stream),
    "/v1/responses": _Wire(_responses.read_ask, _responses.answer, _responses.stream),
    "/v1/messages": _Wire(
        _messages.read_ask, _messages.answer, _messages.stream, _messages.error_body, True
    ),
}


@dataclass(frozen=True)
class _Whole:
    """How a path without streams is answered."""

    answer: Callable[[dict[str, Any], Engine, Seen], Awaitable[dict[str, Any]]]
    error: Callable[[RefusedError], dict[str, Any]] = error_body
    is_question: bool = False
    """Whether it asks the student for an answer, as a log has them."""


_WHOLES = {
    "/v1/decisions": _Whole(decided, is_question=True),
    "/v1/embeddings": _Whole(embedded),
    "/v1/watermark/detect": _Whole(detected),
    "/v1/messages/count_tokens": _Whole(counted, _messages.error_body),
}


class Server:
    """A student that listens; use it within one event loop.

    Args:
        engine: What answers; closed with the server.
        config: How.
        tracing: Makes spans of requests; None for what the config says. Closed with the server.
    """

    def __init__(
        self, engine: Engine, config: ServeConfig, *, tracing: "Tracing | None" = None
    ) -> None:
        self.engine = engine
        self.metrics = Metrics()
        self._observer = Observer(engine, tracing=tracing)
        self._config = config
        self._keys = [_digest(key) for key in config.keys]
        self._responder: Responder | None = None
        self._host = HttpHost(
            self._handle,
            what="The server",
            host=config.host,
            port=config.port,
            grace_s=config.grace_s,
            keepalive_timeout=config.idle_s,
        )

    @property
    def log(self) -> LogWriter | None:
        """Where requests are logged."""
        return self._observer.log

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._host.url

    @property
    def num_under_way(self) -> int:
        """Requests that are not answered yet."""
        return self._host.num_under_way

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            ConfigError: the address is taken, or is none, or nothing can be logged where it should,
                or who is answered how cannot be read.
            DataError: that file is damaged.
            MissingDependencyError: spans are wanted, and their packages are not installed.
        """
        try:
            self._open_responder()
            on_flag = None if self._responder is None else self._responder.flag
            self._observer.open(self._config, on_flag)
            await self._host.open()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def hurry(self) -> None:
        """Wait no longer for requests under way."""
        self._host.hurry()

    async def close(self) -> None:
        """Take no more requests, let those under way end, and let the student go.

        May be called twice.
        """
        await self._host.close()
        if self._responder is not None:
            await self._responder.close()
        await self.engine.close()
        await self._observer.close()  # what the engine still had to say is in it by now

    def _open_responder(self) -> None:
        config = self._config.responses
        if config is None or self._responder is not None:
            return
        callers = [digest.hex() for digest in self._keys]
        can_mark = watermark_of(self.engine) is not None
        self._responder = Responder(config, callers, can_mark=can_mark)
        self._responder.begin()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        seen = self._observer.begin(request.path, request.headers)
        started_s, path = seen.started_s, seen.path
        # Paths that callers make up are no names of metrics.
        known = path if path in _WIRES or path in _WHOLES or path == _MODELS else "other"
        try:
            response = await self._responded(request, path, seen)
            if not response.prepared:  # a stream has told them before its first event
                response.headers.update(response_headers(seen, self.engine))
            await self._deliver(request, response)
        except asyncio.CancelledError:
            self.metrics.count(known, "left", monotonic() - started_s)
            self._observer.end(seen, LEFT)
            raise
        except ConnectionError:
            self.metrics.count(known, "left", monotonic() - started_s)
            self._observer.end(seen, LEFT)
            # Nobody reads it; an exception would be logged as if the server had failed.
            return web.Response(status=LEFT)
        self.metrics.count(known, str(response.status), monotonic() - started_s)
        self._observer.end(seen, response.status)
        return response

    async def _responded(
        self, request: web.BaseRequest, path: str, seen: Seen
    ) -> web.StreamResponse:
        try:
            return await self._take(request, path, seen)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as err:
            seen.refused = self._refused(err, path)
            response = _refusal(seen.refused, path)
            if "expect" in request.headers:
                response.force_close()  # the body may follow, and is no request
            return response

    async def _deliver(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Send what is not sent yet, and cut the connection of who does not read it in time."""
        try:
            async with asyncio.timeout(self._config.deadline_s):
                await response.prepare(request)
                await response.write_eof()
        except TimeoutError as err:
            raise _cut(request) from err

    def _refused(self, err: Exception, path: str) -> RefusedError:
        """What an error is to the caller; what is not meant for callers is logged."""
        if isinstance(err, RefusedError):
            return err
        if isinstance(err, TimeoutError):
            message = f"no answer within {self._config.deadline_s:g} s. Ask for fewer tokens."
            return RefusedError(504, message)
        logger.error("a request to %s failed", path, exc_info=err)
        return RefusedError(500, "an error of the server; it is logged.")

    async def _take(self, request: web.BaseRequest, path: str, seen: Seen) -> web.StreamResponse:
        methods = _methods(path)
        if path != "/health":  # who only asks whether it lives has no key
            seen.caller = self._check_key(request)
            seen.is_allowed = True
        if not methods:
            raise RefusedError(404, f"There is no {path[:100]} here.")
        if request.method == "OPTIONS":
            return web.Response(status=204, headers={"Allow": ", ".join(methods)})
        if request.method not in methods:
            told = f"{path[:100]} takes {methods[0]}, and this is {request.method[:20]}."
            raise RefusedError(405, told, allowed=methods)
        if path in _WATCHED:
            return self._told(path)
        if path == _DOCUMENT:
            return _json(200, self._document())
        if path.startswith(_REPORTS):
            return await self._report(path.removeprefix(_REPORTS))
        if request.method != "POST":
            return _json(200, self._models(request.raw_path))
        seen.is_question = path in _WIRES or _WHOLES[path].is_question
        if self._host.is_stopping:
            raise RefusedError(503, "the server is being stopped. Try another.", retry_after_s=5)
        if self._host.num_under_way > self._config.max_waiting:
            raise RefusedError(
                429, f"{self._config.max_waiting} requests are under way.", retry_after_s=1
            )
        if self._responder is not None:
            self._responder.admit(seen)
        fields = read_object(await self._body(request))
        seen.model = model_name(fields, self.engine.name)
        deadline_s = asyncio.get_running_loop().time() + self._config.deadline_s
        if path in _WHOLES:
            async with asyncio.timeout_at(deadline_s):
                return _json(200, await self._whole(_WHOLES[path], fields, seen))
        return await self._answer(request, _WIRES[path], fields, seen, deadline_s)

    async def _whole(self, whole: _Whole, fields: dict[str, Any], seen: Seen) -> dict[str, Any]:
        with in_service(self.engine) as engine:
            document = await whole.answer(fields, engine, seen)
            if seen.answering is not None:
                seen.answering.headers.setdefault("x-stillhouse-version", version_of(engine))
        return document

    async def _answer(
        self,
        request: web.BaseRequest,
        wire: _Wire,
        fields: dict[str, Any],
        seen: Seen,
        deadline_s: float,
    ) -> web.StreamResponse:
        seen.is_streamed = flag(fields, "stream")
        name, ask = seen.model, wire.read(fields)
        seen.ask = ask
        if self._config.hides_logprobs and ask.top_logprobs is not None:
            raise RefusedError(
                400,
                "Log-probabilities are not shown here. Leave 'logprobs' out.",
                param="logprobs",
                code="logprobs_not_shown",
            )
        if self._responder is not None:
            self._responder.charge(seen, ask.num_choices - 1)
        async with asyncio.timeout_at(deadline_s):
            answering = await self.engine.open(ask)
        self._observer.follow(seen, answering)
        try:
            if seen.is_streamed:
                events = wire.stream(answering, ask, name, fields)
                return await self._send(request, wire, events, seen, deadline_s)
            async with asyncio.timeout_at(deadline_s):
                document = await wire.answer(answering, ask, name)
            return _json(200, document)
        finally:
            answering.stop()

    async def _send(
        self,
        request: web.BaseRequest,
        wire: _Wire,
        events: AsyncIterator[bytes],
        seen: Seen,
        deadline_s: float,
    ) -> web.StreamResponse:
        """Send events as they come.

        An error before the first one is an ordinary refusal. After it there is no other status to
        give: the error is an event, and nothing that would end the answer follows.
        """
        async with asyncio.timeout_at(deadline_s):
            first = await anext(events)
        headers = {**_EVENT_HEADERS, **response_headers(seen, self.engine)}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        try:
            async with asyncio.timeout_at(deadline_s):
                await response.write(first)
                async for piece in events:
                    await response.write(piece)
                await response.write_eof()
        except ConnectionError:
            raise
        except Exception as err:
            seen.refused = self._refused(err, request.path)
            last = event(wire.error(seen.refused), "error" if wire.names_errors else None)
            try:
                async with asyncio.timeout(_LAST_EVENT_S):
                    await response.write(last)
                    await response.write_eof()
            except TimeoutError as late:
                raise _cut(request) from late
        return response

    async def _body(self, request: web.BaseRequest) -> bytes:
        limit = self._config.max_body_bytes
        if (request.content_length or 0) > limit:
            raise _too_large(limit)
        body = bytearray()
        try:
            async with asyncio.timeout(self._config.read_s):
                await _go_on(request)
                async for chunk in request.content.iter_any():
                    body += chunk
                    if len(body) > limit:
                        raise _too_large(limit)
        except TimeoutError as err:
            message = f"The request did not arrive within {self._config.read_s:g} s. Send it again."
            raise RefusedError(408, message) from err
        except web.RequestPayloadError as err:
            raise RefusedError(400, f"The body cannot be read ({err}).") from err
        return bytes(body)

    def _check_key(self, request: web.BaseRequest) -> str:
        """Who asks: a digest of their key."""
        if not self._keys:
            _check_origin(request)
            return ""
        given = request.headers.get("x-api-key", "")
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            given = value.strip()
        digest = _digest(given)
        # All are compared, so that the time says nothing about which one is near.
        is_known = [hmac.compare_digest(digest, key) for key in self._keys]
        if not any(is_known):
            raise RefusedError(
                401,
                "The API key is wrong or missing. Send it as 'Authorization: Bearer KEY'.",
                code="invalid_api_key",
            )
        return digest.hex()

    def _models(self, raw_path: str) -> dict[str, Any]:
        model = {
            "id": self.engine.name,
            "object": "model",
            "created": 0,
            "owned_by": "stillhouse",
            "stillhouse": {
                "version": version_of(self.engine),
                "watermark": watermark_of(self.engine),
            },
        }
        name = unquote(raw_path.partition("?")[0].removeprefix(_MODELS)).strip("/")
        if not name:
            return {"object": "list", "data": [model]}
        if name != self.engine.name:
            raise RefusedError(
                404,
                f"There is no model {name[:100]!r}; this is {self.engine.name}.",
                code="model_not_found",
            )
        return model

    async def _report(self, name: str) -> web.Response:
        reports = reports_of(self.engine)
        if name not in reports:
            told = ", ".join(f"{_REPORTS}{one}" for one in sorted(reports)) or "none"
            raise RefusedError(404, f"There is no such report here; there is {told}.")
        # Intervals of thousands of graded answers take their time.
        return _json(200, await asyncio.to_thread(reports[name]))

    def _document(self) -> dict[str, Any]:
        has_responses = self._responder is not None
        return openapi(self.engine, has_keys=bool(self._keys), has_responses=has_responses)

    def _health(self) -> web.Response:
        is_stopping = self._host.is_stopping
        told: dict[str, Any] = {"status": "stopping" if is_stopping else "ok"}
        engine = self.engine
        if isinstance(engine, FromFiles) and engine.files is not None:
            told["files"] = "changed" if engine.files.are_changed else "as loaded"
        told |= self._observer.health()
        if self._responder is not None:
            told |= self._responder.health()
        return _json(503 if is_stopping else 200, told)

    def _told(self, path: str) -> web.Response:
        if path == "/health":
            return self._health()
        text = self.metrics.page(self.engine.num_running) + self._observer.metrics()
        if self._responder is not None:
            text += self._responder.metrics()
        text += figures_page(figures_of(self.engine))
        return web.Response(body=text.encode(), content_type="text/plain", charset="utf-8")


def _methods(path: str) -> tuple[str, ...]:
    """What a path takes; nothing where there is no such path."""
    if path in _WIRES or path in _WHOLES:
        return ("POST", "OPTIONS")
    if path in (*_WATCHED, _DOCUMENT, _MODELS) or path.startswith((f"{_MODELS}/", _REPORTS)):
        return ("GET", "HEAD", "OPTIONS")
    return ()


async def _go_on(request: web.BaseRequest) -> None:
    """Tell who waits with the body to send it: what could be refused without it has been."""
    expected = request.headers.get("expect")
    if expected is None or request.version < (1, 1):
        return
    if expected.lower() != "100-continue":
        raise RefusedError(417, f"Nothing is known of Expect: {expected[:40]!r}. Leave it out.")
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # of the answer, which has not begun


def _cut(request: web.BaseRequest) -> ConnectionError:
    """End the connection of a caller that does not read, with what is still in its buffers."""
    if request.transport is not None:
        request.transport.abort()
    return ConnectionResetError("the caller does not read its answer")


def _check_origin(request: web.BaseRequest) -> None:
    """Refuse pages of other sites, which a browser on this machine could be made to ask for."""
    origin = request.headers.get("origin")
    asked = [f"//{request.headers.get('host', '')}"] + ([origin] if origin else [])
    try:
        names = [urlsplit(address).hostname for address in asked]
    except ValueError:
        names = [None]
    if not all(name in LOOPBACK for name in names):
        raise RefusedError(
            403,
            "Without keys only programs of this machine may ask. Set STILLHOUSE_SERVE_KEYS, and "
            "send one of them.",
        )


def _refusal(err: RefusedError, path: str) -> web.Response:
    protocol = _WIRES.get(path) or _WHOLES.get(path)
    told = error_body(err) if protocol is None else protocol.error(err)
    headers = {}
    if err.allowed:
        headers["Allow"] = ", ".join(err.allowed)
    if err.retry_after_s is not None:
        headers["Retry-After"] = str(err.retry_after_s)
    if err.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    response = _json(err.status, told, headers)
    if err.status in (408, 413):
        response.force_close()  # what is left of the body is not read
    return response


def _json(
    status: int, document: dict[str, Any], headers: dict[str, str] | None = None
) -> web.Response:
    return web.Response(
        status=status,
        body=orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY),
        headers=headers,
        content_type="application/json",
    )


def _too_large(limit: int) -> RefusedError:
    return RefusedError(413, f"The body is larger than {limit:,} bytes. Send less.")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
