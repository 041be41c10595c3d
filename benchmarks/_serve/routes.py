"""A client that asks chats at a fixed rate, and says how long each route took.

    python -m benchmarks._serve.routes PORT CHATS.jsonl --rate 100 --seconds 5

Times are from when a request was due: waiting counts. An answer without a route is the teacher's.
"""

import argparse
import asyncio
import json
from collections import defaultdict
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks._serve.load import Connection, requests_of

CHAT = "/v1/chat/completions"
_CONNECTIONS = 64
_ROUTE = b"x-stillhouse-route:"


async def by_route(
    port: int, requests: list[bytes], rate: float, seconds: float
) -> dict[str, list[float]]:
    """Seconds of the answers of each route."""
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(_CONNECTIONS):
        connection = Connection(port)
        await connection.open()
        free.put_nowait(connection)
    took: dict[str, list[float]] = defaultdict(list)
    begun = perf_counter()

    async def ask(place: int) -> None:
        due = begun + place / rate
        await asyncio.sleep(max(0.0, due - perf_counter()))
        connection = await free.get()
        head = await connection.ask(requests[place % len(requests)])
        took[route_in(head)].append(perf_counter() - due)
        free.put_nowait(connection)

    await asyncio.gather(*(ask(place) for place in range(int(rate * seconds))))
    while not free.empty():
        await free.get_nowait().close()
    return took


def route_in(head: bytes) -> str:
    """Who answered, by the headers of an answer."""
    _, found, rest = head.lower().partition(_ROUTE)
    return rest.split(b"\r\n")[0].strip().decode() if found else "teacher"


def summary(took: list[float]) -> dict[str, Any]:
    """How many there were, and the median and 99th percentile in milliseconds."""
    ordered = sorted(took)
    return {
        "requests": len(ordered),
        "p50_ms": 1000 * ordered[len(ordered) // 2],
        "p99_ms": 1000 * ordered[int(0.99 * len(ordered))],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("port", type=int)
    parser.add_argument("bodies", type=Path)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()
    requests = requests_of(given.bodies, CHAT)
    took = asyncio.run(by_route(given.port, requests, given.rate, given.seconds))
    print(json.dumps({route: summary(times) for route, times in took.items()}))


if __name__ == "__main__":
    main()
