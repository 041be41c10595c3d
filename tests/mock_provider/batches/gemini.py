"""Gemini's batches: requests inline or in an uploaded file, results the same way."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from tests.mock_provider import endpoints
from tests.mock_provider.batches import jobs
from tests.mock_provider.dialects import reading
from tests.mock_provider.errors import ApiError
from tests.mock_provider.exchange import Incoming, Made, Outgoing
from tests.mock_provider.world import Job, StoredFile, World

_CREATE = re.compile(r"^/v1beta/models/([^:/]+):batchGenerateContent$")
_TYPE = "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch"
_EXPIRED = {"code": 4, "message": "The request was not processed in time."}
_MOST_INLINE_BYTES = 20_000_000


def create(world: World, incoming: Incoming) -> Outgoing:
    """`POST /v1beta/models/{model}:batchGenerateContent`."""
    found = _CREATE.match(incoming.path)
    if found is None:
        raise ApiError("missing", f"Not found: {incoming.path}")
    if len(incoming.body) > _MOST_INLINE_BYTES:
        raise ApiError("too_large", "Request payload size exceeds the limit: 20971520 bytes.")
    given = reading.json_object(incoming.body).get("batch") or {}
    source = given.get("inputConfig") or {}
    model = reading.known_model(found[1])
    facts = {"name": given.get("displayName", ""), "model": model, "file": source.get("fileName")}
    requests = _read_file(world, source["fileName"], model) if facts["file"] else []
    for at, each in enumerate((source.get("requests") or {}).get("requests") or ()):
        key = (each.get("metadata") or {}).get("key", str(at))
        requests.append((key, model, each["request"]))
    if not requests:
        raise ApiError("invalid", "batch.input_config: must have at least one request")
    job = Job(world.new_id("batch"), requests, facts)
    world.jobs["gemini"][job.id] = job
    return Outgoing.of(_operation(job, 1))


def batches(world: World, incoming: Incoming) -> Outgoing:
    """`GET /v1beta/batches`, newest first, paged by `pageToken`."""
    newest = list(world.jobs["gemini"].values())[::-1]
    size, start = int(incoming.query.get("pageSize", 50)), int(incoming.query.get("pageToken") or 0)
    rows = [_operation(job, 1) for job in newest[start : start + size]]
    more = {"nextPageToken": str(start + size)} if start + size < len(newest) else {}
    return Outgoing.of({"operations": rows, **more})


def batch(world: World, incoming: Incoming) -> Outgoing:
    """`GET` and `DELETE /v1beta/batches/{id}`, and its `:cancel`."""
    name, _, rest = incoming.path.removeprefix("/v1beta/batches/").partition(":")
    job = jobs.found(world, "gemini", name)
    if rest == "cancel":
        job.is_cancelled = job.ended_s is None
        return Outgoing.of({})
    if incoming.method == "DELETE":
        del world.jobs["gemini"][name]
        return Outgoing.of({})
    left = jobs.look(world, job, _make, "gemini")
    if not left and job.facts["file"] and "output" not in job.facts and _has_output(job):
        _write_file(world, job)
    return Outgoing.of(_operation(job, left))


def start_upload(world: World, incoming: Incoming) -> Outgoing:
    """`POST /upload/v1beta/files`: begins a resumable upload, then takes its bytes."""
    token = incoming.query.get("upload_id")
    if token is None:
        token = world.new_id("upload-")
        given = reading.json_object(incoming.body or b"{}").get("file") or {}
        world.uploads[token] = {"name": given.get("displayName", ""), "content": b""}
        url = f"http://{incoming.headers.get('host', '')}/upload/v1beta/files?upload_id={token}"
        return Outgoing(b"{}", headers={"x-goog-upload-url": url, "x-goog-upload-status": "active"})
    upload = world.uploads[token]
    upload["content"] += incoming.body
    if "finalize" not in incoming.headers.get("x-goog-upload-command", ""):
        return Outgoing(b"{}", headers={"x-goog-upload-status": "active"})
    kept = StoredFile(world.new_id("f"), upload["name"], "batch", upload["content"])
    world.files[kept.id] = kept
    written = orjson.dumps({"file": _file(kept)})
    return Outgoing(written, headers={"x-goog-upload-status": "final"})


def file(world: World, incoming: Incoming) -> Outgoing:
    """`GET` and `DELETE /v1beta/files/{id}`, and its `:download`."""
    name, _, rest = incoming.path.rpartition("/files/")[2].partition(":")
    if name not in world.files:
        raise ApiError("missing", f"You do not have access to the File {name} or it may not exist.")
    if incoming.method == "DELETE":
        del world.files[name]
        return Outgoing.of({})
    if rest == "download":
        return Outgoing(world.files[name].content, content_type="application/octet-stream")
    return Outgoing.of(_file(world.files[name]))


def _read_file(world: World, name: str, model: str) -> list[tuple[str, str, dict[str, Any]]]:
    kept = world.files.get(name.removeprefix("files/"))
    if kept is None:
        raise ApiError("missing", f"File {name} was not found.")
    rows = [orjson.loads(line) for line in kept.content.split(b"\n") if line.strip()]
    return [(row.get("key", str(at)), model, row["request"]) for at, row in enumerate(rows)]


def _make(world: World, model: str, body: dict[str, Any]) -> Made:
    return endpoints.make_content(world, body, model, is_stream=False)


def _has_output(job: Job) -> bool:
    return any(status not in (jobs.EXPIRED, jobs.CANCELLED) for _, status, _ in job.results)


def _state(job: Job, left: int) -> str:
    if job.ended_s is None:
        return "PENDING" if job.num_polls <= 1 else "RUNNING"
    if job.is_failed:
        return "FAILED"
    if job.is_cancelled:
        return "CANCELLED"
    return "SUCCEEDED" if _has_output(job) else "EXPIRED"


def _result(status: int | str, body: dict[str, Any]) -> dict[str, Any]:
    if status == 200:
        return {"response": body}
    return {"error": _EXPIRED if isinstance(status, str) else body["error"]}


def _write_file(world: World, job: Job) -> None:
    lines = [
        orjson.dumps({"key": key, **_result(status, body)}) for key, status, body in job.results
    ]
    kept = StoredFile(world.new_id("f"), f"{job.id}.jsonl", "batch", b"\n".join(lines) + b"\n")
    world.files[kept.id] = kept
    job.facts["output"] = f"files/{kept.id}"


def _output(job: Job) -> dict[str, Any]:
    if job.facts["file"]:
        return {"responsesFile": job.facts["output"]}
    inline = [
        {"metadata": {"key": key}, **_result(status, body)} for key, status, body in job.results
    ]
    return {"inlinedResponses": {"inlinedResponses": inline}}


def _operation(job: Job, left: int) -> dict[str, Any]:
    created = datetime.fromtimestamp(job.created_s, UTC)
    name = f"batches/{job.id}"
    statuses = [status for _, status, _ in job.results]
    num_good = statuses.count(200)
    metadata: dict[str, Any] = {
        "@type": _TYPE,
        "model": f"models/{job.facts['model']}",
        "displayName": job.facts["name"],
        "name": name,
        "createTime": created.isoformat().replace("+00:00", "Z"),
        "updateTime": (created + timedelta(seconds=1)).isoformat().replace("+00:00", "Z"),
        "state": f"BATCH_STATE_{_state(job, left)}",
        # Google writes 64-bit integers as strings.
        "batchStats": {
            "requestCount": str(len(job.requests)),
            "successfulRequestCount": str(num_good),
            "failedRequestCount": str(len(statuses) - num_good),
            "pendingRequestCount": str(len(job.requests) - len(statuses)),
        },
    }
    if job.ended_s is None:
        return {"name": name, "metadata": metadata}
    ended = datetime.fromtimestamp(job.ended_s, UTC).isoformat().replace("+00:00", "Z")
    metadata["endTime"] = ended
    if not _has_output(job):
        state = _state(job, left).lower()
        error = {"code": 13, "message": f"The batch is {state}."}
        return {"name": name, "metadata": metadata, "done": True, "error": error}
    output = _output(job)
    return {"name": name, "metadata": {**metadata, "output": output}, "done": True,
            "response": {"@type": _TYPE, **output}}  # fmt: skip


def _file(kept: StoredFile) -> dict[str, Any]:
    now = datetime.fromtimestamp(kept.created_s, UTC).isoformat().replace("+00:00", "Z")
    return {
        "name": f"files/{kept.id}",
        "displayName": kept.name,
        "mimeType": "application/jsonl",
        "sizeBytes": str(len(kept.content)),
        "createTime": now,
        "updateTime": now,
        "state": "ACTIVE",
        "source": "UPLOADED",
    }
