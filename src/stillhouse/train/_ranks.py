"""The processes that train one student together, as `torchrun` or Ray started them.

Each of them computes on its share of every batch. What is written and told is for the first alone.
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from stillhouse.errors import ConfigError, StillhouseError, TrainingError
from stillhouse.train._device_config import DeviceConfig

T = TypeVar("T")

_LOST_PEER = re.compile(
    "connection (closed|reset|refused)|broken pipe|timed out|connect.*fail", re.IGNORECASE
)
_TIMEOUT = timedelta(minutes=30)  # the first may hash and write a large model meanwhile


@dataclass(frozen=True)
class Ranks:
    """One process's place among those that train together.

    Attributes:
        rank: Its number, from 0.
        size: How many there are.
        device: Where it computes.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether it is the one that writes and tells."""
        return self.rank == 0

    def from_first(self, value: T) -> T:
        """What the first process gave here."""
        if self.size == 1:
            return value
        box: list[Any] = [value]
        dist.broadcast_object_list(box, src=0)
        given: T = box[0]
        return given

    def first_does(self, action: Callable[[], T]) -> T | None:
        """Let the first process do something while the others wait.

        Returns:
            What `action` gave, in the first process; None in the others.

        Raises:
            StillhouseError: what `action` raised, in every process.
        """
        result: T | None = None
        error: StillhouseError | None = None
        if self.is_first:
            try:
                result = action()
            except StillhouseError as err:
                error = err
        if (shared := self.from_first(error)) is not None:
            raise shared
        return result

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.barrier()

    def total(self, values: Sequence[float]) -> list[float]:
        """The sums of what each process gave, in float64."""
        if self.size == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(sums)
        totals: list[float] = sums.tolist()
        return totals

    def check_same(self, value: Any, what: str) -> None:
        """Refuse to begin where a process would train something else.

        Raises:
            ConfigError: the first process has another `value`.
        """
        is_other = float(self.from_first(value) != value)
        if self.total([is_other]) != [0.0]:
            raise ConfigError(
                f"The {self.size} processes of this training differ in {what}. "
                "Give all of them the same files and settings."
            )


ALONE = Ranks(rank=0, size=1, device=torch.device("cpu"))
"""One process on the CPU."""


@contextlib.contextmanager
def joined_ranks(config: DeviceConfig) -> Iterator[Ranks]:
    """Join the other processes that the environment tells of; without any, train alone.

    Raises:
        ConfigError: a GPU is asked for and there is none.
        TrainingError: another process ended or cannot be reached.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    device = _device(config)
    if size == 1 and not dist.is_initialized():
        yield Ranks(rank=0, size=1, device=device)
        return
    is_ours = not dist.is_initialized()  # Ray's workers have joined already
    try:
        if is_ours:
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_TIMEOUT)
        yield Ranks(rank=dist.get_rank(), size=dist.get_world_size(), device=device)
    except RuntimeError as err:
        if isinstance(err, StillhouseError) or not _is_lost_peer(err):
            raise
        raise TrainingError(
            "Another process of this training ended or cannot be reached, so that this one "
            "stopped; its own message says why. Start all of them again to go on from the last "
            "checkpoint."
        ) from err
    finally:
        if is_ours and dist.is_initialized():
            dist.destroy_process_group()


def _device(config: DeviceConfig) -> torch.device:
    has_gpu = torch.cuda.is_available()
    if config.kind == "cuda" and not has_gpu:
        raise ConfigError("device.kind is cuda, but torch finds no GPU here. Use auto or cpu.")
    if config.kind == "cpu" or not has_gpu:
        return torch.device("cpu")
    index = int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count()
    device = torch.device("cuda", index)
    torch.cuda.set_device(device)
    return device


def _is_lost_peer(err: RuntimeError) -> bool:
    # gloo raises plain RuntimeErrors, of which only the text tells what happened.
    return isinstance(err, dist.DistError) or bool(_LOST_PEER.search(str(err)))
