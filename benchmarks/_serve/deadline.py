"""What clients of a cascade get, and when, while its teacher is out."""

import asyncio
import socket
from collections import Counter
from time import perf_counter
from typing import Any

import aiohttp
from benchmarks._serve.cascades import Subject, subject, teaching
from benchmarks._serve.options import ServeOptions
from benchmarks._serve.serving import serving

CHAT = "/v1/chat/completions"
_STRANGE = "zyxw vuts qponm {} zyxw 9999 vuts"  # no student is sure of this
_ASKED = 16  # at once, of each kind
_OUT = ("gone", "refuse", "hang", "break")


def measured(options: ServeOptions) -> dict[str, Any]:
    """Statuses and longest waits of each way to be out, with and without standing in."""
    return of_subject(subject(options), options)


def of_subject(found: Subject, options: ServeOptions) -> dict[str, Any]:
    """The same of any cascade."""
    ways: dict[str, Any] = {}
    with teaching(found.answers, options.work, delay_ms=options.teacher_ms) as teacher:
        for mode in _OUT:
            spec = f"http://127.0.0.1:{_free_port()}/v1#teacher" if mode == "gone" else teacher.spec
            if mode != "gone":
                teacher.be(mode)
            for stands_in in (False, True):
                memory = options.work / "deadline.watch.json"
                memory.unlink(missing_ok=True)
                flags = ["--teacher", spec, "--memory", str(memory)]
                flags += ["--ledger", str(options.work / "deadline.sqlite")]
                flags += [f"--deadline={options.deadline_s}"]
                flags += ["--stand-in"] if stands_in else []
                with serving(str(found.cascade), *flags) as port:
                    told = asyncio.run(_asked(port, found))
                ways[f"{mode}, student stands in" if stands_in else mode] = told
    longest_s = max(way["longest_s"] for way in ways.values())
    return {
        "deadline_s": options.deadline_s,
        "longest_over_deadline": longest_s / options.deadline_s,
        "undocumented": sum(way["undocumented"] for way in ways.values()),
        "ways": ways,
    }


async def _asked(port: int, found: Subject) -> dict[str, Any]:
    """Sixteen requests of users at once, then as many that are the teacher's."""
    told: list[tuple[int, float]] = []
    strange = [_STRANGE.format(number) for number in range(_ASKED)]
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        for texts in (list(found.answers)[:_ASKED], strange):
            told += await asyncio.gather(*(_ask(session, text) for text in texts))
    statuses = Counter(f"{status}" for status, _ in told)
    allowed = {"200", "502", "503", "504"}
    return {
        "statuses": dict(sorted(statuses.items())),
        "undocumented": sum(number for status, number in statuses.items() if status not in allowed),
        "longest_s": max(seconds for _, seconds in told),
    }


async def _ask(session: aiohttp.ClientSession, text: str) -> tuple[int, float]:
    begun = perf_counter()
    body = {"messages": [{"role": "user", "content": text}]}
    async with session.post(CHAT, json=body) as response:
        document = await response.json()
        assert ("choices" in document) == (response.status == 200), document
        return response.status, perf_counter() - begun


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
