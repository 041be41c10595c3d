"""The batches of a collection: handed over while there are requests, looked at until they end.

One process at a time drives the batches of a ledger; the operating system ends its lock with it.
The others wait, and find the answers in the ledger.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from stillhouse.artifacts import FolderLock
from stillhouse.collect._asking import Asking
from stillhouse.collect._batch_lane import Lane, unsettled
from stillhouse.collect._config import AccessConfig
from stillhouse.errors import FolderBusyError, TeacherError
from stillhouse.runlog import Ledger

logger = logging.getLogger(__name__)

_SLOWER = 1.5
_SLOWEST = 10.0  # times the first wait
_NAP_S = 0.5


class BatchDrive:
    """Drives all batches of one collection; to be used in a `with` block.

    Args:
        askings: What is asked of whom.
        ledger: Theirs.
        access: Which tier, how often to look.
        is_over: Whether nothing more is to be asked.

    Attributes:
        online: Those of `askings` that are not asked through batches.

    Raises:
        TeacherError: a teacher has no batch API, and nothing else was allowed.
    """

    def __init__(
        self,
        askings: Sequence[Asking],
        ledger: Ledger,
        access: AccessConfig,
        is_over: Callable[[], bool],
    ) -> None:
        self._ledger = ledger
        self._access = access
        self._is_over = is_over
        self._lock: FolderLock | None = None
        self._wait_s = access.batch_wait_s
        self._due_s = time.monotonic()
        self._lanes = [lane for asking in askings if (lane := self._lane(asking)) is not None]
        batched = [lane.asking for lane in self._lanes if lane.submits]
        self.online = [asking for asking in askings if asking not in batched]

    @property
    def is_waiting(self) -> bool:
        """Whether batches are under way, or have to wait for room at the provider."""
        return any(lane.is_waiting for lane in self._lanes)

    def metrics(self) -> dict[str, float]:
        """What a display may show."""
        if not self._lanes:
            return {}
        num_batches = sum(lane.num_batches for lane in self._lanes)
        num_done = sum(lane.num_done for lane in self._lanes)
        return {"collect/num_batches": num_batches, "collect/num_done_in_batches": num_done}

    def start(self) -> Iterator[None]:
        """Take up what earlier attempts left; yields while another process is at it."""
        if not self._lanes:
            return
        while not self._is_over():
            try:
                path = self._ledger.path
                self._lock = FolderLock(_lock_path(path), owner=path)
                break
            except FolderBusyError:
                if not any(lane.submits for lane in self._lanes):
                    self._lanes = []  # that process brings them to their end
                    return
                time.sleep(_NAP_S)
                yield
        for lane in self._lanes if self._lock is not None else ():
            lane.take_over()

    def hand_over(self) -> Iterator[None]:
        """Make batches of all that is left to ask, as far as there is room."""
        for lane in self._lanes:
            while not self._is_over() and lane.hand_over():
                self._wait_s = self._access.batch_wait_s
                self._due_s = min(self._due_s, time.monotonic() + self._wait_s)
                yield

    def is_elsewhere(self) -> bool:
        """Whether another process drives the batches of this ledger."""
        if self._lock is not None:
            return False
        try:
            FolderLock(_lock_path(self._ledger.path), owner=self._ledger.path).remove()
        except FolderBusyError:
            return True
        return False

    def look_if_due(self) -> Iterator[None]:
        """Look at the batches when it is time; yields when something was recorded, or seen."""
        if not self.is_waiting or time.monotonic() < self._due_s:
            return
        self._ledger.beat()
        has_changed = False
        for lane in self._lanes:
            for change in lane.look():
                has_changed = has_changed or change
                yield
        first_s = self._access.batch_wait_s
        self._wait_s = first_s if has_changed else min(self._wait_s * _SLOWER, first_s * _SLOWEST)
        self._due_s = time.monotonic() + self._wait_s

    def wait(self) -> Iterator[None]:
        """Wait until it is time to look, and look."""
        while (left_s := self._due_s - time.monotonic()) > 0 and not self._is_over():
            time.sleep(min(left_s, _NAP_S))
            yield
        if not self._is_over():
            yield from self.look_if_due()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        num_batches = sum(lane.num_batches for lane in self._lanes)
        if num_batches:
            logger.warning(
                "%d %s on at the provider. Run the same command to take their answers.",
                num_batches,
                "batch goes" if num_batches == 1 else "batches go",
            )
        if self._lock is not None:
            self._lock.remove()
            self._lock = None

    def _lane(self, asking: Asking) -> Lane | None:
        teacher = asking.share.teacher
        client = teacher.batch_client()
        if client is None:
            if self._access.tier == "batch":
                raise TeacherError(
                    f"Teacher {teacher.info.id!r} has no batch API that stillhouse speaks; openai:,"
                    " anthropic: and google: have one. Use the tier standard, or auto."
                )
            return None
        submits = self._access.prefers_batches
        if not submits and not unsettled(self._ledger, teacher.info.id):
            return None
        return Lane(asking, client, self._ledger, self._access, submits=submits)


def _lock_path(ledger: Path) -> Path:
    return ledger.with_name(f"{ledger.name}.batches")
