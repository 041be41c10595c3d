"""A provider's batch API behind calls that return when they are done, for the ledger's thread."""

import asyncio
import tempfile
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import orjson

from stillhouse.errors import TeacherUnavailableError
from stillhouse.records import ItemError, Request, Usage
from stillhouse.runlog import Answer
from stillhouse.teachers._batch._anthropic import AnthropicBatches
from stillhouse.teachers._batch._gemini import GeminiBatches
from stillhouse.teachers._batch._link import Link
from stillhouse.teachers._batch._openai import OpenAIBatches
from stillhouse.teachers._batch._protocol import (
    BatchLimits,
    BatchMissingError,
    BatchUnclearError,
    BatchWire,
    Found,
    RemoteBatch,
    ResultRow,
    SoughtBatch,
    Upload,
    name_of,
)
from stillhouse.teachers._dialects import DIALECTS, MalformedAnswerError
from stillhouse.teachers._dialects._json import parse_object
from stillhouse.teachers._endpoint import CostOf, Endpoint, WorstCostOf, priced
from stillhouse.teachers._loop import enter_loop, leave_loop

_T = TypeVar("_T")

WIRES: dict[str, BatchWire] = {
    "openai": OpenAIBatches(),
    "anthropic": AnthropicBatches(),
    "google": GeminiBatches(),
}
"""Batch APIs by the name of their provider."""

_ROWS_AT_ONCE = 256
_BYTES_AT_ONCE = 8 << 20
_CLOCKS_APART = timedelta(days=1)


