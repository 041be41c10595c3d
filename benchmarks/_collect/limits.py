"""How much of an account's limits is used, and how often it has to refuse.

`stillhouse collect` asks a mock provider with limits in real time: once where requests are what is
short, once where tokens are. Its counters are read several times a second. The first minute, with
its full buckets, does not count; then comes the steady time, then the limits are halved.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._collect.clients import Installed, find_ours, write_prompts
from benchmarks._collect.options import Options
from benchmarks._parts.processes import kill, start
from tests.mock_provider import MockProcess

RPM = 600
TPM = 200_000
MOST_REFUSED = 0.005
_READ_EVERY_S = 0.2
_HALVED_S = 90.0
_LATENCY_S = 0.5
_LENGTHS = {"requests": [40, 80], "tokens": [300, 600]}
_FIRST_S = 60.0


@dataclass(frozen=True)
class Reading:
    """The account's counters at a moment."""

    at_s: float
    served: int
    tokens: int
    refused: int


def run(options: Options) -> dict[str, Any]:
    """Shares and seconds by what is short."""
    ours = find_ours(options.pythons)
    return {
        "rpm": RPM,
        "tpm": TPM,
        "latency_s": _LATENCY_S,
        "steady_s": options.steady_s,
        **{short: _run(ours, options, lengths) for short, lengths in _LENGTHS.items()},
    }


def _run(ours: Installed, options: Options, lengths: list[int]) -> dict[str, Any]:
    first_s = min(_FIRST_S, options.steady_s)
    halved_s = min(_HALVED_S, options.steady_s)
    with (
        tempfile.TemporaryDirectory() as folder,
        MockProcess(
            num_tokens=lengths,
            limits={"rpm": RPM, "tpm": TPM},
            latency={"first_s": _LATENCY_S, "spread": "exponential"},
            requires_key=False,
            log="none",
        ) as mock,
    ):
        most_s = 60.0 + first_s + options.steady_s + halved_s
        prompts = write_prompts(Path(folder) / "prompts.jsonl", int(2 * RPM * most_s / 60))
        command = ours.command(mock.url, prompts, Path(folder), options.concurrency)
        child = start(command, stderr=None)
        try:
            _wait_for_request(mock)
            started = _read_for(mock, first_s)
            steady = _read_for(mock, options.steady_s)
            mock.change(limits={"rpm": RPM / 2, "tpm": TPM / 2})
            halved = _read_for(mock, halved_s)
            if child.poll() is not None:
                raise RuntimeError(f"the collection ended early, with {child.returncode}")
        finally:
            kill(child)
            child.wait()
    return {
        "used_fraction": round(used_fraction(steady, RPM, TPM), 4),
        "refused_fraction": round(refused_fraction([*started, *steady]), 5),
        "refused_first_minute": started[-1].refused - started[0].refused,
        "refused_steady": steady[-1].refused - steady[0].refused,
        "used_fraction_halved": round(used_fraction(halved, RPM / 2, TPM / 2), 4),
        "refused_halved": halved[-1].refused - halved[0].refused,
        "settled_s": settled_s(halved),
    }


def used_fraction(readings: list[Reading], rpm: float, tpm: float) -> float:
    """Of the limit that is used most: what was served over what could be."""
    first, last = readings[0], readings[-1]
    minutes = (last.at_s - first.at_s) / 60
    requests = (last.served - first.served) / (rpm * minutes)
    return max(requests, (last.tokens - first.tokens) / (tpm * minutes))


def refused_fraction(readings: list[Reading]) -> float:
    """Of the requests between the first and the last reading."""
    first, last = readings[0], readings[-1]
    refused = last.refused - first.refused
    return refused / max(1, refused + last.served - first.served)


def settled_s(readings: list[Reading]) -> float | None:
    """Seconds after the first reading until refusals are rare in all that follows; None if never.

    What follows must be a quarter of the whole time at least.
    """
    first, last = readings[0], readings[-1]
    latest_s = last.at_s - (last.at_s - first.at_s) / 4
    for number, reading in enumerate(readings):
        if reading.at_s > latest_s:
            return None
        if refused_fraction(readings[number:]) <= MOST_REFUSED:
            return round(reading.at_s - first.at_s, 1)
    return None


def _wait_for_request(mock: MockProcess) -> None:
    gives_up_s = time.monotonic() + 30.0
    while not mock.counts()["received"]:
        if time.monotonic() > gives_up_s:
            raise RuntimeError("no request came within 30 s")
        time.sleep(0.05)


def _read_for(mock: MockProcess, seconds: float) -> list[Reading]:
    ends_s = time.monotonic() + seconds
    readings = [_reading(mock)]
    while time.monotonic() < ends_s:
        time.sleep(_READ_EVERY_S)
        readings.append(_reading(mock))
    return readings


def _reading(mock: MockProcess) -> Reading:
    counts = mock.counts()
    tokens = counts["paid_prompt_tokens"] + counts["paid_completion_tokens"]
    refused = sum(counts["refused_by_limit"].values())
    return Reading(time.monotonic(), counts["paid"], tokens, refused)
