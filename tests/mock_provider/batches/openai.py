"""OpenAI's files and batches: JSONL up, JSONL down, errors in a file of their own."""

from typing import Any

import orjson

from tests.mock_provider import endpoints
from tests.mock_provider.batches import jobs
from tests.mock_provider.dialects import reading
from tests.mock_provider.errors import ApiError
from tests.mock_provider.exchange import Incoming, Made, Outgoing
from tests.mock_provider.world import Job, StoredFile, World

_MOST_LINES = 50_000
_MOST_BYTES = 200_000_000
_MAKERS = {
    "/v1/chat/completions": endpoints.make_chat,
    "/v1/responses": endpoints.make_response,
}
_EXPIRED = {
    "code": "batch_expired",
    "message": "This request could not be executed before the completion window expired.",
}


def upload(world: World, incoming: Incoming) -> Outgoing:
    """`POST /v1/files`, a form with `purpose` and `file`."""
    form = form_parts(incoming.headers.get("content-type", ""), incoming.body)
    if "file" not in form or "purpose" not in form:
        raise ApiError("invalid", "Missing required parameter: 'file'.", param="file")
    if len(form["file"][1]) > _MOST_BYTES:
        raise ApiError("too_large", "File is too large for its purpose.")
    name, content = form["file"]
    purpose = form["purpose"][1].decode()
    file = StoredFile(world.new_id("file-"), name, purpose, content)
    world.files[file.id] = file
    return Outgoing.of(_file(file))


def files(world: World, incoming: Incoming) -> Outgoing:
    """`GET /v1/files`, optionally of one purpose."""
    purpose = incoming.query.get("purpose")
    kept = [_file(file) for file in world.files.values() if purpose in (None, file.purpose)]
    return Outgoing.of(endpoints.page(kept, {"limit": "10000", **incoming.query}))


def file(world: World, incoming: Incoming) -> Outgoing:
    """`GET` and `DELETE /v1/files/{id}`, `GET /v1/files/{id}/content`."""
    name, _, rest = incoming.path.removeprefix("/v1/files/").partition("/")
    if name not in world.files:
        raise ApiError("missing", f"No such File object: {name}", param="id")
    if incoming.method == "DELETE":
        del world.files[name]
        return Outgoing.of({"id": name, "object": "file", "deleted": True})
    kept = world.files[name]
    if rest == "content":
        return Outgoing(kept.content, content_type="application/octet-stream")
    return Outgoing.of(_file(kept))


def create(world: World, incoming: Incoming) -> Outgoing:
    """`POST /v1/batches`."""
    body = reading.json_object(incoming.body)
    reading.need(body, "input_file_id", "endpoint", "completion_window")
    reading.one_of(body["completion_window"], "completion_window", ("24h",))
    reading.one_of(body["endpoint"], "endpoint", _MAKERS)
    if body["input_file_id"] not in world.files:
        raise ApiError("invalid", f"No such File object: {body['input_file_id']}")
    job = Job(world.new_id("batch_"), [], body)
    try:
        content = world.files[body["input_file_id"]].content
        job.requests = _read_lines(content, body["endpoint"])
    except _LineError as error:
        job.facts = {**body, "error": error.args}
        job.is_failed, job.ended_s = True, job.created_s
    world.jobs["openai"][job.id] = job
    return Outgoing.of(_batch(job, "validating"))


def batches(world: World, incoming: Incoming) -> Outgoing:
    """`GET /v1/batches`, newest first."""
    newest = list(world.jobs["openai"].values())[::-1]
    rows = [_batch(job, _status(job, 1)) for job in newest]
    return Outgoing.of(endpoints.page(rows, incoming.query))


def batch(world: World, incoming: Incoming) -> Outgoing:
    """`GET /v1/batches/{id}`, and its `/cancel`."""
    name, _, rest = incoming.path.removeprefix("/v1/batches/").partition("/")
    job = jobs.found(world, "openai", name)
    if rest == "cancel":
        job.is_cancelled = job.ended_s is None
        return Outgoing.of(_batch(job, "cancelling" if job.is_cancelled else _status(job, 0)))
    left = jobs.look(world, job, _make, "openai")
    if not left and not job.is_failed:
        _write_files(world, job)
    return Outgoing.of(_batch(job, _status(job, left)))


def form_parts(content_type: str, body: bytes) -> dict[str, tuple[str, bytes]]:
    """The parts of a multipart form: (file name, content) by the name of the field."""
    _, _, boundary = content_type.partition("boundary=")
    parts: dict[str, tuple[str, bytes]] = {}
    for part in body.split(b"--" + boundary.strip('"').encode())[1:-1]:
        head, _, content = part[2:-2].partition(b"\r\n\r\n")
        line = next(x for x in head.decode().split("\r\n") if x.lower().startswith("content-disp"))
        given = dict(piece.strip().split("=", 1) for piece in line.split(";")[1:])
        parts[given["name"].strip('"')] = (given.get("filename", "").strip('"'), content)
    return parts


class _LineError(Exception):
    """(code, line, message): why an input file is refused."""


