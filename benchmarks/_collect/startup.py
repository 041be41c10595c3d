"""How long the command line takes to say its help, and whom a collection talks to."""

import re
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks._collect.clients import OURS, Installed, find_clients, write_prompts
from benchmarks._collect.options import Options
from benchmarks._parts.processes import measure
from benchmarks._parts.spread import spread
from tests.mock_provider import MockProcess

_STARTS = 9
_PEER_STARTS = 3
_CONNECT = re.compile(
    r"connect\(\d+, \{sa_family=AF_INET6?, sin6?_port=htons\((\d+)\).*?\"([0-9a-f.:]+)\""
)


def run(options: Options) -> dict[str, Any]:
    """Seconds; and connections of each client to anywhere but the teacher."""
    found = find_clients(options.pythons)
    help_command = [sys.executable, "-m", "stillhouse", "--help"]
    help_s = [measure(help_command).checked().seconds for _ in range(_STARTS)]
    result: dict[str, Any] = {
        "help_s": spread(help_s),
        "import_s": {one.client.name: spread(_import_s(one)) for one in found},
    }
    if shutil.which("strace"):
        others = {one.client.name: _others(one, options) for one in found}
        result["num_other_connections"] = sum(others[OURS.name].values())
        result["other_connections"] = others
    return result


def _import_s(one: Installed) -> list[float]:
    command = [one.python, "-c", one.client.imports]
    starts = _STARTS if one.client is OURS else _PEER_STARTS
    return [measure(command).checked().seconds for _ in range(starts)]


def _others(one: Installed, options: Options) -> dict[str, int]:
    """Addresses that a whole run connects to, with how often, the teacher's left out."""
    with (
        tempfile.TemporaryDirectory() as folder,
        MockProcess(is_fast=True, log="none") as mock,
    ):
        prompts = write_prompts(Path(folder) / "prompts.jsonl", 100)
        out, trace = Path(folder) / "out", Path(folder) / "trace"
        out.mkdir()
        asks = one.command(mock.url, prompts, out, options.concurrency)
        strace = ["strace", "-f", "-qq", "-e", "trace=connect", "-o", str(trace)]
        measure([*strace, *asks]).checked()
        return other_addresses(trace.read_text(), f"127.0.0.1:{mock.port}")


def other_addresses(trace: str, teacher: str) -> dict[str, int]:
    """Internet addresses in the output of strace, with how often, but for `teacher`."""
    seen = Counter(f"{host}:{port}" for port, host in _CONNECT.findall(trace))
    return {address: times for address, times in sorted(seen.items()) if address != teacher}
