"""The one HTTP client path: bytes out, status, headers and bytes back.

A key goes to the host that was named and nowhere else: redirects are not followed, and neither
proxies from the environment nor `~/.netrc` are used (`trust_env=False`).
"""

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import BinaryIO

import aiohttp
from yarl import URL

from stillhouse.errors import TeacherUnavailableError

MAX_ANSWER_BYTES = 64 << 20
"""4,000 tokens with 20 log-probabilities each are about 7 MB."""

_PIECE_BYTES = 64 << 10
_FAILURES = (TimeoutError, aiohttp.ClientError, OSError)
_Sent = bytes | BinaryIO | aiohttp.FormData | None


class TransportError(Exception):
    """No whole answer came; what was sent may have been worked on, and paid for.

    Attributes:
        kind: `timeout`, `connection` or `too_large`, as in an item error.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP response as it came; `body` is empty where it is read in pieces."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait, seconds.

    Attributes:
        connect_s: For each connection.
        total_s: For each try, from connecting to the last byte.
    """

    connect_s: float = 10.0
    total_s: float = 600.0


class Transport:
    """Connections to one host; use and close it within one event loop."""

    def __init__(self, base_url: str, *, timeouts: Timeouts, concurrency: int) -> None:
        self._base_url = base_url
        self._timeouts = timeouts
        self._concurrency = concurrency
        self._session: aiohttp.ClientSession | None = None
        self._has_connected = False
        self._path = ""
        self._url = URL()

    async def post(self, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """The response to one POST, read to its end.

        Raises:
            TransportError: it did not come, or not whole.
            TeacherUnavailableError: nothing ever answered at that address.
        """
        # Not through a context manager of ours: this is the path that a million answers take.
        try:
            response = await self._open(path, headers, body)
            try:
                return Reply(response.status, response.headers, await _read(response))
            finally:
                response.release()
        except _FAILURES as err:
            raise self._failure(err) from err

    @asynccontextmanager
    async def stream(
        self, path: str, headers: Mapping[str, str], body: bytes
    ) -> AsyncIterator[tuple[Reply, AsyncIterator[bytes]]]:
        """The head of a response and its pieces as they come; another status than 200 comes whole.

        Raises:
            TransportError: as in `post`, from the pieces too.
            TeacherUnavailableError: as in `post`.
        """
        try:
            response = await self._open(path, headers, body)
            try:
                yield await _begin(response)
            finally:
                response.close()  # what is left of a stream is not wanted
        except _FAILURES as err:
            raise self._failure(err) from err

    async def call(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | BinaryIO | None = None,
    ) -> Reply:
        """The response to a request that may take as long as it moves, read to its end.

        Args:
            body: Bytes, or a file that is sent from its beginning and left open.

        Raises:
            TransportError: it did not come, or not whole.
            TeacherUnavailableError: nothing ever answered at that address.
        """
        if body is None or isinstance(body, bytes):
            return await self._call(method, path, headers, body)
        with _reopened(body) as file:
            return await self._call(method, path, headers, file)

    async def upload(
        self, path: str, headers: Mapping[str, str], fields: Mapping[str, str], file: BinaryIO
    ) -> Reply:
        """The response to a form with a file in it, which is sent from its beginning.

        Raises:
            TransportError: as in `call`.
            TeacherUnavailableError: as in `call`.
        """
        form = aiohttp.FormData(dict(fields))
        with _reopened(file) as content:
            form.add_field(
                "file", content, filename="batch.jsonl", content_type="application/jsonl"
            )
            return await self._call("POST", path, headers, form)

    @asynccontextmanager
    async def download(
        self, path: str, headers: Mapping[str, str]
    ) -> AsyncIterator[tuple[Reply, AsyncIterator[bytes]]]:
        """The head of a file and its pieces as they come; another status than 200 comes whole.

        Raises:
            TransportError: as in `call`, from the pieces too.
            TeacherUnavailableError: as in `call`.
        """
        try:
            async with self._request("GET", path, headers, None) as response:
                yield await _begin(response)
        except _FAILURES as err:
            raise self._failure(err) from err

    async def close(self) -> None:
        """Close the connections; may be called twice."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _open(
        self, path: str, headers: Mapping[str, str], body: bytes
    ) -> aiohttp.ClientResponse:
        session = self._session or self._open_session()
        if path != self._path:
            self._path, self._url = path, URL(f"{self._base_url}{path}")
        response = await session.post(self._url, data=body, headers=headers, allow_redirects=False)
        self._has_connected = True
        return response

    async def _call(self, method: str, path: str, headers: Mapping[str, str], data: _Sent) -> Reply:
        try:
            async with self._request(method, path, headers, data) as response:
                return Reply(response.status, response.headers, await _read(response))
        except _FAILURES as err:
            raise self._failure(err) from err

    @asynccontextmanager
    async def _request(
        self, method: str, path: str, headers: Mapping[str, str], data: _Sent
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        session = self._session or self._open_session()
        # A gigabyte may take an hour; silence for as long as one answer may take is a failure.
        limits = aiohttp.ClientTimeout(
            total=None, sock_connect=self._timeouts.connect_s, sock_read=self._timeouts.total_s
        )
        async with session.request(
            method,
            URL(f"{self._base_url}{path}"),
            data=data,
            headers=headers,
            allow_redirects=False,
            timeout=limits,
        ) as response:
            self._has_connected = True
            yield response

    def _failure(self, err: BaseException) -> Exception:
        # aiohttp's connection timeouts are both a timeout and a connection error.
        is_connecting = isinstance(
            err, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError
        )
        # A server that has answered before may be restarting: one item's trouble, for now.
        if is_connecting and not self._has_connected:
            return self._unreachable(err)
        if isinstance(err, TimeoutError):
            return TransportError("timeout", f"no answer in {self._timeouts.total_s:g} s")
        return TransportError("connection", _reason(err))

    def _open_session(self) -> aiohttp.ClientSession:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._concurrency),
            timeout=aiohttp.ClientTimeout(
                total=self._timeouts.total_s, sock_connect=self._timeouts.connect_s
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )
        return self._session

    def _unreachable(self, err: BaseException) -> TeacherUnavailableError:
        host_and_port = self._base_url.split("/")[2]
        return TeacherUnavailableError(
            f"Nothing answers at {host_and_port} ({_reason(err)}). Check that the server runs and "
            "that host and port are right."
        )


async def _read(response: aiohttp.ClientResponse) -> bytes:
    length = response.content_length
    if length is not None and length <= MAX_ANSWER_BYTES:
        return await response.read()
    pieces: list[bytes] = []
    num_bytes = 0
    async for piece in response.content.iter_any():
        pieces.append(piece)
        num_bytes += len(piece)
        if num_bytes > MAX_ANSWER_BYTES:
            raise TransportError("too_large", f"an answer of over {MAX_ANSWER_BYTES} bytes")
    return b"".join(pieces)


@contextmanager
def _reopened(file: BinaryIO) -> Iterator[BinaryIO]:
    """The same file for one try, since aiohttp closes what it has sent."""
    with open(os.dup(file.fileno()), "rb") as again:
        again.seek(0)
        yield again


async def _begin(response: aiohttp.ClientResponse) -> tuple[Reply, AsyncIterator[bytes]]:
    """The head and the pieces of a body; that of another status than 200 is read whole."""
    head = Reply(response.status, response.headers, b"")
    if response.status == 200:
        return head, response.content.iter_chunked(_PIECE_BYTES)
    return replace(head, body=await _read(response)), _no_pieces()


async def _no_pieces() -> AsyncIterator[bytes]:
    pieces: list[bytes] = []
    for piece in pieces:
        yield piece


def _reason(err: BaseException) -> str:
    if isinstance(err, aiohttp.ClientConnectorError) and err.strerror:
        return err.strerror
    return " ".join(str(err).split()) or type(err).__name__
