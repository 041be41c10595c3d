"""Draw the progress that stages report: bars on a terminal, a line now and then elsewhere."""

import os
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from stillhouse.runlog import Progress

_LINE_EVERY_S = 10.0
_MAX_ETA_RATIO = 20  # an estimate is shown once a twentieth of the work is done


class Display(Protocol):
    """Shows progress on stderr while its `with` block runs."""

    def show(self, progress: "Progress") -> None:
        """Take the news of a stage; this is the listener to give to stages."""
        ...

    def say(self, text: str) -> None:
        """Print one line where the display leaves room."""
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave stderr as a plain stream again."""
        return None


def open_display(*, is_quiet: bool) -> Display:
    """The display that suits stderr and the user's wish."""
    if is_quiet:
        return Silence()
    is_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    return Bars() if is_terminal else Lines()


class Silence(Display):
    """Shows nothing."""

    def show(self, progress: "Progress") -> None:
        """Ignore the news."""

    def say(self, text: str) -> None:
        """Say nothing."""


class Lines(Display):
    """One plain line when a stage begins, every few seconds, and when it ends: for logs."""

    def __init__(self, *, line_every_s: float = _LINE_EVERY_S) -> None:
        self._line_every_s = line_every_s
        self._stage = ""
        self._printed_s = float("-inf")
        self._printed_done = -1

    def show(self, progress: "Progress") -> None:
        """Print the line that is due, if one is."""
        is_new = progress.stage != self._stage
        is_complete = progress.done == progress.total and progress.done != self._printed_done
        is_due = time.monotonic() - self._printed_s >= self._line_every_s
        if is_new or is_complete or is_due:
            self._stage = progress.stage
            self._printed_s = time.monotonic()
            self._printed_done = progress.done
            self.say(progress_line(progress))

    def say(self, text: str) -> None:
        """Print one line."""
        print(text, file=sys.stderr, flush=True)


class Bars(Display):
    """One live bar per stage; those of finished stages stay."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._bars = Progress(
            TextColumn("{task.description:<18}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[count]:>16}"),
            TextColumn("{task.fields[left]:>15}"),
            TextColumn("{task.fields[metrics]}", style="dim"),
            console=Console(stderr=True, highlight=False),
            refresh_per_second=4,  # the cores are busy with the work itself
        )
        self._tasks: dict[str, Any] = {}

    def show(self, progress: "Progress") -> None:
        """Move the stage's bar, making it when the stage is new."""
        fields: dict[str, Any] = {
            "count": _count(progress),
            "left": _left(progress),
            "metrics": metrics_text(progress.metrics),
        }
        if progress.stage not in self._tasks:
            self._tasks[progress.stage] = self._bars.add_task(
                progress.stage, total=progress.total, completed=progress.done, **fields
            )
        else:
            self._bars.update(
                self._tasks[progress.stage],
                total=progress.total,
                completed=progress.done,
                **fields,
            )

    def say(self, text: str) -> None:
        """Print one line above the bars."""
        self._bars.console.print(text, markup=False, soft_wrap=True)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.stop()


def progress_line(progress: "Progress") -> str:
    """Where a stage stands, in one line of plain text."""
    parts = [f"{_count(progress)} {progress.unit}", _left(progress), metrics_text(progress.metrics)]
    return f"{progress.stage}: {', '.join(part for part in parts if part)}"


def metrics_text(metrics: Mapping[str, float]) -> str:
    """The metrics that say how it goes, as a person reads them; the others stay in the log."""
    texts = (_metric_text(name.rsplit("/")[-1], value) for name, value in metrics.items())
    return ", ".join(text for text in texts if text)


def duration_text(seconds: float) -> str:
    """A duration with the precision that a person wants: `0.4 s`, `95 s`, `7 min 05 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if round(seconds) < 100:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _metric_text(name: str, value: float) -> str:
    if name.endswith("_per_s"):
        return f"{value:,.0f} {name.removesuffix('_per_s').replace('_', ' ')}/s"
    if name.endswith("loss_nats"):
        return f"{name.removesuffix('_nats').replace('_', ' ')} {value:.3f}"
    if name == "rollout_forward_kl_nats":
        return f"KL on own texts {value:.3f}"
    if name == "truncated_fraction":
        return f"{value:.0%} of them cut" if value else ""
    if name.endswith("cost_usd"):
        return f"${value:,.4f}" if value else ""
    if name == "num_batches":
        return f"{value:.0f} batches running" if value else ""
    if name == "num_done_in_batches":
        return f"{value:,.0f} done there" if value else ""
    if name == "budget_usd":
        return f"of ${value:,.2f}"
    if name == "num_rate_limited":
        return f"{value:,.0f} x 429" if value else ""
    if name == "num_failed":
        return f"{value:.0f} failed" if value else ""
    return ""


def _count(progress: "Progress") -> str:
    if progress.total is None:
        return f"{progress.done:,}"
    return f"{progress.done:,}/{progress.total:,}"


def _left(progress: "Progress") -> str:
    if progress.done == progress.total:
        return duration_text(progress.elapsed_s)
    # Answers come in waves: the pace of the first few percent would promise hours.
    if progress.eta_s is None or progress.eta_s > _MAX_ETA_RATIO * progress.elapsed_s:
        return ""
    return f"{duration_text(progress.eta_s)} left"
