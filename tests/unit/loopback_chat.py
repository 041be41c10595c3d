"""A chat endpoint on a loopback port, for the tests that need a real one."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from aiohttp import web

Respond = Callable[[int, dict[str, Any]], Awaitable[web.StreamResponse]]


def chat_json(text: str = "hello", **changes: Any) -> dict[str, Any]:
    """The JSON of one good answer."""
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": text},
        **changes.pop("choice", {}),
    }
    return {
        "model": "m-2026-01-02",
        "choices": [choice],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3},
        **changes,
    }


async def echo(number: int, body: dict[str, Any]) -> web.StreamResponse:
    """Answer with the last message in capitals."""
    return web.json_response(chat_json(body["messages"][-1]["content"].upper()))


def replies(*responses: Callable[[], web.StreamResponse]) -> Respond:
    """Answer the n-th request with the n-th response, and every later one with the last."""

    async def respond(number: int, body: dict[str, Any]) -> web.StreamResponse:
        return responses[min(number, len(responses)) - 1]()

    return respond


class LoopbackChat:
    """Serves `respond(number of the request from 1, its body)` until closed.

    Attributes:
        bodies: The JSON bodies received so far.
        headers: Their headers.
        url: The base URL, with `/v1`.
    """

    def __init__(self, respond: Respond = echo, *, path: str = "/v1/chat/completions") -> None:
        self._path = path
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.most_under_way = 0
        self.url = ""
        self._under_way = 0
        self._respond = respond
        self._loop = asyncio.new_event_loop()
        self._is_ready = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._is_ready.wait(10)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _serve(self) -> None:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{tail:.*}", self._handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        self._loop.run_until_complete(self._start(runner))
        self._is_ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    async def _start(self, runner: web.AppRunner) -> None:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}/v1"

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        self._under_way += 1
        self.most_under_way = max(self.most_under_way, self._under_way)
        try:
            if request.path != self._path:
                return web.json_response({"error": {"message": "no such path"}}, status=404)
            return await self._respond(len(self.bodies), body)
        finally:
            self._under_way -= 1
