"""The mock provider's server: one aiohttp server in a thread of its own."""

import asyncio
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self

import orjson
from aiohttp import web

from tests.mock_provider import endpoints, faults, routing
from tests.mock_provider.errors import ApiError
from tests.mock_provider.exchange import Incoming, Logged, Outgoing, keyless
from tests.mock_provider.faults import Fault
from tests.mock_provider.sending import send, send_damaged, send_instead
from tests.mock_provider.settings import Settings, changed
from tests.mock_provider.world import World

_MOST_BYTES = 1 << 30
BASE_PATHS = {
    "openai_chat": "/v1",
    "openai_responses": "/v1",
    "anthropic": "",
    "gemini": "",
}
"""Where each official SDK has its base URL."""


class MockProvider:
    """Serves all dialects on a port of its own until closed.

    Args:
        settings: How to begin; `change` replaces them in the middle of a run.
        port: 0 takes a free one.
    """

    def __init__(self, settings: Settings | None = None, *, port: int = 0, **given: Any) -> None:
        self.world = World(changed(settings or Settings(), given))
        self.port = port
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mock-provider", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._is_ready.wait(10):
            raise RuntimeError("the mock provider did not start within 10 s")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        # What failed here is not to pass as a provider's 500.
        if error is None and self.world.failures:
            raise RuntimeError(f"the mock provider failed:\n{self.world.failures[0]}")

    @property
    def url(self) -> str:
        """The server's root."""
        return f"http://127.0.0.1:{self.port}"

    def base_url(self, dialect: str) -> str:
        """What the official SDK of a dialect takes as its base URL."""
        return self.url + BASE_PATHS[dialect]

    @property
    def requests(self) -> list[Logged]:
        """Every request so far, in the order of arrival."""
        return list(self.world.log)

    @property
    def count(self) -> int:
        """How many requests there were, the mock's own endpoints left out."""
        return self.world.num_received

    def change(self, **changes: Any) -> None:
        """Change settings from now on, as `settings.changed` reads them."""
        self.world.settings = changed(self.world.settings, changes)

    def _run(self) -> None:
        self._loop = loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            stop = loop.run_until_complete(self._start())
            self._is_ready.set()
            loop.run_forever()
            loop.run_until_complete(stop())
        finally:
            loop.close()

    async def _start(self) -> Callable[[], Awaitable[None]]:
        """Listen; the function that comes back ends it."""
        runner = web.ServerRunner(server_of(self.world), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port, backlog=1024).start()
        self.port = runner.addresses[0][1]
        return runner.cleanup