def _read_lines(content: bytes, endpoint: str) -> list[tuple[str, str, dict[str, Any]]]:
    lines = [line for line in content.split(b"\n") if line.strip()]
    if not lines or len(lines) > _MOST_LINES:
        raise _LineError("invalid_file", None, f"The file has {len(lines)} lines.")
    requests: dict[str, tuple[str, str, dict[str, Any]]] = {}
    for number, line in enumerate(lines, 1):
        try:
            row = orjson.loads(line)
            name, url, body = row["custom_id"], row["url"], row["body"]
        except (orjson.JSONDecodeError, KeyError, TypeError) as err:
            raise _LineError("invalid_json_line", number, "This line is not a request.") from err
        if name in requests:
            raise _LineError("duplicate_custom_id", number, f"Duplicate custom_id: {name}.")
        if url != endpoint or row.get("method") != "POST":
            raise _LineError("mismatched_endpoint", number, f"{url} is not {endpoint}.")
        requests[name] = (name, url, body)
    if len({body.get("model") for _, _, body in requests.values()}) > 1:
        raise _LineError("mismatched_model", None, "All requests must be for one model.")
    return list(requests.values())


def _make(world: World, path: str, body: dict[str, Any]) -> Made:
    if body.get("stream"):
        raise ApiError("invalid", "Streaming is not supported in the Batch API.", param="stream")
    return _MAKERS[path](world, body)


def _status(job: Job, left: int) -> str:
    if job.is_failed:
        return "failed"
    if job.ended_s is None:
        return "cancelling" if job.is_cancelled else _running(job.num_polls, left)
    if job.is_cancelled:
        return "cancelled"
    is_expired = any(status == jobs.EXPIRED for _, status, _ in job.results)
    return "expired" if is_expired else "completed"


def _running(num_polls: int, left: int) -> str:
    if num_polls <= 1:
        return "validating"
    return "finalizing" if left == 1 and num_polls > 2 else "in_progress"


def _write_files(world: World, job: Job) -> None:
    if "files" in job.facts:
        return
    good: list[bytes] = []
    bad: list[bytes] = []
    for name, status, body in job.results:
        (good if status == 200 else bad).append(orjson.dumps(_line(job.id, name, status, body)))
    job.facts["files"] = {}
    for kind, lines in (("output", good), ("error", bad)):
        if lines:
            content = b"\n".join(lines) + b"\n"
            file_id = world.new_id("file-")
            kept = StoredFile(file_id, f"{job.id}_{kind}.jsonl", "batch_output", content)
            world.files[file_id] = kept
            job.facts["files"][kind] = file_id


def _line(job_id: str, name: str, status: int | str, body: dict[str, Any]) -> dict[str, Any]:
    line = {"id": f"batch_req_{job_id}_{name}", "custom_id": name, "response": None, "error": None}
    if status in (jobs.EXPIRED, jobs.CANCELLED):
        cancelled = {"code": "batch_cancelled", "message": "The batch was cancelled."}
        return {**line, "error": _EXPIRED if status == jobs.EXPIRED else cancelled}
    response = {"status_code": status, "request_id": f"req_{name}", "body": body}
    return {**line, "response": response}


def _file(kept: StoredFile) -> dict[str, Any]:
    return {
        "id": kept.id,
        "object": "file",
        "bytes": len(kept.content),
        "created_at": int(kept.created_s),
        "expires_at": None,
        "filename": kept.name,
        "purpose": kept.purpose,
        "status": "processed",
        "status_details": None,
    }


def _batch(job: Job, status: str) -> dict[str, Any]:
    created = int(job.created_s)
    ended = None if job.ended_s is None else int(job.ended_s)
    written = job.facts.get("files", {})
    statuses = [each for _, each, _ in job.results]
    ends = {f"{name}_at": ended if status == name else None for name in _ENDS}
    return {
        "id": job.id,
        "object": "batch",
        "endpoint": job.facts["endpoint"],
        "input_file_id": job.facts["input_file_id"],
        "completion_window": "24h",
        "status": status,
        "errors": _errors(job),
        "output_file_id": written.get("output"),
        "error_file_id": written.get("error"),
        "created_at": created,
        "in_progress_at": created,
        "expires_at": created + 86_400,
        "finalizing_at": ended,
        **ends,
        "request_counts": {
            "total": len(job.requests),
            "completed": statuses.count(200),
            "failed": len(statuses) - statuses.count(200),
        },
        "metadata": job.facts.get("metadata"),
        "usage": _usage(job),
    }


_ENDS = ("completed", "failed", "expired", "cancelling", "cancelled")


def _errors(job: Job) -> dict[str, Any] | None:
    if not job.is_failed:
        return None
    code, line, message = job.facts.get("error", ("internal_error", None, "The batch failed."))
    return {"object": "list", "data": [{"code": code, "line": line, "message": message,
                                        "param": None}]}  # fmt: skip


def _usage(job: Job) -> dict[str, Any]:
    used = [body["usage"] for _, status, body in job.results if status == 200]
    prompt = sum(each.get("prompt_tokens", each.get("input_tokens", 0)) for each in used)
    completion = sum(each.get("completion_tokens", each.get("output_tokens", 0)) for each in used)
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt + completion,
    }
