"""Who writes a ledger, and whether they still run."""

import os
import platform
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from stillhouse.runlog._ledger._database import Database

_HEARTBEAT_MS = 30_000
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """One process, told apart from a later one with the same number.

    Attributes:
        machine: Names the kernel and its set of process numbers; empty where it cannot be told.
        pid: The process number there.
        start: When it started, in the kernel's own clock; 0 where that is not known.
    """

    machine: str
    pid: int
    start: int


def this_process() -> Process:
    """The process that asks."""
    pid = os.getpid()
    return Process(_machine(), pid, _start_of(pid) or 0)


def is_running(process: Process) -> bool:
    """Whether a process of this machine still runs; one that waits to be reaped does not."""
    start = _start_of(process.pid)
    return start is not None and start == process.start


def now_ms() -> int:
    """Whole milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000


def register(db: Database) -> int:
    """The number of a new worker: this process, with one open ledger."""
    me = this_process()
    now = now_ms()
    with db.transaction():
        number = db.next_number("workers")
        db.rows(
            "INSERT INTO workers VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
            (number, platform.node(), me.machine, me.pid, me.start, now, now),
        )
    return number


def beat(db: Database, worker: int) -> None:
    """Say that `worker` is alive, in a transaction of the caller."""
    # One that was taken for dead, having been suspended say, is back with this.
    db.rows(
        "UPDATE workers SET heartbeat_utc_ms = ?, ended_utc_ms = NULL WHERE number = ?",
        (now_ms(), worker),
    )


def sign_off(db: Database, workers: Iterable[int]) -> None:
    """Say that `workers` write no more, so that their open calls are given up at once."""
    now = now_ms()
    db.many(
        "UPDATE workers SET ended_utc_ms = ? WHERE number = ?",
        [(now, worker) for worker in workers],
    )


def roll_call(db: Database) -> tuple[set[int], set[int]]:
    """Numbers of the workers that still run, and of those that are gone without a word."""
    living: set[int] = set()
    gone: set[int] = set()
    for number, machine, pid, start, heartbeat_ms in db.rows(
        "SELECT number, machine, pid, process_start, heartbeat_utc_ms FROM workers "
        "WHERE ended_utc_ms IS NULL"
    ):
        is_alive = _is_alive(Process(machine, pid, start), heartbeat_ms)
        (living if is_alive else gone).add(number)
    return living, gone


def _is_alive(process: Process, heartbeat_ms: int) -> bool:
    if process.machine and process.machine == _machine():
        return is_running(process)  # no clock is asked, so none can lie
    # A heartbeat from the future says that a clock was set back: it is no sign of life.
    return abs(now_ms() - heartbeat_ms) < _HEARTBEAT_MS


@cache
def _machine() -> str:
    """Boot and process namespace: containers share a kernel, and may share a host name."""
    try:
        boot_id = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot_id} {os.readlink(_PROC / 'self/ns/pid')}"
    except OSError:
        # Windows has no signal 0 to ask a process with: heartbeats have to do.
        return platform.node() if os.name == "posix" else ""


def _start_of(pid: int) -> int | None:
    """When `pid` started; None when it does not run, 0 where the system does not tell."""
    try:
        status = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None if (_PROC / "self/stat").exists() else _probe(pid)
    # The second field is the program's name in brackets, and may hold brackets and spaces.
    state, *fields = status[status.rindex(b")") + 2 :].split()
    return None if state in (b"Z", b"X") else int(fields[18])


def _probe(pid: int) -> int | None:
    if os.name != "posix":
        return 0
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return 0  # it runs, as another user
    return 0
