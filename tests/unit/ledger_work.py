"""Processes that share a ledger and are killed: run as a program by its test.

`python ledger_work.py FOLDER NUM_KILLS` forks pairs of workers over one ledger, kills both of each
pair with SIGKILL at random moments, and lets one finish at the end.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

from ledger_cases import a_failure, a_request, an_answer

from stillhouse.records import Request
from stillhouse.runlog import Answer, Ledger

NUM_REQUESTS = 3000
GROUP = 8


def work(folder: Path, requests: list[Request], rng: random.Random) -> None:
    """Ask what is left; each payment and each counted answer is a line before the next step."""
    paid = os.open(folder / "paid", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    counted = os.open(folder / "counted", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    with Ledger(folder / "ledger.sqlite") as ledger:
        ledger.settle_orphans()
        done = ledger.answered_ids(request.id for request in requests)
        waiting = [request for request in requests if request.id not in done]
        answers: list[Answer] = []
        while waiting or answers:
            group, waiting = waiting[:GROUP], waiting[GROUP:]
            claimed = ledger.exchange(answers, group, run_key="run").requests
            write_lines(counted, [a.request_id for a in answers if a.error is None])
            write_lines(paid, [request.id for request in claimed])
            time.sleep(0.001)  # the teacher thinks
            answers = [_reply(request, rng) for request in claimed]


def write_lines(stream: int, lines: list[str]) -> None:
    os.write(stream, "".join(f"{line}\n" for line in lines).encode())


def wait_for_growth(path: Path) -> None:
    """Until the pair that was just started has paid for something."""
    before = path.stat().st_size if path.exists() else 0
    deadline = time.monotonic() + 10
    while not path.exists() or path.stat().st_size == before:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{path} does not grow; give the workers more requests")
        time.sleep(0.001)


def _reply(request: Request, rng: random.Random) -> Answer:
    return a_failure(request) if rng.random() < 0.02 else an_answer(request, "a" * 700)


def _start(folder: Path, requests: list[Request], seed: int) -> int:
    pid = os.fork()
    if pid == 0:
        work(folder, requests, random.Random(seed))
        os._exit(0)
    return pid


def main(folder: Path, num_kills: int) -> None:
    requests = [a_request(f"q{i}") for i in range(NUM_REQUESTS)]
    rng = random.Random(5)
    for attempt in range(num_kills // 2):
        pair = [_start(folder, requests, 2 * attempt + i) for i in range(2)]
        wait_for_growth(folder / "paid")
        for pid in pair:
            time.sleep(rng.uniform(0.0, 0.03))
            os.kill(pid, signal.SIGKILL)
        for pid in pair:
            os.waitpid(pid, 0)
    for seed in range(100, 110):  # failed ones are asked again
        work(folder, requests, random.Random(seed))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
