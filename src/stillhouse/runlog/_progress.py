"""Progress as data: stages report it, only the command line draws it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Progress:
    """Where a stage stands.

    Attributes:
        stage: What is going on, as a user reads it: "collect", "train student".
        done: Items finished, those of an earlier attempt included.
        total: Items in all, or None when unknown.
        unit: What an item is: "prompts", "steps".
        elapsed_s: Seconds since this attempt began.
        eta_s: Seconds left at the pace of this attempt, or None when unknown.
        metrics: What to show beside the bar, by the names that the metrics log uses.
    """

    stage: str
    done: int
    total: int | None
    unit: str
    elapsed_s: float
    eta_s: float | None
    metrics: Mapping[str, float] = field(default_factory=dict)


Listener = Callable[[Progress], None]


def ignore_progress(progress: Progress) -> None:
    """The listener that shows nothing."""


class Ticker:
    """Counts items of one stage and tells the listener, at most every `interval_s` seconds."""

    def __init__(
        self,
        listener: Listener,
        *,
        stage: str,
        total: int | None,
        unit: str,
        done: int = 0,
        interval_s: float = 0.1,
    ) -> None:
        self._listener = listener
        self._stage = stage
        self._total = total
        self._unit = unit
        self._done_before = done
        self._done = done
        self._interval_s = interval_s
        self._started_s = time.monotonic()
        self._told_s = float("-inf")
        self._metrics: dict[str, float] = {}
        self._tell()

    def advance(self, by: int = 1, metrics: Mapping[str, float] | None = None) -> None:
        """Count `by` more items; `metrics` replace those of the same name."""
        self._done += by
        self._metrics.update(metrics or {})
        is_last = self._total is not None and self._done >= self._total
        if is_last or time.monotonic() - self._told_s >= self._interval_s:
            self._tell()

    def _tell(self) -> None:
        now_s = time.monotonic()
        self._told_s = now_s
        elapsed_s = now_s - self._started_s
        new = self._done - self._done_before
        eta_s = None
        if self._total is not None and new > 0:
            eta_s = elapsed_s / new * max(self._total - self._done, 0)
        self._listener(
            Progress(
                stage=self._stage,
                done=self._done,
                total=self._total,
                unit=self._unit,
                elapsed_s=elapsed_s,
                eta_s=eta_s,
                metrics=dict(self._metrics),
            )
        )
