"""What the 20 most probable tokens at each of 240 places cost: CPU, and bytes on disk."""

import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks._collect.clients import Installed, answer_of, find_ours, write_prompts
from benchmarks._collect.cost import slope
from benchmarks._collect.options import Options
from benchmarks._parts.processes import measure
from benchmarks._parts.spread import spread
from tests.mock_provider import MockProcess

_TOKENS = 240
_TOP = 20
_CONFIG = json.dumps({"sampling": {"max_tokens": 256, "top_logprobs": _TOP}})
_SMALL_FRACTION = 0.2


def run(options: Options) -> dict[str, Any]:
    """Figures of a whole collection, by the difference of a small and a large one."""
    ours = find_ours(options.pythons)
    few, many = int(options.num_logprobs * _SMALL_FRACTION), options.num_logprobs
    rounds = []
    with MockProcess(
        is_fast=True, num_tokens=[_TOKENS, _TOKENS], has_lifelike_logprobs=True, log="none"
    ) as mock:
        for _ in range(options.rounds):
            small, large = (_ask(ours, mock, number, options) for number in (few, many))
            rounds.append(
                {name: slope(small[name], large[name], many - few) for name in small}
                | {"durable_cpu_s": large["durable_cpu_s"] / many}
            )
    return {
        "tokens": _TOKENS,
        "top_logprobs": _TOP,
        "num_prompts": many,
        "cpu_ms": spread([one["cpu_s"] * 1e3 for one in rounds]),
        "durable_cpu_ms": spread([one["durable_cpu_s"] * 1e3 for one in rounds]),
        "per_s": spread([1 / one["seconds"] for one in rounds]),
        "ledger_bytes_per_token": spread([one["ledger_bytes"] / _TOKENS for one in rounds]),
        "artifact_bytes_per_token": spread([one["artifact_bytes"] / _TOKENS for one in rounds]),
    }


def _ask(ours: Installed, mock: MockProcess, number: int, options: Options) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prompts = write_prompts(folder / "prompts.jsonl", number)
        command = ours.command(mock.url, prompts, folder, options.concurrency)
        ended = measure([*command, _CONFIG]).checked()
        said = answer_of(ended)
        assert said["num_answers"] == number
        return {
            "cpu_s": ended.cpu_s,
            "durable_cpu_s": said["asking_cpu_s"],
            "seconds": ended.seconds,
            "ledger_bytes": _size_bytes(folder.glob("ledger.sqlite*")),
            "artifact_bytes": _size_bytes((folder / "completions").rglob("completions*")),
        }


def _size_bytes(paths: Any) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file())
