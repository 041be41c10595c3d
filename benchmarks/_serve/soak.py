"""A cascade for an hour: clients that hang up, broken bodies, a teacher that is out now and then.

Each request ends in one of a few ways, the server counts what the client counts, and the memory of
the server is looked at every second.
"""

import asyncio
import json
import random
import statistics
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import aiohttp
from benchmarks._serve.cascades import RunningTeacher, Subject, subject, teaching
from benchmarks._serve.options import ServeOptions
from benchmarks._serve.serving import serving_process

from stillhouse.runlog import Ledger

CHAT = "/v1/chat/completions"
_DEADLINE_S = 5.0
_SEED = 11
_KINDS = {"whole": 70, "stream": 15, "leave": 5, "leave_stream": 5, "broken": 5}
_BROKEN = (
    b"{not json",
    b"[]",
    b'{"messages": []}',
    b'{"messages": [{"role": "nobody", "content": "x"}]}',
    b'{"messages": [{"role": "user", "content": "x"}], "n": 0}',
    b"\xff\xfe",
)
_OUTAGES = ("refuse", "hang", "break")
_OUT_FRACTION = 0.1  # of the time
_ROUNDS = 12  # outages in all
_DOCUMENTED = {"200", "502", "503", "504"}


@dataclass
class Tally:
    """What the client saw.

    Attributes:
        sent: Requests by kind.
        ended: How they ended: a status, `whole stream`, `error in stream`, `left`.
        wrong: What should not have been, in words, the first of each kind.
        rss_kb: Of the server, once a second.
    """

    sent: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    rss_kb: list[int] = field(default_factory=list)


def measured(options: ServeOptions) -> dict[str, Any]:
    """The soak of Banking77's cascade."""
    return of_subject(subject(options), options)


def of_subject(
    found: Subject, options: ServeOptions, *, strange_fraction: float = 0.0
) -> dict[str, Any]:
    """The same of any cascade.

    Args:
        found: The cascade.
        options: How long and how fast.
        strange_fraction: Share of the texts that no student is sure of.
    """
    ledger, memory = options.work / "soak.sqlite", options.work / "soak.watch.json"
    for path in (ledger, memory):
        path.unlink(missing_ok=True)
    tally = Tally()
    draws = random.Random(_SEED)
    asked = [_Asked(draws, list(found.answers), strange_fraction) for _ in range(_num(options))]
    with teaching(found.answers, options.work, delay_ms=options.teacher_ms) as teacher:
        flags = ["--teacher", teacher.spec, "--ledger", str(ledger), "--memory", str(memory)]
        flags += [f"--deadline={_DEADLINE_S}"]
        with serving_process(str(found.cascade), *flags) as (port, pid):
            page = asyncio.run(_soak(port, pid, teacher, asked, options, tally))
    with Ledger(ledger) as opened:
        totals = opened.totals()
    return _judged(tally, page, options, num_open=totals.num_open, num_calls=totals.num_calls)


async def _soak(
    port: int,
    pid: int,
    teacher: RunningTeacher,
    asked: "list[_Asked]",
    options: ServeOptions,
    tally: Tally,
) -> str:
    seconds = options.minutes * 60
    begun = perf_counter()
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=_DEADLINE_S + 15)
    watching = asyncio.create_task(_watch_memory(pid, tally))
    breaking = asyncio.create_task(_break_teacher(teacher, seconds))
    async with aiohttp.ClientSession(
        f"http://127.0.0.1:{port}", connector=connector, timeout=timeout
    ) as session:
        running = set()
        for place, one in enumerate(asked):
            await asyncio.sleep(max(0.0, begun + place / options.soak_rate - perf_counter()))
            task = asyncio.create_task(_one(session, one, tally))
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.gather(*running)
        breaking.cancel()
        watching.cancel()
        await asyncio.gather(breaking, watching, return_exceptions=True)
        await asyncio.sleep(0.5)  # for what the server still has to notice of those who left
        async with session.get("/metrics") as response:
            return await response.text()


class _Asked:
    """One request, drawn beforehand so that every run sends the same.

    Attributes:
        kind: One of `_KINDS`.
        body: What is sent.
        leaves_after_s: When a client of the kind `leave` hangs up.
    """

    def __init__(self, draws: random.Random, texts: list[str], strange_fraction: float) -> None:
        (self.kind,) = draws.choices(list(_KINDS), list(_KINDS.values()))
        self.leaves_after_s = draws.uniform(0.0, 0.03)
        text = draws.choice(texts)
        if draws.random() < strange_fraction:
            text = f"zyxw vuts qponm {draws.random()}"
        fields: dict[str, Any] = {"messages": [{"role": "user", "content": text}]}
        if self.kind in ("stream", "leave_stream"):
            fields["stream"] = True
        is_broken = self.kind == "broken"
        self.body = draws.choice(_BROKEN) if is_broken else json.dumps(fields).encode()


def _num(options: ServeOptions) -> int:
    return int(options.minutes * 60 * options.soak_rate)


