"""One attempt at a collection: ask through the ledger, then write what it holds."""

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

from stillhouse.artifacts import Artifact, ArtifactWriter, Counts, TeacherRef
from stillhouse.collect._asking import Asking
from stillhouse.collect._batch import BatchDrive
from stillhouse.collect._config import STAGE, CollectConfig
from stillhouse.collect._purse import Purse
from stillhouse.collect._source import PromptSource, Survey
from stillhouse.collect._tally import Tally, tally_metrics
from stillhouse.collect._together import stream_together
from stillhouse.errors import (
    BudgetExceededError,
    DataError,
    TeacherError,
    TooManyFailuresError,
)
from stillhouse.records import Completion, ItemError, Prompt, Request
from stillhouse.runlog import (
    Ledger,
    Listener,
    MetricsLog,
    OpenCall,
    Shortage,
    Ticker,
    read_metrics,
)
from stillhouse.teachers import MalformedAnswerError, TeacherInfo, read_answer

_REPEATED = "duplicate_prompt"
_UNREADABLE = "unreadable_answer"
_TIME_KEY = "time/collect_s"
_READ_AT_ONCE = 256
_LOOK_AGAIN_S = 0.5
_OWN = frozenset({"fake", "replay", "local", "gguf"})


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


class Run:
    """One attempt at a collection: what is asked of whom, and what came of it."""

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
        self._seconds = 0.0
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
                    self._seconds = stopwatch.seconds
        finally:
            # A stopped run tells the next one how far it came.
            for asking in self._askings:
                asking.note_stop()
        self._check_complete()

    def finish(self, writer: ArtifactWriter, source: PromptSource, survey: Survey) -> Artifact:
        """Write the answers in the order of the prompts, and the manifest."""
        source.check_unchanged()
        tally, dropped = Tally(), Counter[str]()
        answers = self._completions(source, survey, tally, dropped)
        num_kept = writer.write_rows("completions", answers, Completion)
        writer.write_rows("prompts", (row.prompt for row in source.iterate(survey)), Prompt)
        if survey.repeats:
            num_repeated = survey.num_repeated(len(self._askings))
            dropped[_REPEATED] += num_repeated * self._config.samples_per_prompt
        infos = [asking.share.teacher.info for asking in self._askings]
        return writer.finish(
            counts=Counts.model_validate(
                {
                    "in": num_kept + sum(dropped.values()),
                    "kept": num_kept,
                    "dropped": dict(sorted(dropped.items())),
                }
            ),
            usage=tally.total(self._seconds),
            teacher=_teacher_ref(infos, tally.models),
            tokenizer_sha256=_only(info.tokenizer_sha256 for info in infos),
            chat_template_sha256=_only(info.chat_template_sha256 for info in infos),
            sampling=self._config.sampling,
            seeds={"sampling": self._config.sampling.seed},
            results={
                "by_teacher": [row.model_dump(mode="json") for row in tally.outcomes()],
                "calls_maybe_paid": _listed(self._ledger.lost_calls()),
            },
        )

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
        metrics["collect/num_failed"] = len(self._failures())
        for asking in self._askings:
            for name, value in asking.share.teacher.metrics().items():
                metrics[name] = metrics.get(name, 0.0) + value
        if self._purse.cap_usd is not None:
            metrics["collect/budget_usd"] = self._purse.cap_usd
        return metrics

    def _completions(
        self,
        source: PromptSource,
        survey: Survey,
        tally: Tally,
        dropped: Counter[str],
    ) -> Iterator[Completion]:
        failures = self._failures()
        for group in _grouped(self._requests(source, survey), _READ_AT_ONCE):
            answers = {
                answer.request_id: answer
                for answer in self._ledger.answered(request.id for request in group)
            }
            for request in group:
                answer = answers.get(request.id)
                if answer is None:
                    error = failures.get(request.id)
                    dropped[error.type if error else "no_answer"] += 1
                    continue
                try:
                    completion = read_answer(answer, request)
                except MalformedAnswerError:
                    dropped[_UNREADABLE] += 1
                    continue
                tally.add(request.teacher, answer)
                yield completion

    def _requests(self, source: PromptSource, survey: Survey) -> Iterator[Request]:
        """Every request, prompt by prompt."""
        for prompt, _ in source.iterate(survey):
            for asking in self._askings:
                yield from asking.share.requests_for(prompt)

    def _failures(self) -> dict[str, ItemError]:
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
        failures = self._failures()
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


def _listed(calls: Sequence[OpenCall]) -> list[dict[str, str]]:
    """Calls that nobody heard of again, so that their bill can be looked up."""
    return [
        {
            "request_id": call.request_id,
            "prompt_id": call.prompt_id,
            "teacher": call.teacher,
            "sent_utc": call.sent_utc.isoformat(),
        }
        for call in calls
    ]


def _teacher_ref(infos: Sequence[TeacherInfo], models: set[str]) -> TeacherRef:
    if len(infos) > 1:
        return TeacherRef(
            id=" + ".join(info.id for info in infos), provider="several", revision=None
        )
    (info,) = infos
    revision = info.revision
    if revision is None and info.provider not in _OWN and len(models) == 1:
        revision = next(iter(models))  # an API's revision is the dated model that answered
    return TeacherRef(id=info.id, provider=info.provider, revision=revision)


def _only(values: Iterable[str | None]) -> str | None:
    """What all agree on, else None."""
    distinct = set(values)
    return distinct.pop() if len(distinct) == 1 else None


def _grouped(requests: Iterator[Request], size: int) -> Iterator[list[Request]]:
    while group := list(islice(requests, size)):
        yield group
