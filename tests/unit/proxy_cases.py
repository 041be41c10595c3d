"""A proxy in a thread, a provider that says exactly what it is told to, and what was recorded."""

import http.client
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from loop_thread import LoopThread
from tests.mock_provider import MockProvider

from stillhouse.collect import ProxyConfig, ProxyCounts
from stillhouse.collect._proxy._server import Proxy
from stillhouse.runlog import Ledger, Recorded

PROVIDER_OF = {
    "openai_chat": "openai",
    "openai_responses": "openai",
    "anthropic": "anthropic",
    "gemini": "google",
}
VARIABLES = {
    "openai": ("OPENAI_BASE_URL", "OPENAI_API_KEY"),
    "anthropic": ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY"),
    "google": ("GOOGLE_GEMINI_BASE_URL", "GEMINI_API_KEY"),
    "vllm": ("VLLM_BASE_URL", ""),
}
OUR_KEY = "sk-the-key-of-the-proxy-0123456789"
CALLERS_KEY = "sk-the-key-of-the-caller-9876543210"


class RunningProxy:
    """A proxy on a free port with a loop of its own; its counts stay when it has been closed."""

    def __init__(
        self, url: str, ledger: Path, *, to: str = "openai", key: str = OUR_KEY, **given: Any
    ) -> None:
        base_variable, key_variable = VARIABLES[to]
        environ = {base_variable: url, key_variable: key}
        self.ledger = ledger
        self.port = 0
        self._loop = LoopThread("proxy")
        self._make = lambda: Proxy(
            ProxyConfig(to=to, ledger=ledger, port=0, **{"grace_s": 5.0, **given}), environ
        )
        self.proxy: Proxy | None = None

    def __enter__(self) -> Self:
        self._loop.open()
        self.proxy = self._loop.run(self._open())
        self.port = int(self.proxy.url.rpartition(":")[2])
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it, once everything is recorded; may be called twice."""
        if self._loop.is_open:
            assert self.proxy is not None
            self._loop.run(self.proxy.close())
            self._loop.close()

    @property
    def counts(self) -> ProxyCounts:
        assert self.proxy is not None
        return self.proxy.counts

    def recorded(self) -> list[Recorded]:
        """Every answer in the ledger, once the proxy has ended."""
        self.close()
        with Ledger(self.ledger) as ledger:
            return list(ledger.recorded(up_to=ledger.extent()[0]))

    def hurry(self) -> None:
        assert self.proxy is not None
        self._loop.tell(self.proxy.hurry)

    async def _open(self) -> Proxy:
        proxy = self._make()
        await proxy.__aenter__()
        return proxy


def proxy_for(mock: MockProvider, dialect: str, ledger: Path, **given: Any) -> RunningProxy:
    """A proxy to the mock provider under the name of one that speaks `dialect`."""
    return RunningProxy(mock.base_url(dialect), ledger, to=PROVIDER_OF[dialect], **given)


class ScriptedServer:
    """Answers every request with the same bytes and ends the connection.

    Attributes:
        requests: The bytes of every request, as they came.
    """

    def __init__(self, answer: bytes | Callable[[socket.socket], None]) -> None:
        self.requests: list[bytes] = []
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                outer.requests.append(_read_request(self.request))
                if callable(answer):
                    answer(self.request)
                else:
                    self.request.sendall(answer)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def head(self) -> tuple[str, list[tuple[str, str]]]:
        """First line and headers of the last request."""
        first, *lines = self.requests[-1].partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        pairs = (line.partition(": ") for line in lines)
        return first, [(name.lower(), value) for name, _, value in pairs]

    def header(self, name: str) -> str | None:
        return dict(self.head()[1]).get(name)


def _read_request(connection: socket.socket) -> bytes:
    raw = b""
    while b"\r\n\r\n" not in raw:
        raw += connection.recv(65536)
    head, _, body = raw.partition(b"\r\n\r\n")
    headers = head.lower()
    if b"transfer-encoding: chunked" in headers:
        while not body.endswith(b"0\r\n\r\n"):
            body += connection.recv(65536)
    elif b"content-length: " in headers:
        length = int(headers.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        while len(body) < length:
            body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def http_answer(
    body: bytes, *headers: str, status: str = "200 OK", content_type: str = "application/json"
) -> bytes:
    """An HTTP answer with a length, after which its server ends the connection."""
    # Said, too: a proxy that kept the connection would lose a race against its end.
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {content_type}", "Connection: close"]
    lines += [*headers, f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def exchange(port: int, request: bytes, *, timeout_s: float = 5.0) -> bytes:
    """All that comes back for `request`, sent as it is, until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
        connection.sendall(request)
        received = b""
        while piece := connection.recv(65536):
            received += piece
        return received


def timed_pieces(port: int, path: str, body: bytes) -> list[tuple[float, bytes]]:
    """The pieces of an answer's body, each with the seconds since the request was sent."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        started_s = time.monotonic()
        connection.request("POST", path, body, {"Authorization": "Bearer test-key"})
        response = connection.getresponse()
        pieces: list[tuple[float, bytes]] = []
        while piece := response.read1(65536):
            pieces.append((time.monotonic() - started_s, piece))
        return pieces
    finally:
        connection.close()


def wait_until(is_so: Callable[[], bool], *, timeout_s: float = 5.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline_s, "it never came to be"
        time.sleep(0.005)


def is_free(port: int) -> bool:
    """Whether nobody listens at a port; asked without a connection, which might just get in."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
