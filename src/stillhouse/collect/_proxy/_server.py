"""The proxy's server: passes requests on, and hands what is to be kept to the recorder."""

import asyncio
import logging
import os
import random
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import aiohttp
import orjson
from aiohttp import web
from multidict import CIMultiDict

from stillhouse.collect._proxy._call import Call, CostOf
from stillhouse.collect._proxy._config import ProxyConfig, ProxyCounts
from stillhouse.collect._proxy._recorder import Recorder
from stillhouse.collect._proxy._relay import (
    LONGEST_LINE,
    Body,
    CallerLeftError,
    UnreachableError,
    body_to_send,
    open_session,
    read_body,
    relay,
    send,
)
from stillhouse.collect._proxy._upstream import RefusedError, Route, Upstream
from stillhouse.errors import ConfigError
from stillhouse.listening import HttpHost
from stillhouse.provenance import passing_terms, terms_given
from stillhouse.records import Usage
from stillhouse.runlog import OpenCall
from stillhouse.teachers import read_prices
from stillhouse.teachers._costs import cost_usd
from stillhouse.teachers._prices import price_of

logger = logging.getLogger(__name__)


class Proxy:
    """A pass-through server that is listening; use it within one event loop.

    Attributes:
        counts: What it did so far.
        upstream: Where it passes requests on to.
        orphans: Calls of an earlier process without an outcome: unknown, maybe paid.

    Args:
        config: How.
        environ: Where keys and addresses come from.
    """

    def __init__(self, config: ProxyConfig, environ: Mapping[str, str] | None = None) -> None:
        self._config = config
        self.counts = ProxyCounts()
        self.orphans: list[OpenCall] = []
        self.upstream = Upstream(
            config.to,
            os.environ if environ is None else environ,
            allows_remote=config.allows_remote,
        )
        passing_terms(config.to, terms_given(config.terms))
        self._recorder = Recorder(config.ledger, self.counts, _cost_of(config, self.upstream))
        self._session: aiohttp.ClientSession | None = None
        self._host = HttpHost(
            self._handle,
            what="The proxy",
            host=config.host,
            port=config.port,
            grace_s=config.grace_s,
            auto_decompress=False,
            max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_LINE,
        )
        self._random = random.Random()

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._host.url

    async def __aenter__(self) -> Self:
        """Open the ledger and listen.

        Raises:
            StillhouseError: the ledger cannot be used, or the address is taken.
        """
        loop = asyncio.get_running_loop()
        self.orphans = await loop.run_in_executor(None, self._recorder.open)
        self._session = open_session()
        try:
            await self._host.open()
            self._refuse_own_address()
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
        """Take no more requests, let those under way end, and write what is left.

        May be called twice.
        """
        await self._host.close()
        if self._session is not None:
            await self._session.close()
        await asyncio.get_running_loop().run_in_executor(None, self._recorder.close)

    def _refuse_own_address(self) -> None:
        if self.upstream.is_at(self._config.host, self._host.port):
            raise ConfigError(
                f"{self.upstream.provider.base_url_variable} is this proxy's own address "
                f"({self.url}). Set it for your application only, not for the proxy."
            )

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.counts.num_calls += 1
        try:
            return await self._take(request)
        except RefusedError as err:
            self.counts.num_refused += 1
            return _error(err.status, str(err))
        except UnreachableError as err:
            logger.warning("%s", err)
            return _error(502, str(err))
        except CallerLeftError:
            return web.Response()  # nobody reads it

    async def _take(self, request: web.BaseRequest) -> web.StreamResponse:
        route = self.upstream.route(request.raw_path)
        headers = self.upstream.headers(request.headers, request.query)
        self._check(request, route)
        await _go_on(request)
        call, begun, is_whole = None, b"", False
        if self._is_recorded(request, route):
            begun, is_whole = await read_body(request)
            call = self._begin(request, route, headers, begun) if is_whole else None
            self.counts.num_unrecorded += not is_whole
        else:
            self.counts.num_passed += 1
        if "content-length" in request.headers:
            headers["Content-Length"] = request.headers["content-length"]
        body = body_to_send(request, begun, is_whole=is_whole)
        if call is None:
            return await self._pass(request, route, headers, body, call)
        try:
            return await self._pass(request, route, headers, body, call)
        except UnreachableError as err:
            call.end("connection", str(err))
            raise
        except (CallerLeftError, asyncio.CancelledError):
            call.end("proxy_stopped" if self._host.is_stopping else "client_left")
            raise
        finally:
            self._recorder.end(call)

    async def _pass(
        self,
        request: web.BaseRequest,
        route: Route,
        headers: CIMultiDict[str],
        body: Body,
        call: Call | None,
    ) -> web.StreamResponse:
        assert self._session is not None
        response = await send(self._session, request, route.url, headers, body)
        try:
            return await relay(request, response, call)
        finally:
            # To close is to leave an answer that nobody wants; after its end it frees the line.
            response.release() if response.content.is_eof() else response.close()

    def _check(self, request: web.BaseRequest, route: Route) -> None:
        if self._host.is_stopping:
            raise RefusedError(503, "the proxy is being stopped")
        if "upgrade" in request.headers:
            raise RefusedError(501, "the proxy passes on HTTP only, no upgrade to another protocol")
        if self._config.is_strict and route.dialect is not None and self._recorder.failure:
            raise RefusedError(
                503, f"the proxy refuses calls that it cannot record: {self._recorder.failure}"
            )

    def _is_recorded(self, request: web.BaseRequest, route: Route) -> bool:
        return (
            route.dialect is not None
            and request.method == "POST"
            and self._random.random() < self._config.record_fraction
        )

    def _begin(
        self, request: web.BaseRequest, route: Route, headers: CIMultiDict[str], body: bytes
    ) -> Call | None:
        """A call that the recorder has taken; None where it takes no more."""
        assert route.dialect is not None
        call = Call(
            provider=self.upstream.provider.name,
            dialect=route.dialect,
            model=route.model,
            raw_request=body,
            request_encoding=request.headers.get("content-encoding", ""),
            secrets=self.upstream.secrets(headers, request.query),
        )
        return call if self._recorder.begin(call) else None


async def _go_on(request: web.BaseRequest) -> None:
    """Answer a caller that waits to be told to send its body."""
    if request.headers.get("expect", "").lower() == "100-continue" and request.transport:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def _error(status: int, message: str) -> web.Response:
    """An error of the proxy's own, in the form that every provider's SDK shows."""
    error = {"type": "proxy_error", "message": f"stillhouse proxy: {message}"}
    return web.Response(
        status=status, body=orjson.dumps({"error": error}), content_type="application/json"
    )


def _cost_of(config: ProxyConfig, upstream: Upstream) -> CostOf:
    overrides = read_prices(config.prices) if config.prices is not None else {}
    provider = upstream.provider

    def cost_of(model: str, usage: Usage) -> float | None:
        if provider.key_variable is None:
            return 0.0  # a server of the user's own
        found = price_of(provider.name, model, overrides)
        return None if found is None else cost_usd(found, usage)

    return cost_of
