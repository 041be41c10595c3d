"""Anthropic's Message Batches: requests inline, results in one file, in any order."""

from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import quote

from stillhouse.records import ItemError
from stillhouse.teachers._batch._link import Link, listed_by_id
from stillhouse.teachers._batch._protocol import (
    BatchLimits,
    BatchWire,
    RemoteBatch,
    ResultRow,
    Upload,
    item_error,
    time_of,
)
from stillhouse.teachers._dialects import MalformedAnswerError
from stillhouse.teachers._dialects._json import dump, object_in, text_in
from stillhouse.teachers._dialects._refusals import late_refusal

_START = "/v1/messages/batches"
_COUNTS = ("processing", "succeeded", "errored", "canceled", "expired")


class AnthropicBatches(BatchWire):
    """`/v1/messages/batches`; the base URL has no version."""

    limits = BatchLimits(num_requests=100_000, num_bytes=256_000_000)
    frame = (b'{"requests":[', b",\n", b"]}")

    def line(self, name: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """One item of `requests`."""
        return {"custom_id": name, "params": body}

    async def create(self, link: Link, upload: Upload) -> RemoteBatch:
        """One call with everything in it."""
        return _remote(await link.post(_START, upload.file))

    async def look(self, link: Link, remote_id: str) -> RemoteBatch:
        """`GET /v1/messages/batches/{id}`."""
        return _remote(await link.get(_path(remote_id)))

    async def cancel(self, link: Link, remote_id: str) -> None:
        """`POST /v1/messages/batches/{id}/cancel`."""
        await link.post(f"{_path(remote_id)}/cancel", {}, may_repeat=True)

    def listed(self, link: Link) -> AsyncGenerator[RemoteBatch, None]:
        """`GET /v1/messages/batches`, page by page."""
        return listed_by_id(link, _START, "after_id", _remote)

    def row(self, line: dict[str, Any]) -> ResultRow:
        """A line of the results."""
        name = text_in(line.get("custom_id"), "custom_id")
        result = object_in(line.get("result"), "result")
        kind = result.get("type")
        if kind == "succeeded":
            return ResultRow(name, dump(object_in(result.get("message"), "result.message")))
        if kind in ("expired", "canceled"):
            message = f"the batch ended before it ({kind})"
            return ResultRow(name, error=ItemError(type=kind, message=message, retryable=True))
        if kind != "errored":
            raise MalformedAnswerError(f"a result of the type {kind!r}")
        return ResultRow(name, error=item_error(late_refusal(result.get("error"))))


def _path(remote_id: str) -> str:
    return f"{_START}/{quote(remote_id, safe='')}"


def _remote(batch: dict[str, Any]) -> RemoteBatch:
    remote_id = text_in(batch.get("id"), "id")
    if not remote_id:
        raise MalformedAnswerError("a batch without an id")
    has_ended = batch.get("processing_status") == "ended"
    given = object_in(batch.get("request_counts"), "request_counts")
    counts = {name: given[name] for name in _COUNTS if isinstance(given.get(name), int)}
    shown = ", ".join(f"{number} {name}" for name, number in counts.items() if number)
    return RemoteBatch(
        id=remote_id,
        state="ended" if has_ended else "running",
        dialect="anthropic",
        num_requests=sum(counts.values()),
        num_done=sum(counts.values()) - counts.get("processing", 0),
        created_utc=time_of(batch.get("created_at")),
        # By its own path, not by `results_url`: the key goes to the host that was named.
        result_paths=(f"{_path(remote_id)}/results",) if has_ended else (),
        note=shown,
    )
