"""What the proxy adds to a call: the same calls with and without it, on the loopback.

    python benchmarks/proxy.py [--calls 1600] [--rounds 5] [--latency 0.05] [--json FILE]

16 callers at once, each with one connection, ask a mock provider in a process of its own that takes
a fixed time to answer, straight and through `stillhouse proxy` (a process of its own as well, which
records every call), in turns. Whole answers of 60 tokens, and streams of the same. The figures are
medians over the rounds: the time of a call and, for streams, to their first byte; the proxy's CPU
per call; and how many calls per second get through where the provider takes no time at all. Calls
begin at random moments, or all would meet in one queue that no application has.
"""

import argparse
import asyncio
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks._machine import host
from benchmarks._parts.processes import cpu_time_s
from benchmarks._result import publish
from tests.mock_provider import MockProcess

AT_ONCE = 16
NUM_TOKENS = 60
LISTENING = re.compile(r"listening at (http://\S+)")
HEADERS = {"Authorization": "Bearer benchmark-key-0123456789", "Content-Type": "application/json"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=1600, help="calls of each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--latency", type=float, default=0.05, help="of the provider, seconds")
    parser.add_argument("--json", type=Path, help="where to write the result")
    arguments = parser.parse_args()
    result = {
        "machine": {**host(), "aiohttp": aiohttp.__version__},
        "callers": AT_ONCE,
        "calls": arguments.calls,
        "rounds": arguments.rounds,
        "latency_s": arguments.latency,
        **measure(arguments.calls, arguments.rounds, arguments.latency),
    }
    publish(result, arguments.json)


def measure(num_calls: int, num_rounds: int, latency_s: float) -> dict[str, Any]:
    settings = {"num_tokens": [NUM_TOKENS, NUM_TOKENS], "log": "none"}
    result: dict[str, Any] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        MockProcess(**settings, latency={"first_s": latency_s}) as mock,
        proxy_to(mock, Path(folder) / "ledger.sqlite") as (proxy, process),
    ):
        for name, is_streamed in (("whole", False), ("stream", True)):
            rounds: dict[str, list[dict[str, float]]] = {"direct": [], "proxy": []}
            for number in range(num_rounds + 1):
                for way, url in (("direct", mock.base_url("openai_chat")), ("proxy", proxy)):
                    cpu_s = cpu_time_s(process.pid)
                    figures = asyncio.run(ask_all(url, num_calls, latency_s, is_streamed))
                    figures["proxy_cpu_ms"] = (cpu_time_s(process.pid) - cpu_s) / num_calls * 1e3
                    if number:  # the first round warms up
                        rounds[way].append(figures)
            result[name] = summary(rounds)
        mock.change(latency={"first_s": 0.0})
        result["saturated_calls_per_s"] = {
            way: round(asyncio.run(throughput(url, num_calls)))
            for way, url in (("direct", mock.base_url("openai_chat")), ("proxy", proxy))
        }
    return result


def summary(rounds: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    def median(way: str, name: str) -> float:
        return statistics.median(each[name] for each in rounds[way])

    names = [name for name in rounds["direct"][0] if name.endswith("_ms") and "cpu" not in name]
    return {
        **{way: {name: round(median(way, name), 3) for name in names} for way in rounds},
        "added": {name: round(median("proxy", name) - median("direct", name), 3) for name in names},
        "proxy_cpu_ms_per_call": round(median("proxy", "proxy_cpu_ms"), 3),
    }


async def ask_all(
    url: str, num_calls: int, latency_s: float, is_streamed: bool
) -> dict[str, float]:
    times_ms: list[float] = []
    firsts_ms: list[float] = []
    numbers = iter(range(num_calls))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_ONCE)) as session:

        async def caller(seed: int) -> None:
            pause = random.Random(seed)
            for number in numbers:
                await asyncio.sleep(pause.uniform(0.0, latency_s))
                first_ms, time_ms = await ask(session, url, number, is_streamed)
                firsts_ms.append(first_ms)
                times_ms.append(time_ms)

        await asyncio.gather(*(caller(seed) for seed in range(AT_ONCE)))
    figures = {"p50_ms": percentile(times_ms, 50), "p99_ms": percentile(times_ms, 99)}
    if is_streamed:
        figures["first_byte_p50_ms"] = percentile(firsts_ms, 50)
    return figures


async def throughput(url: str, num_calls: int) -> float:
    numbers = iter(range(num_calls))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_ONCE)) as session:

        async def caller() -> None:
            for number in numbers:
                await ask(session, url, number, False)

        started_s = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
        return num_calls / (time.perf_counter() - started_s)


async def ask(
    session: aiohttp.ClientSession, url: str, number: int, is_streamed: bool
) -> tuple[float, float]:
    """Milliseconds to the first byte of the body, and to the last."""
    text = f"Report number {number} of the harbour master. " + "The tide was high. " * 30
    body: dict[str, Any] = {"model": "mock-small", "messages": [{"role": "user", "content": text}]}
    if is_streamed:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    started_s = time.perf_counter()
    async with session.post(
        f"{url}/chat/completions", data=orjson.dumps(body), headers=HEADERS
    ) as response:
        response.raise_for_status()
        await response.content.readany()
        first_s = time.perf_counter() - started_s
        await response.read()
    return first_s * 1e3, (time.perf_counter() - started_s) * 1e3


@contextmanager
def proxy_to(mock: MockProcess, ledger: Path) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    command = [sys.executable, "-m", "stillhouse", "proxy", "--to", "openai", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--ledger", str(ledger), "--json"],
        env={**os.environ, "OPENAI_BASE_URL": mock.base_url("openai_chat")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    found = LISTENING.search(process.stderr.readline())
    assert found is not None
    try:
        yield f"{found[1]}/v1", process
    finally:
        process.send_signal(signal.SIGINT)
        counts = json.loads(process.communicate(timeout=60)[0])
        assert counts["num_calls"] == counts["num_answers"], counts


def percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


if __name__ == "__main__":
    main()
