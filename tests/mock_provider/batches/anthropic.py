"""Anthropic's message batches: requests inline, results as JSONL in any order."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from tests.mock_provider import endpoints
from tests.mock_provider.batches import jobs
from tests.mock_provider.dialects import reading
from tests.mock_provider.errors import ApiError
from tests.mock_provider.exchange import Incoming, Made, Outgoing
from tests.mock_provider.world import Job, World

START = "/v1/messages/batches"
_MOST_REQUESTS = 100_000
_NAME = re.compile(r"^[A-Za-z0-9_-]{1,64}$")
_RESULT_TYPES = {200: "succeeded", jobs.EXPIRED: "expired", jobs.CANCELLED: "canceled"}


def create(world: World, incoming: Incoming) -> Outgoing:
    """`POST /v1/messages/batches`."""
    body = reading.json_object(incoming.body)
    reading.only(body, ("requests",), "{}: Extra inputs are not permitted")
    requests = body.get("requests")
    if not isinstance(requests, list) or not 1 <= len(requests) <= _MOST_REQUESTS:
        raise ApiError("invalid", "requests: List should have 1 to 100000 items")
    read = [_read(at, request) for at, request in enumerate(requests)]
    if len({name for name, _, _ in read}) < len(read):
        raise ApiError("invalid", "requests: custom_id must be unique")
    job = Job(world.new_id("msgbatch_"), read, {"host": incoming.headers.get("host", "")})
    world.jobs["anthropic"][job.id] = job
    return Outgoing.of(_batch(job))


def batches(world: World, incoming: Incoming) -> Outgoing:
    """`GET /v1/messages/batches`, newest first."""
    rows = [_batch(job) for job in list(world.jobs["anthropic"].values())[::-1]]
    return Outgoing.of(endpoints.page(rows, incoming.query))


def batch(world: World, incoming: Incoming) -> Outgoing:
    """`GET` and `DELETE` of one, its `/cancel` and its `/results`."""
    name, _, rest = incoming.path.removeprefix(f"{START}/").partition("/")
    job = jobs.found(world, "anthropic", name)
    if rest == "results":
        return _results(job)
    if rest == "cancel":
        job.is_cancelled = job.ended_s is None
    elif incoming.method == "DELETE":
        del world.jobs["anthropic"][name]
        return Outgoing.of({"id": name, "type": "message_batch_deleted"})
    else:
        jobs.look(world, job, _make, "anthropic")
    return Outgoing.of(_batch(job))


def _read(at: int, request: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    name, params = request.get("custom_id"), request.get("params")
    if not isinstance(name, str) or not _NAME.match(name):
        message = f"requests.{at}.custom_id: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'"
        raise ApiError("invalid", message)
    if not isinstance(params, dict):
        raise ApiError("invalid", f"requests.{at}.params: Field required")
    return name, "/v1/messages", params


def _make(world: World, path: str, body: dict[str, Any]) -> Made:
    if body.get("stream") or body.get("max_tokens") == 0:
        raise ApiError("invalid", "stream and max_tokens 0 are not supported in batches.")
    return endpoints.make_message(world, body)


def _results(job: Job) -> Outgoing:
    if job.ended_s is None:
        raise ApiError("missing", "The results of this batch are not available yet.")
    lines = [orjson.dumps({"custom_id": name, "result": _result(status, body)})
             for name, status, body in job.results]  # fmt: skip
    return Outgoing(b"\n".join(lines) + b"\n", content_type="application/x-jsonl")


def _result(status: int | str, body: dict[str, Any]) -> dict[str, Any]:
    kind = _RESULT_TYPES.get(status, "errored")
    if kind == "succeeded":
        message = {**body, "usage": {**body["usage"], "service_tier": "batch"}}
        return {"type": kind, "message": message}
    return {"type": kind, "error": body} if kind == "errored" else {"type": kind}


def _batch(job: Job) -> dict[str, Any]:
    created = datetime.fromtimestamp(job.created_s, UTC)
    has_ended = job.ended_s is not None
    running = "canceling" if job.is_cancelled else "in_progress"
    url = f"http://{job.facts['host']}{START}/{job.id}/results"
    return {
        "id": job.id,
        "type": "message_batch",
        "processing_status": "ended" if has_ended else running,
        "request_counts": _counts(job),
        "created_at": created.isoformat(),
        "expires_at": (created + timedelta(hours=24)).isoformat(),
        "ended_at": datetime.fromtimestamp(job.ended_s, UTC).isoformat() if job.ended_s else None,
        "archived_at": None,
        "cancel_initiated_at": created.isoformat() if job.is_cancelled else None,
        "results_url": url if has_ended else None,
    }


def _counts(job: Job) -> dict[str, int]:
    counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
    if job.ended_s is None:
        return {**counts, "processing": len(job.requests)}
    for _, status, _ in job.results:
        counts[_RESULT_TYPES.get(status, "errored")] += 1
    return counts
