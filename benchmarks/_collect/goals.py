"""What is promised of collecting."""

from collections.abc import Iterator
from typing import Any

from benchmarks._parts.goals import Goal


def _goals(
    part: str, size_path: tuple[str, ...], least_size: float, *lines: tuple[Any, ...]
) -> Iterator[Goal]:
    """Goals of one part; a line is words, path below the part, limit, unit, is_least, scale."""
    for words, path, *rest in lines:
        size = (part, *size_path) if size_path else ()
        yield Goal(words, (part, *path), *rest, size_path=size, least_size=least_size)


_OURS = ("clients", "stillhouse")
_RATE = (*_OURS, "durable_per_s")

GOALS = (
    *_goals(
        "cost",
        (*_OURS, "num_prompts"),
        20_000,
        ("CPU per durable completion", (*_OURS, "durable_cpu_ms", "median"), 0.25, "ms"),
        (
            "durable completions, one process",
            (*_OURS, "durable_per_s", "median"),
            2_500,
            "/s",
            True,
        ),
    ),
    *_goals(
        "logprobs",
        ("num_prompts",),
        500,
        ("CPU per durable one, top-20 logprobs of 240", ("durable_cpu_ms", "median"), 8, "ms"),
        ("the same, artefact included", ("cpu_ms", "median"), 8, "ms"),
        ("of these in the ledger, each token", ("ledger_bytes_per_token", "median"), 130, "B"),
        ("of these in the artefact, each token", ("artifact_bytes_per_token", "median"), 130, "B"),
    ),
    *_goals(
        "kills",
        ("single", "num_kills"),
        20,
        ("lost over 20 kills", ("single", "lost"), 0),
        # Twice the concurrency is claimed: under way, or answered and not on disk yet.
        ("paid twice of one kill, 128 claimed", ("single", "most_paid_twice_of_one_kill"), 128),
        ("paid twice and not listed", ("single", "paid_twice_unlisted"), 0),
    ),
    *_goals(
        "kills",
        ("batch", "num_kills"),
        20,
        ("lost over 20 kills, in batches", ("batch", "lost"), 0),
        ("paid twice, in batches", ("batch", "paid_twice"), 0),
    ),
    *_goals(
        "resume",
        ("num_done",),
        1_000_000,
        ("first new request with 1,000,000 done", ("first_request_s", "median"), 5, "s"),
        ("the same, a prompt was added", ("first_request_after_append_s",), 5, "s"),
    ),
    *_goals(
        "memory",
        ("num_prompts",),
        1_000_000,
        ("memory growth from 10,000 to 1,000,000 prompts", ("growth_mb",), 64, "MB"),
    ),
    *(
        goal
        for short in ("requests", "tokens")
        for goal in _goals(
            "limits",
            ("steady_s",),
            180,
            (f"limit used, {short} short", (short, "used_fraction"), 97, "%", True, 100.0),
            (f"refused (429), {short} short", (short, "refused_fraction"), 0.5, "%", False, 100.0),
            (f"settled after a halved limit, {short} short", (short, "settled_s"), 10, "s"),
        )
    ),
    *_goals(
        "budget",
        ("num_runs",),
        1_000,
        ("budget overshoot, 1,000 random runs", ("worst_overshoot_usd",), 0, "USD"),
    ),
    *_goals(
        "startup",
        (),
        0,
        ("`stillhouse --help`", ("help_s", "median"), 0.25, "s"),
        ("connections to others than the teacher", ("num_other_connections",), 0),
    ),
)
