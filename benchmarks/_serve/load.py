"""A client that asks as fast as it can, or at a rate, and says how long answers took.

    python -m benchmarks._serve.load PORT BODIES.jsonl --connections 64 --seconds 5 [--rate 100]

HTTP/1.1 by hand: a client library would take more of the cores than the server does.
"""

import argparse
import asyncio
import json
from pathlib import Path
from time import perf_counter

PATH = "/v1/decisions"


class Connection:
    """One connection that is kept open."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def open(self) -> None:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        await self._writer.wait_closed()

    async def ask(self, request: bytes) -> bytes:
        """Send a request, read its whole answer, and give its head.

        Raises:
            RuntimeError: the answer is an error.
        """
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        body = await self._reader.readexactly(length)
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"{head!r} {body!r}")
        return head


def requests_of(bodies: Path, path: str = PATH) -> list[bytes]:
    """Each line as a request."""
    made = []
    for line in bodies.read_bytes().splitlines():
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        made.append(f"{head}Content-Length: {len(line)}\r\n\r\n".encode() + line)
    return made


async def flood(port: int, requests: list[bytes], connections: int, seconds: float) -> list[float]:
    """Seconds of each answer where every connection asks again at once."""
    until = perf_counter() + seconds
    took: list[float] = []

    async def ask(start: int) -> None:
        connection = Connection(port)
        await connection.open()
        place = start
        try:
            while perf_counter() < until:
                begun = perf_counter()
                await connection.ask(requests[place % len(requests)])
                took.append(perf_counter() - begun)
                place += connections
        finally:
            await connection.close()

    await asyncio.gather(*(ask(start) for start in range(connections)))
    return took


async def paced(port: int, requests: list[bytes], rate: float, seconds: float) -> list[float]:
    """Seconds of each answer from when it was due, at a fixed rate: waiting counts."""
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(32):
        connection = Connection(port)
        await connection.open()
        free.put_nowait(connection)
    took: list[float] = []
    begun = perf_counter()

    async def ask(place: int) -> None:
        due = begun + place / rate
        await asyncio.sleep(max(0.0, due - perf_counter()))
        connection = await free.get()
        await connection.ask(requests[place % len(requests)])
        took.append(perf_counter() - due)
        free.put_nowait(connection)

    await asyncio.gather(*(ask(place) for place in range(int(rate * seconds))))
    while not free.empty():
        await free.get_nowait().close()
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("port", type=int)
    parser.add_argument("bodies", type=Path)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=float)
    given = parser.parse_args()
    requests = requests_of(given.bodies)
    begun = perf_counter()
    if given.rate:
        took = asyncio.run(paced(given.port, requests, given.rate, given.seconds))
    else:
        took = asyncio.run(flood(given.port, requests, given.connections, given.seconds))
    seconds = perf_counter() - begun
    took.sort()
    print(
        json.dumps(
            {
                "requests": len(took),
                "requests_per_s": len(took) / seconds,
                "p50_ms": 1000 * took[len(took) // 2],
                "p99_ms": 1000 * took[int(0.99 * len(took))],
            }
        )
    )


if __name__ == "__main__":
    main()
