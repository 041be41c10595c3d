"""What SIGKILL costs: completions lost, and completions paid twice.

`stillhouse collect` is killed at random moments and started again until nothing is left, with
single calls and through a batch API; the mock provider counts what was paid. Then every client that
promises to go on is killed once in the middle of a run and started again.
"""

import random
import sys
import tempfile
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from benchmarks._collect.clients import OURS, Installed, find_clients, write_prompts
from benchmarks._collect.options import Options
from benchmarks._parts.processes import kill, measure, start
from tests.mock_provider import MockProcess

from stillhouse.artifacts import check_files, open_artifact
from stillhouse.records import Completion
from stillhouse.runlog import Ledger

_SEED = 20261124
_LATENCY_S = 0.05
_ARRIVES_S = 0.1  # what was sent before a kill is at the provider by then
_TIMEOUT_S = 120.0
_PROMPTS_FOR_EACH_KILL = 400
_PEER_PROMPTS = 5_000
_BATCH = ["--tier", "batch", "--set", "access.batch_size=250", "--set", "access.batch_wait_s=0.05"]
_BATCHES = {"polls": 3, "seconds": 0.5}


def run(options: Options) -> dict[str, Any]:
    """Counts by mode, and what each client had to ask again after one kill."""
    return {
        "concurrency": options.concurrency,
        "latency_s": _LATENCY_S,
        "single": _kill_often(options, is_batch=False),
        "batch": _kill_often(options, is_batch=True),
        "one_kill": {
            one.client.name: _kill_once(one, options)
            for one in find_clients(options.pythons)
            if one.client.is_resumable
        },
    }


class _Standing(NamedTuple):
    """Completions in the ledger, and those that were paid and are not in it."""

    num_answered: int
    num_unanswered: int


class _Collection:
    """A collection by the command line that can be killed and started again."""

    def __init__(self, mock: MockProcess, folder: Path, options: Options, *, is_batch: bool):
        self.mock = mock
        self.folder = folder
        self.num_prompts = _PROMPTS_FOR_EACH_KILL * max(1, options.num_kills)
        prompts = write_prompts(folder / "prompts.jsonl", self.num_prompts)
        command = [sys.executable, "-m", "stillhouse", "collect", str(prompts), "--json"]
        command += ["--out", str(folder / "out"), "--teacher", "openai:mock-small"]
        tail = _BATCH if is_batch else ["--concurrency", str(options.concurrency)]
        self.command = command + tail
        self.env = {
            "OPENAI_BASE_URL": mock.base_url("openai_chat"),
            "OPENAI_API_KEY": "benchmark-key-0123456789",
        }

    def kill_after(self, pause_s: float) -> bool:
        """Start, wait for its first request and then `pause_s`, kill; whether it still ran."""
        num_before = self.mock.counts()["received"]
        child = start(self.command, env=self.env)
        while child.poll() is None and self.mock.counts()["received"] == num_before:
            time.sleep(0.005)
        time.sleep(pause_s)
        still_ran = child.poll() is None
        kill(child)
        child.wait()
        return still_ran

    def standing(self) -> _Standing:
        """After a kill: what the ledger has, and what was paid beyond that so far."""
        time.sleep(_ARRIVES_S)
        with Ledger(self.folder / "ledger.sqlite") as ledger:
            num_answered = ledger.totals().num_answered
        return _Standing(num_answered, self.mock.counts()["paid"] - num_answered)

    def finish(self) -> None:
        """Run it to its end."""
        measure(self.command, env=self.env, timeout_s=_TIMEOUT_S).checked()


def _kill_often(options: Options, *, is_batch: bool) -> dict[str, int]:
    moments = random.Random(_SEED)
    with (
        tempfile.TemporaryDirectory() as folder,
        MockProcess(latency={"first_s": _LATENCY_S}, batch=_BATCHES) as mock,
    ):
        collection = _Collection(mock, Path(folder), options, is_batch=is_batch)
        num_kills = 0
        standings = [_Standing(0, 0)]
        for _ in range(options.num_kills):
            num_kills += collection.kill_after(moments.uniform(0.0, 0.4))
            standings.append(collection.standing())
        collection.finish()
        forgotten = sum(max(0, a.num_answered - b.num_answered) for a, b in pairwise(standings))
        figures = {"num_kills": num_kills, **_bill(collection, forgotten)}
        if is_batch:
            return figures
        most = max(b.num_unanswered - a.num_unanswered for a, b in pairwise(standings))
        return {
            **figures,
            "most_paid_twice_of_one_kill": most,
            "paid_twice_unlisted": _num_unlisted(collection),
        }


def _bill(collection: _Collection, num_forgotten: int) -> dict[str, int]:
    artifact = open_artifact(collection.folder / "out", kind="completions")
    check_files(artifact)
    answered = {row.prompt_id for row in artifact.rows("completions", Completion) if row.text}
    paid = collection.mock.counts()["paid"]
    return {
        "num_prompts": collection.num_prompts,
        "lost": num_forgotten + collection.num_prompts - len(answered),
        "paid_twice": paid - collection.num_prompts,
        "listed": len(artifact.manifest.results["calls_maybe_paid"]),
    }


def _num_unlisted(collection: _Collection) -> int:
    """Calls beyond the first for a prompt that the list of maybe paid ones does not have."""
    artifact = open_artifact(collection.folder / "out", kind="completions")
    listed = Counter(call["prompt_id"] for call in artifact.manifest.results["calls_maybe_paid"])
    rows = map(orjson.loads, (collection.folder / "prompts.jsonl").read_bytes().splitlines())
    names = {row["prompt"]: row["id"] for row in rows}
    asked = Counter(
        names[orjson.loads(one["body"])["messages"][-1]["content"]]
        for one in collection.mock.log()
        if one["is_paid"]
    )
    return sum(max(0, number - 1 - listed[name]) for name, number in asked.items())


def _kill_once(one: Installed, options: Options) -> dict[str, Any]:
    """Kill in the middle, start again: what was kept, and what was paid again."""
    num_prompts = _PEER_PROMPTS if options.num_kills > 1 else _PEER_PROMPTS // 10
    with (
        tempfile.TemporaryDirectory() as folder,
        MockProcess(is_fast=True, latency={"first_s": _LATENCY_S}, log="none") as mock,
    ):
        prompts = write_prompts(Path(folder) / "prompts.jsonl", num_prompts)
        out = Path(folder) / "out"
        out.mkdir()
        command = one.command(mock.url, prompts, out, options.concurrency)
        child = start(command)
        while mock.counts()["paid"] < num_prompts // 2 and child.poll() is None:
            time.sleep(0.01)
        kill(child)
        child.wait()
        paid_before = mock.counts()["paid"]
        started_s = time.perf_counter()
        ended = measure(command, timeout_s=_TIMEOUT_S)
        paid = mock.counts()["paid"]
    return {
        "version": one.version,
        "num_prompts": num_prompts,
        "paid_before_kill": paid_before,
        "paid_after_kill": paid - paid_before,
        "paid_twice": max(0, paid - num_prompts),
        "has_finished": ended.exit_code == 0,
        "second_start_s": round(time.perf_counter() - started_s, 1),
        "is_ours": one.client is OURS,
    }
