"""Calls to a batch API over the transport: what is sure, what is not, and what may be repeated."""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any, BinaryIO, TypeVar
from urllib.parse import quote

import orjson

from stillhouse.errors import TeacherUnavailableError
from stillhouse.teachers._batch._protocol import (
    BatchMissingError,
    BatchRefusedError,
    BatchUnclearError,
    RemoteBatch,
)
from stillhouse.teachers._dialects import MalformedAnswerError, Refusal, read_refusal
from stillhouse.teachers._dialects._json import objects_in, parse_object, text_in
from stillhouse.teachers._endpoint import LONGEST_DELAY_S, Endpoint, backoff_s
from stillhouse.teachers._transport import Reply, Transport, TransportError

_T = TypeVar("_T")

_NUM_TRIES = 4
_UNSURE_STATUSES = (408, 409, 499)  # below 500, and yet work may have been done
_MOST_PEEK_BYTES = 4 << 20
_PAGE = 100


class Link:
    """A provider's account; to be used and closed within one event loop."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._headers = endpoint.dialect.headers(endpoint.api_key)
        self._transport = Transport(endpoint.base_url, timeouts=endpoint.timeouts, concurrency=0)
        self._random = random.Random()

    async def get(self, path: str) -> dict[str, Any]:
        """The JSON object at a path; tried again while that may help.

        Raises:
            BatchMissingError: there is nothing of that name.
            BatchUnclearError: no answer that can be read came, or the provider is in trouble.
            BatchRefusedError: it is refused for good.
            TeacherUnavailableError: no call can succeed.
        """
        return await self._patiently("GET", path)

    async def post(self, path: str, body: Any, *, may_repeat: bool = False) -> dict[str, Any]:
        """What a POST of JSON, or of a file of it, comes to; sent once unless it may be repeated.

        Raises:
            BatchUnclearError: it may or may not have been done.
            BatchRefusedError: it was surely not done.
            BatchMissingError: there is nothing of that name.
            TeacherUnavailableError: no call can succeed.
        """
        sent = orjson.dumps(body) if isinstance(body, dict) else body
        if may_repeat:
            return await self._patiently("POST", path, sent)
        return self._read(await self._call("POST", path, sent))

    async def upload(self, path: str, fields: Mapping[str, str], file: BinaryIO) -> dict[str, Any]:
        """What the upload of a form with a file comes to; repeated at need, which only uses room.

        Raises:
            As `get`.
        """

        async def once() -> dict[str, Any]:
            try:
                reply = await self._transport.upload(path, self._headers, fields, file)
            except TransportError as err:
                raise BatchUnclearError(self.endpoint.without_key(str(err))) from err
            return self._read(reply)

        return await self.repeat(once)

    async def repeat(self, once: Callable[[], Awaitable[_T]]) -> _T:
        """Do what may be done again until it works.

        Raises:
            As `get`; a refusal that may pass is trouble in the end, and so unclear.
        """
        for attempt in range(1, _NUM_TRIES):
            try:
                return await once()
            except BatchUnclearError:
                wait_s = None
            except BatchRefusedError as err:
                if not err.refusal.is_retryable:
                    raise
                wait_s = err.refusal.wait_s
            await asyncio.sleep(self._delay_s(attempt, wait_s))
        try:
            return await once()
        except BatchRefusedError as err:
            if not err.refusal.is_retryable:
                raise
            raise BatchUnclearError(str(err)) from err

    async def call(
        self,
        method: str,
        path: str,
        body: bytes | BinaryIO | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """One response with status 200, for what is not JSON.

        Raises:
            As `post`.
        """
        reply = await self._call(method, path, body, headers)
        self._check(reply)
        return reply

    async def download(self, path: str, file: BinaryIO) -> None:
        """Write what is at a path into a file, in place of what is in it.

        Raises:
            As `get`.
        """

        async def once() -> None:
            file.seek(0)
            file.truncate()
            async for piece in self._pieces(path):
                file.write(piece)

        await self.repeat(once)

    async def first_line(self, path: str) -> bytes:
        """The first line of a file, without its end; no more of it is fetched than needed.

        Raises:
            As `get`.
        """

        async def once() -> bytes:
            read = b""
            async with aclosing(self._pieces(path)) as pieces:
                async for piece in pieces:
                    read += piece
                    if b"\n" in piece or len(read) > _MOST_PEEK_BYTES:
                        break
            return read.partition(b"\n")[0]

        return await self.repeat(once)

    async def close(self) -> None:
        """Close the connections; may be called twice."""
        await self._transport.close()

    async def _patiently(
        self, method: str, path: str, body: bytes | BinaryIO | None = None
    ) -> dict[str, Any]:
        async def once() -> dict[str, Any]:
            return self._read(await self._call(method, path, body))

        return await self.repeat(once)

    async def _call(
        self,
        method: str,
        path: str,
        body: bytes | BinaryIO | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        given = self._headers if headers is None else {**self._headers, **headers}
        if body is not None and "Content-Type" not in given:
            given = {**given, "Content-Type": "application/json"}
        try:
            return await self._transport.call(method, path, given, body)
        except TransportError as err:
            raise BatchUnclearError(self.endpoint.without_key(str(err))) from err

    async def _pieces(self, path: str) -> AsyncGenerator[bytes, None]:
        try:
            async with self._transport.download(path, self._headers) as (head, pieces):
                self._check(head)
                async for piece in pieces:
                    yield piece
        except TransportError as err:
            raise BatchUnclearError(self.endpoint.without_key(str(err))) from err

    def _read(self, reply: Reply) -> dict[str, Any]:
        self._check(reply)
        try:
            return parse_object(reply.body)
        except MalformedAnswerError as err:
            raise BatchUnclearError(f"not an answer of a batch API: {err}") from err

    def _check(self, reply: Reply) -> None:
        if reply.status == 200:
            return
        refusal = read_refusal(reply.status, reply.headers, reply.body)
        said = self.endpoint.without_key(refusal.message)
        if reply.status == 404:
            raise BatchMissingError(said)
        if reply.status >= 500 or reply.status in _UNSURE_STATUSES:
            raise BatchUnclearError(f"status {reply.status}: {said}")
        if refusal.stops_provider:
            raise TeacherUnavailableError(self._stopped(refusal, said))
        raise BatchRefusedError(replace(refusal, message=said))

    def _stopped(self, refusal: Refusal, said: str) -> str:
        endpoint = self.endpoint
        who, key = f"{endpoint.provider} ({endpoint.base_url})", endpoint.key_variable or "the key"
        if refusal.kind == "redirected":
            return f"{who} redirects ({said}); a key is never sent on. Give that address."
        if refusal.kind in ("payment", "quota"):
            return (
                f"{who} takes no batch for payment reasons ({said}). Check the balance and limits "
                f"of the account of {key}; what was answered is kept."
            )
        return f"{who} refuses a batch ({said}). Check {key} and what it may use, and the model."

    def _delay_s(self, attempt: int, wait_s: float | None) -> float:
        """What the provider asks for, as far as that is short; else a backoff."""
        if wait_s is not None:
            return min(wait_s, LONGEST_DELAY_S)
        return backoff_s(self._random, attempt)


async def listed_by_id(
    link: Link, path: str, after: str, read: Callable[[dict[str, Any]], RemoteBatch]
) -> AsyncGenerator[RemoteBatch, None]:
    """Every batch of a list whose next page is asked for with the last id of this one.

    Args:
        link: Whose account.
        path: Of the list.
        after: The name of the query's field for that id.
        read: What one row says.

    Raises:
        As `Link.get`; MalformedAnswerError: a row is no batch.
    """
    start = f"{path}?limit={_PAGE}"
    following = start
    while True:
        page = await link.get(following)
        rows = objects_in(page.get("data"), "data")
        for row in rows:
            yield read(row)
        if not rows or page.get("has_more") is not True:
            return
        following = f"{start}&{after}={quote(text_in(rows[-1].get('id'), 'id'), safe='')}"