class BatchClient:
    """One model's batches; its calls block, and raise what `BatchWire` says.

    Args:
        endpoint: Who is asked.
        wire: What the provider speaks.
        cost_of: The price at the batch tier.
        worst_cost_of: The most that a call can cost at the batch tier.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        wire: BatchWire,
        *,
        cost_of: CostOf,
        worst_cost_of: WorstCostOf,
    ) -> None:
        self._endpoint = endpoint
        self._wire = wire
        self._cost_of = cost_of
        self._worst_cost_of = worst_cost_of
        self._path = endpoint.dialect.path(endpoint.model, stream=False)
        self._strangers: set[str] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._link: Link | None = None

    @property
    def limits(self) -> BatchLimits:
        """What fits into one batch."""
        return self._wire.limits

    def num_bytes(self, request: Request) -> int:
        """What a request takes in a batch.

        Raises:
            ConfigError: the host has nothing for what the request asks.
            RecordError: the request holds what the dialect cannot say.
            TypeError: it holds what no JSON can.
        """
        name = name_of("0" * 16, request.id)
        return len(self._line(name, request)) + len(self._wire.frame[1])

    def worst_cost_usd(self, request: Request) -> float | None:
        """The most that a request can cost in a batch, None where no price is known."""
        # No token is shorter than a byte, as in a call that is made online.
        return self._worst_cost_of(self.num_bytes(request), request.sampling.max_tokens)

    def write(self, batch_id: str, requests: Iterable[Request], file: BinaryIO) -> None:
        """Write a batch's requests into `file`, as `create` sends it."""
        before, between, after = self._wire.frame
        file.write(before)
        for number, request in enumerate(requests):
            if number:
                file.write(between)
            file.write(self._line(name_of(batch_id, request.id), request))
        file.write(after)
        file.flush()

    def create(self, batch_id: str, file: BinaryIO) -> RemoteBatch:
        """Create a batch of what `write` wrote.

        Raises:
            BatchRefusedError: there is surely none.
            BatchUnclearError: there may be one: `find` it.
            TeacherUnavailableError: no call can succeed, or there is no batch API.
        """
        endpoint = self._endpoint
        upload = Upload(batch_id, file, endpoint.model, self._path, endpoint.dialect.name)
        try:
            return self._run(self._wire.create(self._open_link(), upload))
        except BatchMissingError as err:
            raise TeacherUnavailableError(
                f"{endpoint.provider} ({endpoint.base_url}) takes no batch for {endpoint.model!r} "
                f"({err}). Check the model's name, or leave out --tier batch."
            ) from err

    def look(self, remote_id: str) -> RemoteBatch:
        """How a batch stands."""
        return self._run(self._wire.look(self._open_link(), remote_id))

    def find(self, sought: SoughtBatch) -> Found:
        """Look for a batch whose creation was not confirmed, through all of the account.

        Where the provider keeps no label, those of the same size are read once they have ended,
        as the names of their requests tell whose they are.
        """
        return self._run(self._find(sought))

    def cancel(self, remote_id: str) -> None:
        """Stop a batch; what is done stays, and is paid."""
        self._run(self._wire.cancel(self._open_link(), remote_id))

    def results(self, remote: RemoteBatch, folder: Path) -> Iterator[list[ResultRow]]:
        """The results of a batch that has ended, in groups and in any order.

        A file is fetched whole before its first row comes, into a nameless one in `folder`.

        Raises:
            BatchUnclearError: a file did not come whole; rows may have come before.
            BatchMissingError: a file is no longer there.
        """
        for path in remote.result_paths:
            with tempfile.TemporaryFile(dir=folder) as file:
                self._run(self._open_link().download(path, file))
                file.seek(0)
                yield from self._rows(file)

    def answer(self, row: ResultRow, request_id: str, remote: RemoteBatch) -> Answer:
        """What a result is in the ledger; errors cost nothing."""
        if row.error is not None:
            said = self._endpoint.without_key(row.error.message)
            return self.failed(request_id, row.error.model_copy(update={"message": said}))
        dialect = DIALECTS[remote.dialect]
        try:
            facts = dialect.outcome(row.body)
        except MalformedAnswerError as err:
            message = f"not an answer of {dialect.name}: {err}"
            error = ItemError(type="malformed_answer", message=message, retryable=True)
            failed = self.failed(request_id, error)
            # The provider may have charged for it, and says so or does not.
            return replace(failed, usage=priced(err.usage or Usage(), self._cost_of))
        return Answer(
            request_id=request_id,
            dialect=dialect.name,
            body=row.body,
            finish_reason=facts.finish_reason,
            model=facts.model,
            usage=priced(facts.usage, self._cost_of),
            response_id=facts.response_id,
        )

    def failed(self, request_id: str, error: ItemError) -> Answer:
        """A request that was not worked on, and so costs nothing."""
        return Answer(
            request_id=request_id,
            dialect=self._endpoint.dialect.name,
            body=b"",
            finish_reason="error",
            model=self._endpoint.model,
            usage=Usage(cost_usd=0.0),
            error=error,
        )

    def close(self) -> None:
        """Close the connections; may be called twice."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        if self._link is not None:
            asyncio.run_coroutine_threadsafe(self._link.close(), loop).result()
            self._link = None
        leave_loop()

    def _line(self, name: str, request: Request) -> bytes:
        endpoint = self._endpoint
        body = endpoint.dialect.body(
            request, model=endpoint.model, quirks=endpoint.quirks, stream=False
        )
        return orjson.dumps(self._wire.line(name, self._path, body))

    def _rows(self, file: BinaryIO) -> Iterator[list[ResultRow]]:
        num_bytes, group = 0, list[ResultRow]()
        for line in file:
            if not line.strip():
                continue
            try:
                group.append(self._wire.row(parse_object(line)))
            except MalformedAnswerError as err:
                raise BatchUnclearError(f"a line of the results cannot be read: {err}") from err
            num_bytes += len(line)
            if len(group) == _ROWS_AT_ONCE or num_bytes > _BYTES_AT_ONCE:
                yield group
                num_bytes, group = 0, []
        if group:
            yield group

    async def _find(self, sought: SoughtBatch) -> Found:
        link, is_unclear = self._open_link(), False
        async with aclosing(self._wire.listed(link)) as listed:
            async for remote in listed:
                if remote.label is not None:
                    if remote.label == sought.label:
                        return Found(remote)
                    continue
                if remote.created_utc is not None and (
                    remote.created_utc < sought.opened_utc - _CLOCKS_APART
                ):
                    break
                if not self._may_be(remote, sought):
                    continue
                try:
                    candidate = await self._wire.look(link, remote.id)  # a list may lag behind
                except BatchMissingError:  # gone since, or not there yet
                    is_unclear = True
                    continue
                if candidate.state == "running":
                    is_unclear = True
                elif await self._is_named(candidate, sought.label):
                    return Found(candidate)
        return Found(is_unclear=is_unclear)

    def _may_be(self, remote: RemoteBatch, sought: SoughtBatch) -> bool:
        """Whether a batch without a label can be the one that is sought."""
        is_other = remote.id in sought.known or remote.id in self._strangers
        return not is_other and remote.num_requests == sought.num_requests

    async def _is_named(self, remote: RemoteBatch, label: str) -> bool:
        for path in remote.result_paths:
            try:
                line = await self._open_link().first_line(path)
                name = self._wire.row(parse_object(line)).name
            except (MalformedAnswerError, BatchMissingError):
                continue  # empty, or removed: not ours, which nobody has read
            if name.startswith(f"{label}-"):
                return True
            self._strangers.add(remote.id)
        return False

    def _open_link(self) -> Link:
        self._open_loop()
        if self._link is None:
            self._link = Link(self._endpoint)
        return self._link

    def _open_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = enter_loop()
        return self._loop

    def _run(self, call: Coroutine[Any, Any, _T]) -> _T:
        """Wait for a call that runs on the shared loop; an interrupt drops it."""
        future = asyncio.run_coroutine_threadsafe(call, self._open_loop())
        try:
            return future.result()
        except MalformedAnswerError as err:
            raise BatchUnclearError(f"not an answer of a batch API: {err}") from err
        finally:
            future.cancel()
