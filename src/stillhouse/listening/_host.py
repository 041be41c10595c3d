"""Listen, count what is under way, and stop without cutting it."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from aiohttp import web

from stillhouse.errors import ConfigError

_BACKLOG = 1024
_CLOSE_S = 1.0  # for connections, once their requests have ended

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def check_address(what: str, host: str, port: int) -> None:
    """See that one could listen at an address, before what takes long is begun.

    Args:
        what: What is to listen, as errors call it.
        host: The address.
        port: The port.

    Raises:
        ConfigError: the address is taken, or is none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in found:
            with socket.socket(family, kind, protocol) as one:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
                if family == socket.AF_INET6:
                    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                one.bind(address)
    except OSError as err:
        raise _unusable(what, host, port, err) from err


class HttpHost:
    """A server at one address; use it within one event loop.

    A handler whose caller goes away is cancelled.

    Args:
        handle: Answers one request.
        what: What listens, as errors call it, such as "The proxy".
        host: The address.
        port: The port; 0 takes a free one.
        grace_s: How long requests under way may go on once it is closed.
        server_options: Of `aiohttp.web.Server`.

    Attributes:
        is_stopping: Whether it is being closed, so that new requests are to be refused.
    """

    def __init__(
        self,
        handle: Handle,
        *,
        what: str,
        host: str,
        port: int,
        grace_s: float,
        **server_options: Any,
    ) -> None:
        self._handle = handle
        self._what = what
        self._address = (host, port)
        self._grace_s = grace_s
        self._server_options = server_options
        self._runner: web.ServerRunner | None = None
        self._under_way: set[asyncio.Task[object]] = set()
        self._is_over = asyncio.Event()
        self.is_stopping = False

    @property
    def port(self) -> int:
        """The port that it has."""
        return self._bound()[1]

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self._bound()
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def num_under_way(self) -> int:
        """Requests that have not been answered."""
        return len(self._under_way)

    async def open(self) -> None:
        """Listen.

        Raises:
            ConfigError: the address is taken, or is none.
        """
        host, port = self._address
        server = web.Server(
            self._counted, handler_cancellation=True, access_log=None, **self._server_options
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=_CLOSE_S)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port, backlog=_BACKLOG).start()
        except OSError as err:
            raise _unusable(self._what, host, port, err) from err

    def hurry(self) -> None:
        """Wait no longer for requests under way."""
        self._is_over.set()

    async def close(self) -> None:
        """Take no more requests, and let those under way end; may be called twice."""
        self.is_stopping = True
        if self._runner is None:
            return
        for site in list(self._runner.sites):
            await site.stop()
        if self._under_way:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._grace_s):
                    await self._is_over.wait()
        cut = list(self._under_way)
        for task in cut:
            task.cancel()
        await asyncio.gather(*cut, return_exceptions=True)
        await self._runner.cleanup()

    def _bound(self) -> tuple[str, int]:
        assert self._runner is not None
        host, port = self._runner.addresses[0][:2]
        return str(host), int(port)

    async def _counted(self, request: web.BaseRequest) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        try:
            return await self._handle(request)
        finally:
            self._under_way.discard(task)
            if self.is_stopping and not self._under_way:
                self._is_over.set()


def _unusable(what: str, host: str, port: int, err: OSError) -> ConfigError:
    return ConfigError(
        f"{what} cannot listen at {host}:{port} ({err.strerror or err}). Give another --port; 0 "
        "takes a free one."
    )
