"""Puts an answer on the connection, in good order or with the fault that it is to have."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Iterable

from aiohttp import web

from tests.mock_provider.damage import damaged_body, damaged_events, pieces
from tests.mock_provider.errors import ApiError
from tests.mock_provider.exchange import Outgoing
from tests.mock_provider.faults import Fault

_HTML = (
    "<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>"
)
_FOREVER_S = 3600.0


async def send(
    request: web.BaseRequest, outgoing: Outgoing, pause_s: float = 0.0
) -> web.StreamResponse:
    """Send an answer without faults; a stream waits `pause_s` before each event."""
    if outgoing.events is None:
        return _whole(outgoing, outgoing.body)
    return await _written(request, outgoing, _slowly(outgoing.events, pause_s))


async def send_instead(
    request: web.BaseRequest, fault: Fault, family: str, path: str
) -> web.StreamResponse:
    """Send what a fault before the work sends in place of an answer."""
    if fault.kind == "hang":
        await asyncio.sleep(_FOREVER_S)
    if fault.kind == "redirect":
        return web.Response(status=307, headers={"location": f"http://{request.host}/moved{path}"})
    if fault.kind in ("html", "html_error"):
        status = 200 if fault.kind == "html" else 502
        return web.Response(text=_HTML, content_type="text/html", status=status)
    if fault.kind == "error_object":
        body = ApiError("server_error", "The server had an error.").body(family)
        return web.Response(body=body, content_type="application/json")
    if fault.kind == "reset":
        reset(request)
    return web.Response(content_type="application/json")


async def send_damaged(
    request: web.BaseRequest, outgoing: Outgoing, fault: Fault, family: str
) -> web.StreamResponse:
    """Send an answer with a fault in it."""
    if fault.kind == "late_hang":
        await asyncio.sleep(_FOREVER_S)
    if fault.kind == "lost":
        reset(request)
        return web.Response()
    if fault.kind == "late_type":
        outgoing.content_type = "text/plain"
    is_stream = outgoing.events is not None
    whole = outgoing.body
    if outgoing.events is not None:
        events = list(damaged_events(outgoing.events, fault, family))
        whole = b"".join(events)
    else:
        whole, events = damaged_body(outgoing.body, fault), []
    if fault.kind in ("cut", "stall"):
        return await _broken_off(request, outgoing, whole, fault)
    if fault.kind in ("drip", "shred"):
        return await _in_pieces(request, outgoing, whole, fault)
    if fault.kind == "keep_alive":
        # Hosts keep the connection alive with blank lines before a whole body, too.
        parts = events if is_stream else [b"\n", b"\n", b"\n", whole]
        return await _written(request, outgoing, _slowly(parts, fault.delay_s / len(parts)))
    if is_stream:
        return await _written(request, outgoing, _slowly(events, 0.0))
    return _whole(outgoing, whole)


def reset(request: web.BaseRequest) -> None:
    """Drop the connection so that the client sees it reset."""
    transport = request.transport
    if transport is None:
        return
    # To linger for 0 s is to send RST instead of FIN.
    linger = struct.pack("ii", 1, 0)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.abort()


def _whole(outgoing: Outgoing, body: bytes) -> web.Response:
    return web.Response(
        body=body,
        status=outgoing.status,
        headers=outgoing.headers,
        content_type=outgoing.content_type,
    )


def _begun(outgoing: Outgoing) -> web.StreamResponse:
    headers = {**outgoing.headers, "content-type": outgoing.content_type}
    if outgoing.events is not None:
        headers["cache-control"] = "no-cache"
    return web.StreamResponse(status=outgoing.status, headers=headers)


async def _slowly(parts: Iterable[bytes], delay_s: float) -> AsyncIterator[bytes]:
    for part in parts:
        if delay_s:
            await asyncio.sleep(delay_s)
        yield part


async def _written(
    request: web.BaseRequest, outgoing: Outgoing, parts: AsyncIterator[bytes]
) -> web.StreamResponse:
    response = _begun(outgoing)
    await response.prepare(request)
    async for part in parts:
        await response.write(part)
    await response.write_eof()
    return response


async def _in_pieces(
    request: web.BaseRequest, outgoing: Outgoing, whole: bytes, fault: Fault
) -> web.StreamResponse:
    delay_s = fault.delay_s if fault.kind == "drip" else 0.0
    return await _written(request, outgoing, _slowly(pieces(whole, fault), delay_s))


async def _broken_off(
    request: web.BaseRequest, outgoing: Outgoing, whole: bytes, fault: Fault
) -> web.StreamResponse:
    response = _begun(outgoing)
    if outgoing.events is None:
        response.content_length = len(whole)
    await response.prepare(request)
    await response.write(whole[: int(len(whole) * fault.at)])
    if fault.kind == "stall":
        await asyncio.sleep(_FOREVER_S)
    if request.transport is not None:
        request.transport.close()
    return response
