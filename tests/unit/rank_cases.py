"""Real processes that train one student together over the loopback interface."""

import contextlib
import multiprocessing
import os
import queue
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_chain import Chain, losses_of, weights_of

from stillhouse.artifacts import check_files, open_artifact
from stillhouse.errors import StillhouseError
from stillhouse.runlog import Listener, Progress, ignore_progress
from stillhouse.train import TrainConfig, train

JOIN_S = 120
# Float32 sums in another order, through eight steps at a large rate: Adam turns a gradient that
# is rounding noise into a whole step of either sign, so single weights may differ by more.
LOSS_TOLERANCE = 2e-5
WEIGHT_TOLERANCE = 2e-3


@dataclass
class Crew:
    """The processes of one training.

    Attributes:
        processes: By rank.
        errors: Class and message of what a process raised, by rank.
    """

    processes: list[Any]
    errors: dict[int, tuple[str, str]]
    _reports: Any

    def join(self) -> None:
        """Wait for all of them and read what they raised."""
        for process in self.processes:
            process.join(JOIN_S)
            assert process.exitcode is not None, "a process hangs"
        with contextlib.suppress(queue.Empty):
            while True:
                rank, *error = self._reports.get(timeout=0.2)
                self.errors[rank] = (error[0], error[1])


def assert_near(out: Path, whole: Path) -> None:
    """A sound student whose losses and weights are nearly those of another."""
    check_files(open_artifact(out, kind="student"))
    assert losses_of(out) == pytest.approx(losses_of(whole), rel=LOSS_TOLERANCE)
    left, right = weights_of(out), weights_of(whole)
    assert left.keys() == right.keys()
    differences = torch.cat([(left[name] - right[name]).abs().flatten() for name in left])
    assert differences.quantile(0.99) < 1e-5
    assert differences.max() < WEIGHT_TOLERANCE


@dataclass(frozen=True)
class KillAt:
    """A listener that kills its process once `step` steps are done; it is told after each."""

    step: int

    def __call__(self, progress: Progress) -> None:
        if progress.done >= self.step:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.1)  # the ticker tells at most ten times a second


def start_ranks(
    chain: Chain,
    out: Path,
    configs: list[TrainConfig],
    *,
    has_signal: bool = False,
    on_progress: Listener = ignore_progress,
) -> Crew:
    """Start one process for each of `configs`, as `torchrun` would; the first one tells."""
    # A fork server imports torch once for all children; each is a process of its own.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["transformers.models.llama.modeling_llama", "stillhouse.train._train"]
    )
    reports = context.Queue()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for rank, config in enumerate(configs):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": len(configs)}
        environment = {**place, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        options = {"signal": chain.signal if has_signal else None, "on_progress": on_progress}
        task = (chain.dataset, out, {"config": config, **options}, environment, reports)
        processes.append(context.Process(target=_train_one, args=task))
        processes[-1].start()
    return Crew(processes, {}, reports)


def _train_one(
    dataset: Path, out: Path, options: dict[str, Any], environment: dict[str, Any], reports: Any
) -> None:
    os.environ.update({name: str(value) for name, value in environment.items()})
    torch.set_num_threads(1)
    try:
        train(dataset, out, **options)
    except StillhouseError as err:
        reports.put((environment["RANK"], type(err).__name__, str(err)))
        raise SystemExit(2) from err


def train_together(
    chain: Chain, out: Path, config: TrainConfig, *, size: int, has_signal: bool = False
) -> Path:
    """Train with `size` processes to the end."""
    crew = start_ranks(chain, out, [config] * size, has_signal=has_signal)
    crew.join()
    assert crew.errors == {}
    assert [process.exitcode for process in crew.processes] == [0] * size
    return out
