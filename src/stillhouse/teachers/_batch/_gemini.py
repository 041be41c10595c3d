"""Gemini's batches: a file of requests up, a file of results down, both for two days."""

from collections.abc import AsyncGenerator
from typing import Any, BinaryIO
from urllib.parse import quote

import orjson
from yarl import URL

from stillhouse.errors import TeacherUnavailableError
from stillhouse.records import ItemError
from stillhouse.teachers._batch._link import Link
from stillhouse.teachers._batch._protocol import (
    BatchLimits,
    BatchUnclearError,
    BatchWire,
    RemoteBatch,
    ResultRow,
    Upload,
    item_error,
    time_of,
)
from stillhouse.teachers._dialects import MalformedAnswerError
from stillhouse.teachers._dialects._json import dump, object_in, objects_in, text_in
from stillhouse.teachers._dialects._refusals import late_refusal, one_line

_START = "/v1beta/batches"
_FILES = "/upload/v1beta/files"
_PAGE = 100
_ENDED = frozenset({"SUCCEEDED", "PARTIALLY_SUCCEEDED", "CANCELLED", "EXPIRED"})
# Rows state errors by the numbers of gRPC.
_STATUS_OF_RPC = {3: 400, 4: 504, 5: 404, 7: 403, 8: 429, 9: 400, 13: 500, 14: 503, 16: 401}


class GeminiBatches(BatchWire):
    """`/v1beta/batches` and the Files API; the base URL has no version."""

    # Its 2 GB would hold more requests; they are claimed at once, and so held in memory.
    limits = BatchLimits(num_requests=50_000, num_bytes=2_000_000_000)
    frame = (b"", b"\n", b"\n")

    def line(self, name: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """One line of the input file; the model is not in it."""
        return {"key": name, "request": body}

    async def create(self, link: Link, upload: Upload) -> RemoteBatch:
        """Upload the file, then create the batch."""
        file_name = await link.repeat(lambda: _upload(link, upload.label, upload.file))
        batch = {"displayName": upload.label, "inputConfig": {"fileName": file_name}}
        path = upload.path.removesuffix(":generateContent") + ":batchGenerateContent"
        return _remote(await link.post(path, {"batch": batch}))

    async def look(self, link: Link, remote_id: str) -> RemoteBatch:
        """`GET /v1beta/batches/{id}`."""
        return _remote(await link.get(_path(remote_id)))

    async def cancel(self, link: Link, remote_id: str) -> None:
        """`POST /v1beta/batches/{id}:cancel`."""
        await link.post(f"{_path(remote_id)}:cancel", {}, may_repeat=True)

    async def listed(self, link: Link) -> AsyncGenerator[RemoteBatch, None]:
        """`GET /v1beta/batches`, page by page."""
        token = ""
        while True:
            page = await link.get(f"{_START}?pageSize={_PAGE}{token}")
            for row in objects_in(page.get("operations"), "operations"):
                yield _remote(row)
            following = text_in(page.get("nextPageToken"), "nextPageToken")
            if not following:
                return
            token = f"&pageToken={quote(following, safe='')}"

    def row(self, line: dict[str, Any]) -> ResultRow:
        """A line of the file of results."""
        name = text_in(line.get("key"), "key")
        if line.get("response") is not None:
            return ResultRow(name, dump(object_in(line["response"], "response")))
        if line.get("error") is None:
            raise MalformedAnswerError("a result with neither response nor error")
        error = object_in(line["error"], "error")
        code = error.get("code")
        status = _STATUS_OF_RPC.get(code, code) if isinstance(code, int) else code
        return ResultRow(name, error=item_error(late_refusal({"error": {**error, "code": status}})))


async def _upload(link: Link, label: str, file: BinaryIO) -> str:
    """A resumable upload in two calls: the first gives the address of the second."""
    num_bytes = file.seek(0, 2)
    started = await link.call(
        "POST",
        _FILES,
        orjson.dumps({"file": {"displayName": label}}),
        {
            "X-Goog-Upload-Protocol": "resumable",
            "X-Goog-Upload-Command": "start",
            "X-Goog-Upload-Header-Content-Length": str(num_bytes),
            "X-Goog-Upload-Header-Content-Type": "application/jsonl",
        },
    )
    headers = {
        "X-Goog-Upload-Offset": "0",
        "X-Goog-Upload-Command": "upload, finalize",
        "Content-Type": "application/jsonl",
    }
    path = _own_path(link, started.headers.get("x-goog-upload-url", ""))
    ended = await link.call("POST", path, file, headers)
    try:
        name = object_in(orjson.loads(ended.body)["file"], "file")["name"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as err:
        raise BatchUnclearError("the upload's answer names no file") from err
    return text_in(name, "file.name")


def _own_path(link: Link, address: str) -> str:
    """The path of an upload's address, which must be at the host that has the key."""
    url, base = URL(address), URL(link.endpoint.base_url)
    if not url.is_absolute() or url.origin() != base.origin():
        raise TeacherUnavailableError(
            f"{link.endpoint.provider} wants the file at another address "
            f"({one_line(address) or 'none'}); a key is never sent on. Give that host's address."
        )
    return url.raw_path_qs.removeprefix(base.raw_path.rstrip("/"))


def _path(remote_id: str) -> str:
    return f"{_START}/{quote(remote_id.removeprefix('batches/'), safe='')}"


def _remote(operation: dict[str, Any]) -> RemoteBatch:
    metadata = object_in(operation.get("metadata"), "metadata")
    remote_id = text_in(operation.get("name") or metadata.get("name"), "name")
    if not remote_id:
        raise MalformedAnswerError("a batch without a name")
    state = text_in(metadata.get("state"), "metadata.state").rpartition("STATE_")[2]
    stats = object_in(metadata.get("batchStats"), "metadata.batchStats")
    output = object_in(metadata.get("output"), "metadata.output")
    output = output or object_in(operation.get("response"), "response")
    file_name = text_in(output.get("responsesFile"), "responsesFile")
    has_ended = state in _ENDED or bool(file_name)
    is_failed = state == "FAILED" and not file_name
    return RemoteBatch(
        id=remote_id,
        state="failed" if is_failed else "ended" if has_ended else "running",
        dialect="gemini",
        label=text_in(metadata.get("displayName"), "metadata.displayName"),
        num_requests=_number(stats.get("requestCount")),
        num_done=_number(stats.get("successfulRequestCount"))
        + _number(stats.get("failedRequestCount")),
        created_utc=time_of(metadata.get("createTime")),
        result_paths=(f"/download/v1beta/{quote(file_name)}:download?alt=media",)
        if file_name
        else (),
        unanswered=_unanswered(state, operation),
        note=state.lower(),
    )


def _unanswered(state: str, operation: dict[str, Any]) -> ItemError | None:
    if state in ("EXPIRED", "CANCELLED"):
        message = f"the batch ended before it ({state.lower()})"
        return ItemError(type=state.lower(), message=message, retryable=True)
    if state == "FAILED":
        said = object_in(operation.get("error"), "error").get("message")
        message = one_line(str(said or "the batch failed without a word"))
        return ItemError(type="batch_failed", message=message)
    return None


def _number(value: Any) -> int:
    """A count, which Google writes as text."""
    return int(value) if isinstance(value, int | str) and str(value).isdecimal() else 0
