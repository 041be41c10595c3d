"""OpenAI's Batch API: a file of requests up, one file of answers and one of errors down."""

from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import quote

from stillhouse.records import ItemError
from stillhouse.teachers._batch._link import Link, listed_by_id
from stillhouse.teachers._batch._protocol import (
    QUEUE_FULL,
    BatchLimits,
    BatchWire,
    RemoteBatch,
    ResultRow,
    Upload,
    item_error,
    time_of,
)
from stillhouse.teachers._dialects import MalformedAnswerError
from stillhouse.teachers._dialects._json import dump, object_in, objects_in, text_in
from stillhouse.teachers._dialects._refusals import late_refusal, one_line, read_refusal

_LABEL = "stillhouse_batch"
_DIALECTS = {"/v1/chat/completions": "openai_chat", "/v1/responses": "openai_responses"}
_RUNNING = frozenset({"validating", "in_progress", "finalizing", "cancelling"})


class OpenAIBatches(BatchWire):
    """`/files` and `/batches`; the base URL ends in `/v1`."""

    limits = BatchLimits(num_requests=50_000, num_bytes=200_000_000)
    frame = (b"", b"\n", b"\n")

    def line(self, name: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """One line of the input file."""
        return {"custom_id": name, "method": "POST", "url": f"/v1{path}", "body": body}

    async def create(self, link: Link, upload: Upload) -> RemoteBatch:
        """Upload the file, which may be repeated, then create the batch, which may not."""
        file = await link.upload("/files", {"purpose": "batch"}, upload.file)
        body = {
            "input_file_id": file.get("id"),
            "endpoint": f"/v1{upload.path}",
            "completion_window": "24h",
            "metadata": {_LABEL: upload.label},
        }
        return _remote(await link.post("/batches", body))

    async def look(self, link: Link, remote_id: str) -> RemoteBatch:
        """`GET /batches/{id}`."""
        return _remote(await link.get(f"/batches/{quote(remote_id, safe='')}"))

    async def cancel(self, link: Link, remote_id: str) -> None:
        """`POST /batches/{id}/cancel`."""
        await link.post(f"/batches/{quote(remote_id, safe='')}/cancel", {}, may_repeat=True)

    def listed(self, link: Link) -> AsyncGenerator[RemoteBatch, None]:
        """`GET /batches`, page by page."""
        return listed_by_id(link, "/batches", "after", _remote)

    def row(self, line: dict[str, Any]) -> ResultRow:
        """A line of the output file, or of the error file."""
        name = text_in(line.get("custom_id"), "custom_id")
        response = object_in(line.get("response"), "response")
        status = response.get("status_code")
        if status == 200:
            return ResultRow(name, dump(object_in(response.get("body"), "response.body")))
        if isinstance(status, int):
            refusal = read_refusal(status, {}, dump(response.get("body")))
        elif line.get("error") is not None:
            error = object_in(line["error"], "error")
            if error.get("code") in ("batch_expired", "batch_cancelled"):
                return ResultRow(name, error=_unanswered(str(error["code"])[len("batch_") :]))
            refusal = late_refusal({"error": error})
        else:
            raise MalformedAnswerError("a result with neither response nor error")
        return ResultRow(name, error=item_error(refusal))


def _remote(batch: dict[str, Any]) -> RemoteBatch:
    remote_id, status = text_in(batch.get("id"), "id"), text_in(batch.get("status"), "status")
    if not remote_id:
        raise MalformedAnswerError("a batch without an id")
    counts = object_in(batch.get("request_counts"), "request_counts")
    files = [batch.get("output_file_id"), batch.get("error_file_id")]
    metadata = object_in(batch.get("metadata"), "metadata")
    is_failed = status == "failed"
    unanswered = _failure(batch) if is_failed else None
    if status in ("expired", "cancelled"):
        unanswered = _unanswered(status)
    return RemoteBatch(
        id=remote_id,
        state="running" if status in _RUNNING else "failed" if is_failed else "ended",
        dialect=_DIALECTS.get(str(batch.get("endpoint")), "openai_chat"),
        label=str(metadata.get(_LABEL, "")),
        num_requests=_number(counts.get("total")),
        num_done=_number(counts.get("completed")) + _number(counts.get("failed")),
        created_utc=time_of(batch.get("created_at")),
        result_paths=tuple(
            f"/files/{quote(name, safe='')}/content" for name in files if isinstance(name, str)
        ),
        unanswered=unanswered,
        note=unanswered.message if unanswered else status,
    )


def _failure(batch: dict[str, Any]) -> ItemError:
    """Why a whole batch was refused after its file was looked at."""
    errors = objects_in(object_in(batch.get("errors"), "errors").get("data"), "errors.data")
    said = [f"{error.get('message')} (line {error.get('line')})" for error in errors[:3]]
    message = one_line("; ".join(said) or "the batch failed without a word")
    if any(error.get("code") == "token_limit_exceeded" for error in errors):
        return _error(QUEUE_FULL, message, True)
    return _error("batch_failed", message, False)


def _unanswered(status: str) -> ItemError:
    return _error(status, f"the batch {'was ' * (status == 'cancelled')}{status} before it", True)


def _error(kind: str, message: str, is_retryable: bool) -> ItemError:
    return ItemError(type=kind, message=message, retryable=is_retryable)


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0
