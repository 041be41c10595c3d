"""Processes as a benchmark runs them: to their end, with what they used; or to a kill."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import IO

from benchmarks._parts import BENCHMARKS

_SHOWN_BYTES = 2_000


@dataclass(frozen=True)
class Measured:
    """What a process and the descendants that it waited for used.

    Attributes:
        cpu_s: User and system time.
        peak_rss_mb: Of the largest one of them.
    """

    exit_code: int
    seconds: float
    cpu_s: float
    peak_rss_mb: float
    stdout: str
    stderr: str

    def checked(self) -> "Measured":
        """Itself, if it ended well.

        Raises:
            RuntimeError: it did not.
        """
        if self.exit_code:
            shown = self.stderr[-_SHOWN_BYTES:]
            raise RuntimeError(f"a measured process ended with {self.exit_code}:\n{shown}")
        return self


def measure(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    timeout_s: float = 3_600.0,
) -> Measured:
    """Run to the end; after `timeout_s` it is killed with all its descendants."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started_s = perf_counter()
        child = start(command, env=env, stdout=out, stderr=err)
        alarm = threading.Timer(timeout_s, kill, (child,))
        alarm.start()
        _, status, usage = os.wait4(child.pid, 0)
        seconds = perf_counter() - started_s
        alarm.cancel()
        child.returncode = os.waitstatus_to_exitcode(status)
        kill(child)  # children that it left behind
        return Measured(
            exit_code=child.returncode,
            seconds=seconds,
            cpu_s=usage.ru_utime + usage.ru_stime,
            peak_rss_mb=usage.ru_maxrss / 1024,
            stdout=_text(out),
            stderr=_text(err),
        )


def measure_module(name: str, *arguments: object) -> Measured:
    """Run a module of the benchmarks to its end, in a process whose memory is its own.

    Raises:
        RuntimeError: it did not end well.
    """
    path = os.pathsep.join([str(BENCHMARKS.parent), *filter(None, [os.getenv("PYTHONPATH")])])
    command = [sys.executable, "-m", name, *map(str, arguments)]
    return measure(command, env={"PYTHONPATH": path}).checked()


def start(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    stdout: IO[bytes] | int = subprocess.DEVNULL,
    stderr: IO[bytes] | int | None = subprocess.DEVNULL,
) -> "subprocess.Popen[bytes]":
    """Start in a session of its own, so that `kill` reaches its children too."""
    return subprocess.Popen(
        [str(part) for part in command],
        env={**os.environ, **(env or {})},
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    )


def kill(child: "subprocess.Popen[bytes]") -> None:
    """SIGKILL to it and its descendants, whether or not they have ended."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def cpu_time_s(pid: int) -> float:
    """User and system time of a running process so far, from Linux's /proc."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")
