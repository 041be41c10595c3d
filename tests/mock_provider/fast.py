"""Plain chat completions at a tenth of aiohttp's cost, for the other side of a benchmark.

Serves `POST .../chat/completions` without streams, tools or faults, from bodies written once per
length, over a protocol of its own; with latencies, and with the headers of generous limits. The
answer's text says the number of the request, so that no two are the same.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable

import orjson

from tests.mock_provider.answers import Ask, Reply, replies_to
from tests.mock_provider.dialects import openai_chat
from tests.mock_provider.lifelike import lifelike_content
from tests.mock_provider.server import MockProvider, counts_of
from tests.mock_provider.settings import changed
from tests.mock_provider.world import World

_NUMBER = b"@@@@@@@@@@"
_NUM_LIFELIKE = 64  # 30 MB of top-20 log-probabilities: farther apart than any compressor looks
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_SENT = re.compile(rb'"(?:max_tokens|max_completion_tokens)":(\d+)')
_TOP = re.compile(rb'"top_logprobs":(\d+)')
_NO_MESSAGES = re.compile(rb'"messages": *\[\]')
_EMPTY = b'{"error":{"message":"messages must not be empty","type":"invalid_request_error"}}'


class FastProvider(MockProvider):
    """`MockProvider` that knows only plain chat."""

    async def _start(self) -> Callable[[], Awaitable[None]]:
        templates = Templates(self.world)
        server = await asyncio.get_running_loop().create_server(
            lambda: _Connection(self.world, templates), "127.0.0.1", self.port, backlog=1024
        )
        self.port = server.sockets[0].getsockname()[1]

        async def stop() -> None:
            server.close()

        return stop


class Templates:
    """Answers by their length and their log-probabilities, all but the number written."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._written: dict[tuple[int, int | None, int], tuple[bytes, bytes, int, int]] = {}

    def answer(self, request: bytes, number: int) -> tuple[bytes, int, int]:
        """The whole HTTP answer, its prompt tokens and its completion tokens."""
        top = _TOP.search(request)
        num_tokens = self._num_tokens(request)
        is_lifelike = top is not None and self._world.settings.has_lifelike_logprobs
        variant = 1 + number % _NUM_LIFELIKE if is_lifelike else 0
        key = num_tokens, int(top[1]) if top else None, variant
        if key not in self._written:
            self._written[key] = self._write(*key)
        before, after, prompt, completion = self._written[key]
        return before + b"%010d" % number + after, prompt, completion

    def _num_tokens(self, request: bytes) -> int:
        least, most = self._world.settings.num_tokens or (20, 20)
        wanted = least + len(request) % (most - least + 1)
        limit = _SENT.search(request)
        return min(wanted, int(limit[1])) if limit else wanted

    def _write(
        self, num_tokens: int, top: int | None, variant: int
    ) -> tuple[bytes, bytes, int, int]:
        text = f"[[tokens={num_tokens}]]"
        ask = Ask(model="mock-small", text=text, prompt_bytes=100, top_logprobs=top)
        replies: list[Reply] = replies_to(ask)
        whole = openai_chat.answer(ask, replies)
        message = whole["choices"][0]["message"]
        if top is not None and variant:
            message["content"], content = lifelike_content(num_tokens, top, variant)
            whole["choices"][0]["logprobs"] = {"content": content, "refusal": None}
        message["content"] = _NUMBER.decode() + message["content"]
        body = orjson.dumps(whole)
        head = (
            f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            "x-ratelimit-limit-requests: 1000000\r\nx-ratelimit-remaining-requests: 999999\r\n"
            "x-ratelimit-reset-requests: 1ms\r\nx-request-id: req_fast\r\n\r\n"
        ).encode()
        before, after = (head + body).split(_NUMBER)
        counts = replies[0].counts
        return before, after, counts.prompt, counts.completion


class _Connection(asyncio.Protocol):
    """One client's connection; requests on it come one after another."""

    def __init__(self, world: World, templates: Templates) -> None:
        self._world = world
        self._templates = templates
        self._waiting = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._waiting = self._waiting + data if self._waiting else data
        while (end := self._waiting.find(b"\r\n\r\n")) >= 0:
            found = _LENGTH.search(self._waiting, 0, end)
            length = int(found[1]) if found else 0
            if len(self._waiting) < end + 4 + length:
                return
            request = self._waiting[: end + 4 + length]
            self._waiting = self._waiting[end + 4 + length :]
            self._serve(request, request[end + 4 :])

    def _serve(self, request: bytes, body: bytes) -> None:
        line = request[: request.index(b"\r\n")]
        if line.startswith(b"POST") and b"/chat/completions" in line:
            self._world.num_received += 1
            if _NO_MESSAGES.search(body):  # how some clients ask for an account's headers
                self._write(_http(_EMPTY, b"400 Bad Request"))
                return
            answer, prompt, completion = self._templates.answer(body, self._world.num_received)
            self._world.count_paid(prompt, completion)
            wait_s = self._world.first_wait_s()
            if wait_s:
                asyncio.get_running_loop().call_later(wait_s, self._write, answer)
                return
            self._write(answer)
        elif b" /_mock/counts" in line:
            self._write(_http(orjson.dumps(counts_of(self._world))))
        elif b" /_mock/set" in line:
            self._world.settings = changed(self._world.settings, orjson.loads(body))
            self._write(_http(b'{"ok":true}'))
        else:
            self._write(_http(b'{"error":{"message":"--fast serves chat only"}}', b"404 Not Found"))

    def _write(self, answer: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(answer)


def _http(body: bytes, status: bytes = b"200 OK") -> bytes:
    head = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % (status, len(body)) + body
