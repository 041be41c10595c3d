"""A collection is killed with SIGKILL over and over and then run to its end."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from loopback_chat import LoopbackChat, chat_json

from stillhouse.artifacts import check_files, check_rows_root, open_artifact
from stillhouse.records import Completion
from stillhouse.runlog import Ledger

NUM_PROMPTS = 700
NUM_KILLS = 20
CONCURRENCY = 16  # that of an http teacher

CHILD = """
import sys
from pathlib import Path
from stillhouse.collect import CollectConfig, collect

def listen(progress):
    print(progress.done, flush=True)

folder = Path(sys.argv[1])
collect(folder / "prompts.jsonl", folder / "out", teacher=sys.argv[2], config=CollectConfig(),
        on_progress=listen)
"""


async def slow_echo(number: int, body: dict[str, Any]) -> web.StreamResponse:
    await asyncio.sleep(0.03)
    return web.json_response(chat_json("answer to " + body["messages"][-1]["content"]))


def start(folder: Path, spec: str) -> "subprocess.Popen[bytes]":
    arguments = [sys.executable, "-c", CHILD, str(folder), spec]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE)


def kill_once_it_works(child: "subprocess.Popen[bytes]", *, after_s: float) -> int:
    """Wait for the first sign of life, then for a random moment; the last count it printed."""
    assert child.stdout is not None
    first_line = child.stdout.readline()
    time.sleep(after_s)
    os.kill(child.pid, signal.SIGKILL)
    rest = child.stdout.read()
    child.stdout.close()
    assert child.wait(10) == -signal.SIGKILL
    lines = (first_line + rest).split(b"\n")[:-1]  # what follows the last newline may be cut
    return int(lines[-1])


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
def test_twenty_kills_lose_no_completion_and_repeat_only_what_was_in_flight(
    tmp_path: Path,
) -> None:
    lines = [f'{{"prompt": "question {i}"}}' for i in range(NUM_PROMPTS)]
    (tmp_path / "prompts.jsonl").write_text("\n".join(lines))
    moments = random.Random(20261124)
    ledger_path = tmp_path / "ledger.sqlite"
    open_at_a_kill: Counter[str] = Counter()
    counted_before = 0
    with LoopbackChat(slow_echo) as server:
        spec = f"{server.url}#m"
        for _ in range(NUM_KILLS):
            child = start(tmp_path, spec)
            counted = kill_once_it_works(child, after_s=moments.uniform(0.0, 0.06))
            # What a run counted is in the ledger for the next one, whatever the kill hit.
            with Ledger(ledger_path) as ledger:
                assert ledger.totals().num_answered >= counted >= counted_before
                open_now = Counter(call.prompt_id for call in ledger.open_intents())
            counted_before = counted
            newly_open = open_now - open_at_a_kill
            assert newly_open.total() <= CONCURRENCY
            open_at_a_kill = open_now
        assert open_at_a_kill.total() >= NUM_KILLS  # the kills hit runs in the middle of asking
        num_before_last_run = len(server.bodies)
        assert num_before_last_run < NUM_PROMPTS  # every kill hit a run that had work left
        last = start(tmp_path, spec)
        assert last.stdout is not None
        last.stdout.read()
        last.stdout.close()
        assert last.wait(60) == 0
        asked = Counter(body["messages"][-1]["content"] for body in server.bodies)

    artifact = open_artifact(tmp_path / "out", kind="completions")
    check_files(artifact)
    check_rows_root(artifact)
    rows = list(artifact.rows("completions", Completion))
    assert [row.text for row in rows] == [f"answer to question {i}" for i in range(NUM_PROMPTS)]

    assert set(asked) == {f"question {i}" for i in range(NUM_PROMPTS)}
    prompt_ids = {f"question {i}": row.prompt_id for i, row in enumerate(rows)}
    for question, times in asked.items():
        # One call was answered; every further one was on the list of open calls at a kill.
        assert times - 1 <= open_at_a_kill[prompt_ids[question]]
    assert asked.total() - NUM_PROMPTS <= open_at_a_kill.total() <= NUM_KILLS * CONCURRENCY
    with Ledger(ledger_path) as ledger:
        assert Counter(call.prompt_id for call in ledger.open_intents()) == open_at_a_kill
        assert ledger.totals().num_answered == NUM_PROMPTS
