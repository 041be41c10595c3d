"""A collection is killed with SIGKILL over and over and then run to its end."""

import asyncio
import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from cli_process import start
from loopback_chat import LoopbackChat, chat_json

from stillhouse.artifacts import check_files, check_rows_root, open_artifact
from stillhouse.records import Completion
from stillhouse.runlog import Ledger

NUM_PROMPTS = 700
NUM_KILLS = 20
MOST_OPEN = 2 * 16  # what the teacher of a URL takes in hand at once


async def slow_echo(number: int, body: dict[str, Any]) -> web.StreamResponse:
    await asyncio.sleep(0.03)
    return web.json_response(chat_json("answer to " + body["messages"][-1]["content"]))


def start_collect(folder: Path, server: LoopbackChat) -> "subprocess.Popen[str]":
    arguments = ("collect", "prompts.jsonl", "--teacher", f"{server.url}#m", "--out", "out")
    return start(*arguments, "--json", cwd=folder)


def kill_once_it_asks(
    child: "subprocess.Popen[str]", server: LoopbackChat, *, after_s: float
) -> None:
    """Wait for its first request, then for a random moment."""
    num_before = len(server.bodies)
    while len(server.bodies) == num_before:
        assert child.poll() is None, child.communicate()
        time.sleep(0.005)
    time.sleep(after_s)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate(timeout=10)
    assert child.returncode == -signal.SIGKILL


def asked_of(server: LoopbackChat) -> Counter[str]:
    return Counter(body["messages"][-1]["content"] for body in server.bodies)


class Standing:
    """What the ledger says after a kill: answered prompts, and how often each was open at one."""

    def __init__(self, ledger_path: Path) -> None:
        with Ledger(ledger_path) as ledger:
            self.num_answered = ledger.totals().num_answered
            self.open_now = Counter(call.prompt_id for call in ledger.open_calls())
            self.lost = Counter(call.prompt_id for call in ledger.lost_calls())
        self.maybe_paid = self.open_now + self.lost


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
def test_twenty_kills_lose_no_completion_and_repeat_only_what_was_in_flight(
    tmp_path: Path,
) -> None:
    questions = {f"p{i}": f"question {i}" for i in range(NUM_PROMPTS)}
    rows = [orjson.dumps({"id": id_, "prompt": text}) for id_, text in questions.items()]
    (tmp_path / "prompts.jsonl").write_bytes(b"\n".join(rows))
    moments = random.Random(20261124)
    ledger_path = tmp_path / "ledger.sqlite"
    before = Standing(ledger_path)
    with LoopbackChat(slow_echo) as server:
        for _ in range(NUM_KILLS):
            child = start_collect(tmp_path, server)
            kill_once_it_asks(child, server, after_s=moments.uniform(0.0, 0.12))
            now = Standing(ledger_path)
            # No answer is ever forgotten, and what was open at an earlier kill stays listed.
            assert now.num_answered >= before.num_answered
            assert now.lost == before.maybe_paid
            assert 0 < now.open_now.total() <= MOST_OPEN
            # Whatever left the machine was written down before: it is answered or listed.
            asked = asked_of(server)
            assert asked.total() <= now.num_answered + now.maybe_paid.total()
            before = now
        assert len(server.bodies) < NUM_PROMPTS  # every kill hit a run that had work left
        last = start_collect(tmp_path, server)
        _, err = last.communicate(timeout=60)
        assert last.returncode == 0, err
        asked = asked_of(server)

    artifact = open_artifact(tmp_path / "out", kind="completions")
    check_files(artifact)
    check_rows_root(artifact)
    texts = {row.prompt_id: row.text for row in artifact.rows("completions", Completion)}
    assert texts == {id_: f"answer to {text}" for id_, text in questions.items()}

    assert set(asked) == set(questions.values())
    for id_, text in questions.items():
        # One call was answered; every further one was on the list of open calls at a kill.
        assert asked[text] - 1 <= before.maybe_paid[id_]
    end = Standing(ledger_path)
    assert (end.num_answered, end.open_now.total()) == (NUM_PROMPTS, 0)
    assert end.lost == before.maybe_paid
    listed = artifact.manifest.results["calls_maybe_paid"]
    assert Counter(call["prompt_id"] for call in listed) == end.lost
    assert end.lost.total() <= NUM_KILLS * MOST_OPEN
