"""Listeners that hand the metrics on to an experiment tracker, imported when one is chosen."""

import importlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stillhouse.errors import ConfigError, MissingDependencyError
from stillhouse.runlog._progress import Listener, Progress

TRACKERS = ("trackio", "wandb", "tensorboard")

Send = Callable[[Mapping[str, float], int], None]
"""Takes metrics and the number of steps that were done when they were told."""


@contextmanager
def open_tracker(
    name: str, *, run: str, folder: Path, project: str = "stillhouse"
) -> Iterator[Listener]:
    """A listener that sends metrics to a tracker while its block runs.

    Args:
        name: One of `TRACKERS`.
        run: What to call the run there.
        folder: Where tensorboard's event files go; the others keep their own.
        project: What to file the run under.

    Raises:
        ConfigError: there is no such tracker.
        MissingDependencyError: its package is not installed.
    """
    if name not in TRACKERS:
        raise ConfigError(f"tracker {name!r}; give one of {', '.join(TRACKERS)}.")
    if name == "tensorboard":
        opened = _tensorboard(folder / run)
    else:
        opened = _hosted(_imported(name), project, run)
    with opened as send:
        yield tracking(send)


def tracking(send: Send) -> Listener:
    """A listener that sends each step's metrics once, however often it is told of them."""
    sent: dict[str, int] = {}

    def listen(progress: Progress) -> None:
        if progress.metrics and sent.get(progress.stage) != progress.done:
            sent[progress.stage] = progress.done
            send(progress.metrics, progress.done)

    return listen


def joined_listeners(*listeners: Listener) -> Listener:
    """One listener that tells several, in order."""

    def listen(progress: Progress) -> None:
        for listener in listeners:
            listener(progress)

    return listen


@contextmanager
def _hosted(module: Any, project: str, run: str) -> Iterator[Send]:
    """Trackio and wandb share one interface: `init`, `log`, `finish`."""
    module.init(project=project, name=run)
    try:
        yield lambda metrics, step: module.log(dict(metrics), step=step)
    finally:
        module.finish()


@contextmanager
def _tensorboard(folder: Path) -> Iterator[Send]:
    # The writer of event files alone: torch's SummaryWriter would load torch.
    writers = _imported("tensorboard.summary.writer.event_file_writer", extra="tensorboard")
    events = _imported("tensorboard.compat.proto.event_pb2", extra="tensorboard")
    summaries = _imported("tensorboard.compat.proto.summary_pb2", extra="tensorboard")
    writer = writers.EventFileWriter(str(folder))

    def send(metrics: Mapping[str, float], step: int) -> None:
        values = [
            summaries.Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()
        ]
        summary = summaries.Summary(value=values)
        writer.add_event(events.Event(wall_time=time.time(), step=step, summary=summary))

    try:
        yield send
    finally:
        writer.close()


def _imported(module: str, *, extra: str | None = None) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as err:
        package = extra or module
        raise MissingDependencyError(
            f"The tracker {package} is not installed ({err}). Run: pip install {package}"
        ) from err
