"""The time that a collection took, over all attempts at it."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from stillhouse.artifacts import ArtifactWriter
from stillhouse.runlog import MetricsLog, read_metrics

_TIME_KEY = "time/collect_s"


class Stopwatch:
    """Seconds spent asking, those of earlier attempts included.

    Attributes:
        seconds: Until the last lap.
    """

    def __init__(self, log: MetricsLog | None, *, laps: list[dict[str, Any]]) -> None:
        self._log = log
        self._num_laps = len(laps)
        self._before_s: float = laps[-1][_TIME_KEY] if laps else 0.0
        self._written_s = self.seconds = self._before_s
        self._started_s = time.monotonic()

    def lap(self, *, at_least_s: float = 1.0) -> None:
        """Take the time, and write it down when the last one written is old."""
        self.seconds = self._before_s + time.monotonic() - self._started_s
        if self._log is not None and self.seconds - self._written_s >= at_least_s:
            self._written_s = self.seconds
            self._log.append(self._num_laps, {_TIME_KEY: self.seconds})
            self._num_laps += 1


@contextmanager
def open_stopwatch(writer: ArtifactWriter | None) -> Iterator[Stopwatch]:
    """A stopwatch that goes on where an earlier attempt of this writer stopped."""
    if writer is None:  # this process only helps: the one that writes takes the time
        yield Stopwatch(None, laps=[])
        return
    path = writer.work_dir / "collect.jsonl"
    with MetricsLog(path, resume_at_step=sys.maxsize) as log:
        yield Stopwatch(log, laps=list(read_metrics(path)))
