"""What a completion costs the client: CPU, time and memory, ours beside the peers.

Every client asks a fast mock provider in a process of its own the same prompts with the same number
of requests under way, and leaves the answers on disk. Each runs with few and with many prompts: the
difference is what a completion costs, and what starting costs falls out of it. Clients take turns.
"""

import tempfile
from pathlib import Path
from typing import Any

from benchmarks._collect.clients import OURS, Installed, answer_of, find_clients, write_prompts
from benchmarks._collect.options import Options
from benchmarks._parts.processes import cpu_time_s
from benchmarks._parts.spread import spread
from tests.mock_provider import MockProcess

_SMALL_FRACTION = 0.1
_CHEAP = ("stillhouse", "aiohttp")  # the others would take minutes for as many
_TOKENS = 60


def run(options: Options) -> dict[str, Any]:
    """Figures by client; see `_figures`."""
    found = find_clients(options.pythons)
    rounds: dict[str, list[dict[str, float]]] = {one.client.name: [] for one in found}
    with (
        tempfile.TemporaryDirectory() as folder,
        MockProcess(is_fast=True, num_tokens=[_TOKENS, _TOKENS], log="none") as mock,
    ):
        for number in range(options.rounds):
            for one in found:
                work_dir = Path(folder) / f"{one.client.name}-{number}"
                rounds[one.client.name].append(_round(one, mock, work_dir, options))
        mock_cpu_ms = cpu_time_s(mock.pid) / mock.counts()["received"] * 1e3
    clients = {
        one.client.name: {"version": one.version, **_summary(rounds[one.client.name])}
        for one in found
    }
    return {
        "concurrency": options.concurrency,
        "rounds": options.rounds,
        "completion_tokens": _TOKENS,
        "mock_cpu_ms": round(mock_cpu_ms, 4),
        "clients": clients,
    }


def _round(one: Installed, mock: MockProcess, work_dir: Path, options: Options) -> dict[str, float]:
    is_cheap = one.client.name in _CHEAP
    num_many = options.num_prompts if is_cheap else options.num_peer_prompts
    num_few = max(1, int(num_many * _SMALL_FRACTION))
    work_dir.mkdir()
    measured = {}
    for number in (num_few, num_many):
        prompts = write_prompts(work_dir / f"{number}.jsonl", number)
        ended = one.ask(mock.url, prompts, work_dir / str(number), options.concurrency)
        if answer_of(ended)["num_answers"] != number:
            raise RuntimeError(f"{one.client.name} answered {answer_of(ended)} of {number}")
        measured[number] = ended
    few, many = measured[num_few], measured[num_many]
    figures = {
        "num_prompts": num_many,
        "cpu_ms": slope(few.cpu_s, many.cpu_s, num_many - num_few) * 1e3,
        "per_s": 1 / slope(few.seconds, many.seconds, num_many - num_few),
        "start_cpu_s": few.cpu_s - slope(few.cpu_s, many.cpu_s, num_many - num_few) * num_few,
        "peak_rss_mb": many.peak_rss_mb,
    }
    if one.client is OURS:
        said = answer_of(many)
        figures["durable_cpu_ms"] = said["asking_cpu_s"] / num_many * 1e3
        figures["durable_per_s"] = num_many / said["asking_s"]
    return figures


def slope(few: float, many: float, num_more: int) -> float:
    """What each one more took.

    Raises:
        RuntimeError: the sizes are too small for the noise of the machine.
    """
    if many <= few:
        raise RuntimeError(f"{num_more} more took {many - few:g} more: measure with larger sizes")
    return (many - few) / num_more


def _summary(rounds: list[dict[str, float]]) -> dict[str, Any]:
    names = [name for name in rounds[0] if name != "num_prompts"]
    return {
        "num_prompts": rounds[0]["num_prompts"],
        **{name: spread([one[name] for one in rounds]) for name in names},
    }
