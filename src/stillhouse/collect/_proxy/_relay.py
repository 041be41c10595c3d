"""One request to the provider and its answer back, byte by byte as they come."""

from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from stillhouse.collect._proxy._call import Call
from stillhouse.collect._proxy._encoding import MOST_BYTES
from stillhouse.collect._proxy._upstream import passed_on

Body = bytes | AsyncIterator[bytes] | None
"""Of a request as it is sent on; None where there is none."""

LONGEST_LINE = 1 << 16
"""Of a head, in bytes: eight times what aiohttp takes by itself."""

_PIECE_BYTES = 1 << 18
_MOST_IN_ONE_PIECE = 1 << 20
_CONNECT_S = 30.0
# What a client of ours would add to what the caller sent.
_NOTHING_ADDED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
_NOTHING_LEFT_OUT: frozenset[str] = frozenset()


class CallerLeftError(Exception):
    """Nobody reads the answer any more."""


class UnreachableError(Exception):
    """The provider did not begin to answer."""


def open_session() -> aiohttp.ClientSession:
    """A client that sends what it is given, to where it is told, and adds nothing.

    It waits for an answer as long as the caller does.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=_NOTHING_ADDED,
        trust_env=False,
        max_line_size=LONGEST_LINE,
        max_field_size=LONGEST_LINE,
    )


async def read_body(request: web.BaseRequest) -> tuple[bytes, bool]:
    """The body of a request, and whether that is all of it: one that is too large is left unread.

    Raises:
        CallerLeftError: the caller left in the middle of it.
    """
    pieces: list[bytes] = []
    num_bytes = 0
    try:
        while num_bytes <= MOST_BYTES:
            piece = await request.content.readany()
            if not piece:
                return b"".join(pieces), True
            pieces.append(piece)
            num_bytes += len(piece)
    except (web.RequestPayloadError, ConnectionError) as err:
        raise CallerLeftError from err
    return b"".join(pieces), False


def body_to_send(request: web.BaseRequest, begun: bytes, *, is_whole: bool) -> Body:
    """What to send on of a request of which `begun` was read."""
    if not request.body_exists:
        return None
    if is_whole and len(begun) <= _MOST_IN_ONE_PIECE:
        return begun
    return _body_pieces(request, begun, is_whole=is_whole)


async def _body_pieces(
    request: web.BaseRequest, begun: bytes, *, is_whole: bool
) -> AsyncIterator[bytes]:
    for start in range(0, len(begun), _PIECE_BYTES):
        yield begun[start : start + _PIECE_BYTES]
    while not is_whole and (piece := await request.content.readany()):
        yield piece


async def relay(
    request: web.BaseRequest,
    response: aiohttp.ClientResponse,
    call: Call | None,
) -> web.StreamResponse:
    """Pass an answer on as it comes, and keep it in `call`.

    Raises:
        CallerLeftError: the caller does not take it.
    """
    answer = web.StreamResponse(
        status=response.status,
        reason=response.reason,
        headers=passed_on(response.headers, without=_NOTHING_LEFT_OUT),
    )
    if call is not None:
        call.status, call.headers = response.status, response.headers
    try:
        await answer.prepare(request)
        async for piece in _pieces(response):
            if call is not None:
                call.take(piece)
            await answer.write(piece)
        if call is not None:
            call.end("whole")
        await answer.write_eof()
    except _CutError as err:
        if call is not None:
            call.end("cut", str(err))
        if request.transport is not None:
            request.transport.close()  # the caller is to see the cut too
    except ConnectionError as err:
        raise CallerLeftError from err
    return answer


async def send(
    session: aiohttp.ClientSession,
    request: web.BaseRequest,
    url: URL,
    headers: CIMultiDict[str],
    body: Body,
) -> aiohttp.ClientResponse:
    """The head of the provider's answer.

    Raises:
        UnreachableError: there is none.
    """
    try:
        return await session.request(
            request.method, url, data=body, headers=headers, allow_redirects=False
        )
    except (aiohttp.ClientError, TimeoutError, OSError) as err:
        reason = " ".join(str(err).split()) or type(err).__name__
        raise UnreachableError(f"{url.host} did not answer: {reason}") from err


class _CutError(Exception):
    """The provider's answer ended before it was whole."""


async def _pieces(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    # Apart from the writing, whose errors are of the same classes and mean something else.
    try:
        async for piece in response.content.iter_any():
            yield piece
    except (aiohttp.ClientError, OSError) as err:
        raise _CutError(" ".join(str(err).split()) or type(err).__name__) from err