def server_of(world: World) -> web.Server:
    """An aiohttp server that answers from this world."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.path.startswith("/_mock/"):
            return await _control(world, request)
        return await _Exchange(world, request).run()

    def make_request(
        message: Any, payload: Any, protocol: Any, writer: Any, task: asyncio.Task[None]
    ) -> web.BaseRequest:
        loop = asyncio.get_running_loop()
        return web.BaseRequest(
            message, payload, protocol, writer, task, loop, client_max_size=_MOST_BYTES
        )

    # A handler whose client went away is cancelled, so that hanging ones do not pile up.
    return web.Server(
        handle, request_factory=make_request, handler_cancellation=True, access_log=None
    )


class _Exchange:
    """One request on its way through: what is known of it, and its answer."""

    def __init__(self, world: World, request: web.BaseRequest) -> None:
        self.world = world
        self.request = request
        self.path = endpoints.api_path(request.path, request.headers)
        self.family = endpoints.family_of(self.path, request.headers)
        self.account = world.accounts[self.family]

    async def run(self) -> web.StreamResponse:
        """Answer, and log what came of it."""
        body = await self.request.read()
        logged = self._logged(body)
        self.account.start()
        try:
            response = await self._answer(body, logged)
            logged.status = response.status
            return response
        except ConnectionError:
            # The client went away in the middle of an answer; nobody reads this one.
            return web.Response()
        except Exception:
            self.world.failures.append(traceback.format_exc())
            raise
        finally:
            self.account.end()
            logged.answered_s = time.time()

    async def _answer(self, body: bytes, logged: Logged) -> web.StreamResponse:
        settings = self.world.settings
        fault = self.world.plan.choose(
            settings.faults,
            self.request.method,
            self.path,
            self.request.headers.get("x-mock-fault"),
            body,
        )
        logged.fault = fault.kind if fault else ""
        if fault is not None and fault.kind in faults.BEFORE_WORK:
            return await send_instead(self.request, fault, self.family, self.path)
        try:
            if fault is not None and fault.kind in faults.REFUSALS:
                raise _refusal(fault)
            outgoing = routing.serve(self.world, self._incoming(body))
        except ApiError as error:
            return await send(self.request, _refused(error, self.family, fault))
        return await self._send(outgoing, logged, fault)

    async def _send(
        self, outgoing: Outgoing, logged: Logged, fault: Fault | None
    ) -> web.StreamResponse:
        if outgoing.completion_tokens or outgoing.prompt_tokens:
            logged.is_paid = True
            logged.prompt_tokens = outgoing.prompt_tokens
            logged.completion_tokens = outgoing.completion_tokens
            self.world.count_paid(outgoing.prompt_tokens, outgoing.completion_tokens)
        outgoing.headers["request-id" if self.family == "anthropic" else "x-request-id"] = (
            f"req_{logged.number}"
        )
        pause_s = self.world.settings.latency.per_token_s
        wait_s = self.world.first_wait_s()
        if outgoing.events is None:
            wait_s += pause_s * outgoing.completion_tokens
        try:
            if wait_s:
                await asyncio.sleep(wait_s)
            if fault is not None:
                return await send_damaged(self.request, outgoing, fault, self.family)
            return await send(self.request, outgoing, pause_s)
        finally:
            self.account.refund(outgoing.unused_tokens)

    def _incoming(self, body: bytes) -> Incoming:
        return Incoming(
            method=self.request.method,
            path=self.path,
            query=self.request.query,
            headers=self.request.headers,
            body=body,
            family=self.family,
        )

    def _logged(self, body: bytes) -> Logged:
        self.world.num_received += 1
        keeps = self.world.settings.log
        logged = Logged(
            number=self.world.num_received,
            method=self.request.method,
            path=self.path,
            query={} if keeps == "none" else _keyless_query(self.request.query),
            headers={} if keeps == "none" else keyless(self.request.headers),
            body=body if keeps == "all" else b"",
            received_s=time.time(),
        )
        if keeps != "none":
            self.world.log.append(logged)
        return logged


def _keyless_query(query: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in query.items() if name != "key"} if query else {}


def _refusal(fault: Fault) -> ApiError:
    kind = faults.REFUSALS[fault.kind]
    return ApiError(kind, wait_s=fault.wait_s, form=fault.form)


def _refused(error: ApiError, family: str, fault: Fault | None) -> Outgoing:
    headers = {**error.headers, **error.wait_headers()}
    if fault is not None and fault.should_retry is not None:
        headers["x-should-retry"] = fault.should_retry
    return Outgoing(error.body(family), error.status(family), headers)


async def _control(world: World, request: web.BaseRequest) -> web.Response:
    """The mock's own endpoints: `GET /_mock/log`, `GET /_mock/counts`, `POST /_mock/set`."""
    if request.path == "/_mock/log":
        start = int(request.query.get("start", 0))
        return _json([logged.as_json() for logged in world.log[start:]])
    if request.path == "/_mock/counts":
        return _json(counts_of(world))
    if request.path == "/_mock/set":
        try:
            world.settings = changed(world.settings, orjson.loads(await request.read()))
        except (ValueError, TypeError) as error:
            return _json({"error": str(error)}, 400)
        return _json({"ok": True})
    return _json({"error": f"the mock has no {request.path}"}, 404)


def counts_of(world: World) -> dict[str, Any]:
    """Sums over all requests, kept whatever the log keeps."""
    return {
        "received": world.num_received,
        "paid": world.num_paid,
        "paid_prompt_tokens": world.paid_prompt_tokens,
        "paid_completion_tokens": world.paid_completion_tokens,
        "refused_by_limit": {name: each.num_refused for name, each in world.accounts.items()},
        "most_under_way": {name: each.most_under_way for name, each in world.accounts.items()},
    }


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")
