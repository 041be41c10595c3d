"""One attempt at a collection: everything is asked through the ledger, until nothing is left."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from stillhouse.artifacts import ArtifactWriter
from stillhouse.collect._asking import Asking
from stillhouse.collect._batch import BatchDrive
from stillhouse.collect._config import STAGE, CollectConfig
from stillhouse.collect._purse import Purse
from stillhouse.collect._stopwatch import open_stopwatch
from stillhouse.collect._tally import Tally, tally_metrics
from stillhouse.collect._together import stream_together
from stillhouse.errors import (
    BudgetExceededError,
    DataError,
    TeacherError,
    TooManyFailuresError,
)
from stillhouse.records import ItemError, Request
from stillhouse.runlog import Ledger, Listener, Shortage, Ticker

_LOOK_AGAIN_S = 0.5


class Run:
    """One attempt at a collection: what is asked of whom, and what came of it.

    Attributes:
        seconds: Spent on asking, earlier attempts included.
    """

    def __init__(
        self,
        askings: Sequence[Asking],
        ledger: Ledger,
        tally: Tally,
        writer: ArtifactWriter | None,
        config: CollectConfig,
        purse: Purse,
    ) -> None:
        self._askings = askings
        self._ledger = ledger
        self._tally = tally
        self._writer = writer
        self._config = config
        self._purse = purse
        self._num_requests = sum(asking.num_requests for asking in askings)
        self.seconds = 0.0
        self._stop_s = float("inf")
        self._unreadable: DataError | None = None
        for asking in askings:
            asking.share.teacher.stop_when(self._is_over)

    def stop(self, at_s: float = float("-inf")) -> None:
        """Send nothing from then on, by `time.monotonic`; what is under way is waited for.

        May be called from any thread.
        """
        self._stop_s = at_s

    def ask(self, on_progress: Listener) -> None:
        """Have every request answered or failed, each step in the ledger before it counts."""
        started_s = time.monotonic()
        if self._config.access.stop_after_s is not None:
            # Not later than it was: who asks may have been stopped before.
            self._stop_s = min(self._stop_s, started_s + self._config.access.stop_after_s)
        num_settled = self._num_settled()
        ticker = Ticker(
            on_progress, stage=STAGE, total=self._num_requests, unit="completions", done=num_settled
        )
        drive = BatchDrive(self._askings, self._ledger, self._config.access, self._is_over)
        try:
            with open_stopwatch(self._writer) as stopwatch, drive:
                try:
                    for _ in self._settling(drive):
                        stopwatch.lap()
                        num_before, num_settled = num_settled, self._num_settled()
                        metrics = {**self._metrics(started_s), **drive.metrics()}
                        ticker.advance(num_settled - num_before, metrics)
                finally:
                    stopwatch.lap(at_least_s=0.0)
                    self.seconds = stopwatch.seconds
        finally:
            # A stopped run tells the next one how far it came.
            for asking in self._askings:
                asking.note_stop()
        self._check_complete()

    def _settling(self, drive: BatchDrive) -> Iterator[None]:
        """Ask until nothing is left to ask; yields when something has been settled."""
        yield from drive.start()
        while not self._is_over():
            yield from drive.hand_over()
            has_news = False
            for asking, answers in stream_together(drive.online, self._next_requests):
                asking.settle(answers)
                has_news = True
                yield
                yield from drive.look_if_due()
            if self._unreadable is not None:
                raise self._unreadable
            if drive.is_waiting and any(asking.num_left for asking in self._askings):
                yield from drive.wait()
                continue
            if any(asking.has_more for asking in self._askings):
                continue
            shortage = self._shortage()
            if shortage is not None and not self._is_over():
                if has_news or self._purse.grow(shortage.short_usd):
                    continue  # what was given back since the claim may be enough
                if not _may_room_come(shortage, drive):
                    raise _exceeded(shortage)
            elif not any(asking.is_held_up for asking in self._askings):
                break
            # Another process is at the last of them, or has money reserved that it may give back:
            # wait for its answers, or its end.
            time.sleep(_LOOK_AGAIN_S)
            for asking in self._askings:
                asking.look_again()
            yield
        yield

    def _next_requests(self, asking: Asking, num_wanted: int) -> list[Request]:
        if self._is_over():
            return []
        try:
            return asking.next_requests(num_wanted)
        except DataError as err:
            # The file of prompts changed. What is under way is waited for: it may be paid.
            self._unreadable = self._unreadable or err
            return []

    def _shortage(self) -> Shortage | None:
        """What the budget has no room for, that of the first teacher with one."""
        return next((one.shortage for one in self._askings if one.shortage is not None), None)

    def _num_settled(self) -> int:
        # Below 0 where more was left behind than stands before the position that was noted.
        return max(0, sum(asking.num_settled for asking in self._askings))

    def _is_over(self) -> bool:
        # Where too many have failed, no later success could save the stage: stop paying.
        return time.monotonic() >= self._stop_s or self._has_too_many_failures()

    def _metrics(self, started_s: float) -> dict[str, float]:
        metrics = tally_metrics(self._tally, started_s)
        metrics["collect/num_failed"] = len(self.failures)
        for asking in self._askings:
            for name, value in asking.share.teacher.metrics().items():
                metrics[name] = metrics.get(name, 0.0) + value
        if self._purse.cap_usd is not None:
            metrics["collect/budget_usd"] = self._purse.cap_usd
        return metrics

    @property
    def failures(self) -> Mapping[str, ItemError]:
        """Why requests have no answer, by id."""
        return {
            request_id: error
            for asking in self._askings
            for request_id, error in asking.failures.items()
        }

    def _has_too_many_failures(self) -> bool:
        num_failed = sum(len(asking.failures) for asking in self._askings)
        return num_failed / self._num_requests > self._config.max_failure_fraction

    def _check_complete(self) -> None:
        if self._has_too_many_failures():
            raise self._too_many_failures()
        num_left = sum(asking.num_left for asking in self._askings)
        if not num_left:
            return
        if self._config.access.stop_after_s is not None and time.monotonic() >= self._stop_s:
            raise TeacherError(
                f"stop_after_s={self._config.access.stop_after_s:g} is over with {num_left} of "
                f"{self._num_requests} requests unanswered. Run the same command to go on."
            )
        names = ", ".join(repr(asking.share.teacher.info.id) for asking in self._askings)
        raise TeacherError(
            f"Teacher {names} ended with {num_left} of {self._num_requests} requests unanswered. "
            "Run the same command to go on."
        )

    def _too_many_failures(self) -> TooManyFailuresError:
        failures = self.failures
        num_failed, num_all = len(failures), self._num_requests
        kinds = Counter(error.type for error in failures.values())
        kind, times = kinds.most_common(1)[0]
        example = next(error for error in failures.values() if error.type == kind)
        return TooManyFailuresError(
            f"{num_failed} of {num_all} requests failed ({num_failed / num_all:.1%}, allowed are "
            f"{self._config.max_failure_fraction:.1%}), {times} of them with {kind!r}: "
            f"{example.message}. Mend the cause and run the same command again; the answers so far "
            f"are kept in {self._ledger.path}."
        )


def _may_room_come(shortage: Shortage, drive: BatchDrive) -> bool:
    """Whether others may give back money, now that nothing is under way here."""
    if "elsewhere" in shortage.room_from:
        return True
    return "batches" in shortage.room_from and drive.is_elsewhere()


def _exceeded(shortage: Shortage) -> BudgetExceededError:
    return BudgetExceededError(
        f"The next call may cost {shortage.worst_usd:.6f} USD, but of the budget of "
        f"{shortage.cap_usd:.6f} USD {shortage.spent_usd:.6f} are spent and "
        f"{shortage.held_usd:.6f} set aside for calls whose cost is not known. Raise the budget, "
        "or lower sampling.max_tokens; what was answered is kept."
    )
