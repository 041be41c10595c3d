"""A collection through batches is killed with SIGKILL at every step, and then run to its end."""

import os
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest
from batch_cases import APIS, WIRES, jobs_of, variables_of
from tests.mock_provider import MockProvider, headline

from stillhouse.artifacts import check_files, open_artifact
from stillhouse.records import Completion
from stillhouse.runlog import Ledger

NUM_PROMPTS = 8
MOST_STEPS = 40
FIRST_WIRE = (WIRES[0], *(pytest.param(name, marks=pytest.mark.slow) for name in WIRES[1:]))
SLOW_S = 0.08  # an answer takes so long that a kill comes between the work and the answer

FORKS = """
import os, sys, traceback
from pathlib import Path
import aiohttp, pyarrow.parquet  # what a collection loads only once it needs it
from stillhouse.collect import CollectConfig, collect

folder, spec = Path(sys.argv[1]), sys.argv[2]
access = {"tier": "batch", "batch_wait_s": 0.01, "batch_size": 3}
config = CollectConfig.model_validate({"access": access})
for _ in sys.stdin:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            collect(folder / "prompts.jsonl", folder / "out", teacher=spec, config=config)
            code = 0
        except BaseException:
            traceback.print_exc()
        os._exit(code)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
"""A process for each line, forked from one that has loaded all but done nothing yet."""


class Crash:
    """A collection that is killed and started again; use it in a `with`."""

    def __init__(self, provider: MockProvider, name: str, folder: Path) -> None:
        self.provider = provider
        self.api = APIS[name]
        self.folder = folder
        self.environment = {**os.environ, **variables_of(self.api, provider)}
        lines = [f'{{"prompt": "rain number {at} of the day"}}' for at in range(NUM_PROMPTS)]
        (folder / "prompts.jsonl").write_text("\n".join(lines))

    def __enter__(self) -> Self:
        arguments = [sys.executable, "-c", FORKS, str(self.folder), self.api.spec]
        self.forks = subprocess.Popen(
            arguments,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,  # nothing is read ahead of what is waited for
        )
        return self

    def __exit__(self, *raised: object) -> None:
        self.forks.kill()
        self.forks.communicate(timeout=10)

    def run_until(self, num_requests: int, *, pause_s: float) -> bool:
        """Run, and kill after so many requests; whether it came to its end before."""
        start = self.provider.count
        assert self.forks.stdin is not None
        assert self.forks.stdout is not None
        self.forks.stdin.write(b"\n")
        pid = int(self.forks.stdout.readline())
        while self.provider.count < start + num_requests:
            if select.select([self.forks.stdout], [], [], 0.002)[0]:
                assert int(self.forks.stdout.readline()) == 0
                return True
        time.sleep(pause_s)
        with suppress(ProcessLookupError):  # it came to its end meanwhile
            os.kill(pid, signal.SIGKILL)
        return int(self.forks.stdout.readline()) == 0

    def check(self) -> None:
        """Everything was answered, paid once, and no batch was left behind."""
        artifact = open_artifact(self.folder / "out", kind="completions")
        check_files(artifact)
        texts = [row.text for row in artifact.rows("completions", Completion)]
        # The mock writes a request's seed behind the headline.
        headlines = [text.partition(" (")[0] for text in texts]
        assert headlines == [headline(f"rain number {at} of the day") for at in range(NUM_PROMPTS)]
        assert self.provider.world.num_paid == NUM_PROMPTS
        jobs = jobs_of(self.provider, self.api)
        assert all(job.ended_s is not None for job in jobs)
        # No request is in two batches, not even in one that nobody looked at.
        asked = Counter(str(body) for job in jobs for _, _, body in job.requests)
        assert len(asked) == NUM_PROMPTS
        assert set(asked.values()) == {1}
        with Ledger(self.folder / "ledger.sqlite") as ledger:
            named = {str(batch.remote_id).removeprefix("batches/") for batch in ledger.batches()}
            assert named - {"None"} == {job.id for job in jobs}
            assert {batch.state for batch in ledger.batches()} <= {"settled", "failed"}
            totals = ledger.totals()
        assert (totals.num_answered, totals.num_lost, totals.num_open) == (NUM_PROMPTS, 0, 0)


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
@pytest.mark.parametrize("name", FIRST_WIRE)
def test_a_kill_at_each_request_in_turn_orphans_nothing_and_pays_nothing_twice(
    tmp_path: Path, name: str
) -> None:
    # The first process is killed at its first request, the next one at its second, and so on:
    # those after a kill also have to find out what it left behind.
    with (
        MockProvider(latency={"first_s": SLOW_S}, batch={"polls": 1}) as provider,
        Crash(provider, name, tmp_path) as crash,
    ):
        for step in range(1, MOST_STEPS):
            pause_s = SLOW_S / 2 if step % 2 else SLOW_S * 1.2
            if crash.run_until(step, pause_s=pause_s):
                break
        assert step >= 5  # kills of a run that had nothing to do would prove nothing
        crash.check()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
@pytest.mark.parametrize("is_answered", [False, True])
@pytest.mark.parametrize("step", range(1, 13))
@pytest.mark.parametrize("name", WIRES)
def test_one_kill_at_any_request_orphans_nothing_and_pays_nothing_twice(
    tmp_path: Path, name: str, step: int, is_answered: bool
) -> None:
    with (
        MockProvider(latency={"first_s": SLOW_S}, batch={"polls": 1}) as provider,
        Crash(provider, name, tmp_path) as crash,
    ):
        crash.run_until(step, pause_s=SLOW_S * (1.2 if is_answered else 0.5))
        assert crash.run_until(MOST_STEPS * 10, pause_s=0.0)
        crash.check()