async def _one(session: aiohttp.ClientSession, asked: _Asked, tally: Tally) -> None:
    tally.sent[asked.kind] += 1
    try:
        await _ended(session, asked, tally)
    except (aiohttp.ClientError, TimeoutError, AssertionError, ValueError) as err:
        tally.ended["lost"] += 1
        tally.wrong[f"{asked.kind}: {type(err).__name__}: {str(err)[:80]}"] += 1


async def _ended(session: aiohttp.ClientSession, asked: _Asked, tally: Tally) -> None:
    kind, body = asked.kind, asked.body
    headers = {"Content-Type": "application/json"}
    if kind == "leave":
        with suppress(TimeoutError):
            async with asyncio.timeout(asked.leaves_after_s):
                async with session.post(CHAT, data=body, headers=headers) as response:
                    await response.read()
        tally.ended["left"] += 1
        return
    async with session.post(CHAT, data=body, headers=headers) as response:
        if kind == "leave_stream":
            response.close()
            tally.ended["left"] += 1
            return
        raw = await response.read()
        status = str(response.status)
        if kind == "broken":
            assert status == "400", f"status {status} to a broken body"
            assert "error" in json.loads(raw)
        elif status != "200":
            assert status in _DOCUMENTED, f"status {status}"
            assert "error" in json.loads(raw)
        elif kind == "whole":
            assert json.loads(raw)["choices"][0]["message"]["content"]
        else:
            is_whole = raw.endswith(b"data: [DONE]\n\n")
            assert is_whole != (b'data: {"error"' in raw), "a stream without an end"
            status = "whole stream" if is_whole else "error in stream"
        tally.ended[status] += 1


async def _break_teacher(teacher: RunningTeacher, seconds: float) -> None:
    """Outages of one kind after the other, evenly over the time."""
    period_s = seconds / _ROUNDS
    out_s = min(period_s * _OUT_FRACTION, 20.0)
    for number in range(_ROUNDS):
        await asyncio.sleep(period_s - out_s)
        await asyncio.to_thread(teacher.be, _OUTAGES[number % len(_OUTAGES)])
        await asyncio.sleep(out_s)
        await asyncio.to_thread(teacher.be, "ok")


async def _watch_memory(pid: int, tally: Tally) -> None:
    while True:
        tally.rss_kb.append(_rss_kb(pid))
        await asyncio.sleep(1.0)


def _rss_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise RuntimeError(f"process {pid} has no memory")


def _judged(
    tally: Tally, page: str, options: ServeOptions, *, num_open: int, num_calls: int
) -> dict[str, Any]:
    counted = _counted(page)
    num_sent, num_ended = tally.sent.total(), tally.ended.total()
    # Who hangs up before the server has read the request is nobody that it knows of.
    num_unseen = max(0, num_sent - sum(counted.values()))
    tenth = max(1, len(tally.rss_kb) // 10)
    # The first tenth warms up; the second is the beginning.
    first, last = tally.rss_kb[tenth : 2 * tenth] or tally.rss_kb[:1], tally.rss_kb[-tenth:]
    growth = statistics.mean(last) / statistics.mean(first) - 1
    undocumented = {
        status: number
        for status, number in counted.items()
        if status not in _DOCUMENTED | {"400", "left"}
    }
    answered = sum(
        number
        for ended, number in tally.ended.items()
        if ended in ("200", "whole stream", "error in stream")
    )
    return {
        "minutes": options.minutes,
        "rate": options.soak_rate,
        "sent": dict(tally.sent),
        "ended": dict(sorted(tally.ended.items())),
        "server": counted,
        "lost": num_sent - num_ended + tally.ended["lost"],
        "wrong": dict(tally.wrong.most_common(10)),
        "undocumented": sum(undocumented.values()),
        "left": tally.ended["left"],
        "unseen": num_unseen,
        "miscounted": _miscounted(tally, counted, answered, num_unseen),
        "rss_mb": {"first": statistics.mean(first) / 1024, "last": statistics.mean(last) / 1024},
        "rss_growth": growth,
        "ledger": {"calls": num_calls, "open": num_open},
    }


def _miscounted(tally: Tally, counted: dict[str, int], answered: int, num_unseen: int) -> int:
    """How far the server's counts are from the client's.

    A client that hung up may have been answered before the server noticed, so that those are the
    room between the two counts of each status; of all other requests there is none.
    """
    room = tally.ended["left"]
    off = max(0, answered - counted.get("200", 0))
    for status in ("400", "502", "503", "504"):
        off += max(0, tally.ended[status] - counted.get(status, 0))
    total = sum(counted.values()) + num_unseen
    return off + abs(tally.sent.total() - total) + max(0, num_unseen - room)


def _counted(page: str) -> dict[str, int]:
    """The server's own counts of chats, by status."""
    counts: Counter[str] = Counter()
    for line in page.splitlines():
        if line.startswith("stillhouse_requests_total{") and f'path="{CHAT}"' in line:
            status = line.partition('status="')[2].partition('"')[0]
            counts[status] += int(line.rpartition(" ")[2])
    return dict(sorted(counts.items()))
