"""How a job goes on: by being looked at, and by time."""

import random
import time
from collections.abc import Callable
from typing import Any

import orjson

from tests.mock_provider.errors import ApiError
from tests.mock_provider.exchange import Made
from tests.mock_provider.world import Job, World

Make = Callable[[World, str, dict[str, Any]], Made]
EXPIRED = "expired"
CANCELLED = "cancelled"


def look(world: World, job: Job, make: Make, family: str) -> int:
    """Look at a job once more, and run it when its time has come.

    Returns:
        How many looks are still needed; 0 where it has ended.
    """
    if job.ended_s is not None:
        return 0
    settings = world.settings.batch
    job.num_polls += 1
    left = settings.polls + 1 - job.num_polls
    is_due = left <= 0 and time.time() >= job.created_s + settings.seconds
    if not (is_due or job.is_cancelled):
        return max(1, left)
    job.is_failed = settings.is_failing
    if not job.is_failed:
        job.results = _run(world, job, make, family)
    job.ended_s = time.time()
    return 0


def found(world: World, family: str, name: str) -> Job:
    """A job by its id, or a 404."""
    if name not in world.jobs[family]:
        raise ApiError("missing", f"No batch found with id '{name}'.")
    return world.jobs[family][name]


def _run(
    world: World, job: Job, make: Make, family: str
) -> list[tuple[str, int | str, dict[str, Any]]]:
    settings = world.settings.batch
    num_done = round(len(job.requests) * (1 - settings.expired_fraction))
    results: list[tuple[str, int | str, dict[str, Any]]] = []
    for at, (name, path, body) in enumerate(job.requests):
        if job.is_cancelled:
            results.append((name, CANCELLED, {}))
        elif at >= num_done:
            results.append((name, EXPIRED, {}))
        else:
            results.append((name, *_answer(world, path, body, make, family)))
    if settings.order_seed is not None:
        random.Random(settings.order_seed).shuffle(results)
    return results


def _answer(
    world: World, path: str, body: dict[str, Any], make: Make, family: str
) -> tuple[int, dict[str, Any]]:
    failing = world.settings.batch.failing
    try:
        if failing and failing in orjson.dumps(body).decode():
            raise ApiError("server_error", "The request failed in the batch.")
        made = make(world, path, body)
    except ApiError as error:
        return error.status(family), orjson.loads(error.body(family))
    world.count_paid(made.replies[0].counts.prompt, made.completion_tokens)
    return 200, made.whole()
