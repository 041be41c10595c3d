"""The one HTTP client path: bytes out, status, headers and bytes back.

A key goes to the host that was named and nowhere else: redirects are not followed, and neither
proxies from the environment nor `~/.netrc` are used (`trust_env=False`).
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from stillhouse.errors import TeacherUnavailableError

MAX_ANSWER_BYTES = 64 << 20
"""4,000 tokens with 20 log-probabilities each are about 7 MB."""

_PIECE_BYTES = 64 << 10


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

    async def post(self, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """The response to one POST, read to its end.

        Raises:
            TransportError: it did not come, or not whole.
            TeacherUnavailableError: nothing ever answered at that address.
        """
        async with self._sending(path, headers, body) as response:
            return Reply(response.status, response.headers, await _read(response))

    @asynccontextmanager
    async def stream(
        self, path: str, headers: Mapping[str, str], body: bytes
    ) -> AsyncIterator[tuple[Reply, AsyncIterator[bytes]]]:
        """The head of a response and its pieces as they come; another status than 200 comes whole.

        Raises:
            TransportError: as in `post`, from the pieces too.
            TeacherUnavailableError: as in `post`.
        """
        async with self._sending(path, headers, body) as response:
            if response.status == 200:
                head = Reply(response.status, response.headers, b"")
                yield head, response.content.iter_chunked(_PIECE_BYTES)
            else:
                yield Reply(response.status, response.headers, await _read(response)), _no_pieces()

    async def close(self) -> None:
        """Close the connections; may be called twice."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    @asynccontextmanager
    async def _sending(
        self, path: str, headers: Mapping[str, str], body: bytes
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        session = self._session or self._open_session()
        url = f"{self._base_url}{path}"
        try:
            async with session.post(
                url, data=body, headers=headers, allow_redirects=False
            ) as response:
                self._has_connected = True
                yield response
        except TimeoutError as err:
            # aiohttp's connection timeouts are both this and a client error.
            if isinstance(err, aiohttp.ClientConnectionError) and not self._has_connected:
                raise self._unreachable(err) from err
            raise TransportError("timeout", f"no answer in {self._timeouts.total_s:g} s") from err
        except aiohttp.ClientConnectorError as err:
            # A server that has answered before may be restarting: one item's trouble, for now.
            if not self._has_connected:
                raise self._unreachable(err) from err
            raise TransportError("connection", _reason(err)) from err
        except (aiohttp.ClientError, OSError) as err:
            raise TransportError("connection", _reason(err)) from err

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


async def _no_pieces() -> AsyncIterator[bytes]:
    pieces: list[bytes] = []
    for piece in pieces:
        yield piece


def _reason(err: BaseException) -> str:
    if isinstance(err, aiohttp.ClientConnectorError) and err.strerror:
        return err.strerror
    return " ".join(str(err).split()) or type(err).__name__
