"""One attempt at a collection: ask through the ledger, then write what it holds."""

import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from stillhouse.artifacts import Artifact, ArtifactWriter, Counts, TeacherRef
from stillhouse.collect._config import STAGE, CollectConfig
from stillhouse.errors import TeacherError, TooManyFailuresError
from stillhouse.records import Completion, ItemError, Prompt, Request, Usage
from stillhouse.runlog import Ledger, Listener, MetricsLog, Ticker, read_metrics
from stillhouse.teachers import Teacher, TeacherInfo

_DUPLICATE = "duplicate_prompt"
_TIME_KEY = "time/collect_s"


@dataclass
class _Tally:
    """What the answers so far consumed."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float | None = 0.0
    models: set[str] = field(default_factory=set)

    def add(self, completion: Completion) -> None:
        """Count one answer; a single unknown price makes the whole cost unknown."""
        usage = completion.usage
        self.prompt_tokens += usage.prompt_tokens
        self.completion_tokens += usage.completion_tokens
        if self.cost_usd is not None:
            self.cost_usd = None if usage.cost_usd is None else self.cost_usd + usage.cost_usd
        self.models.add(completion.model)

    def metrics(self, num_failed: int) -> dict[str, float]:
        """What to show beside the progress."""
        shown: dict[str, float] = {
            "collect/completion_tokens": self.completion_tokens,
            "collect/num_failed": num_failed,
        }
        if self.cost_usd is not None:
            shown["collect/cost_usd"] = self.cost_usd
        return shown

    def usage(self, seconds: float) -> Usage:
        """The sums as a record."""
        return Usage(
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            cost_usd=self.cost_usd,
            seconds=seconds,
        )


class _Stopwatch:
    """Seconds spent asking, those of earlier attempts included.

    Attributes:
        before_s: Those of earlier attempts.
    """

    def __init__(self, log: MetricsLog, *, laps: list[dict[str, Any]]) -> None:
        self._log = log
        self._num_laps = len(laps)
        self.before_s: float = laps[-1][_TIME_KEY] if laps else 0.0
        self._started_s = time.monotonic()

    def lap(self) -> float:
        """The seconds until now, written down."""
        seconds = self.before_s + time.monotonic() - self._started_s
        self._log.append(self._num_laps, {_TIME_KEY: seconds})
        self._num_laps += 1
        return seconds


class Run:
    """One attempt at a collection: its requests, who answers, and what came of them."""

    def __init__(
        self,
        requests: list[Request],
        teacher: Teacher,
        ledger: Ledger,
        writer: ArtifactWriter,
        config: CollectConfig,
    ) -> None:
        self._requests = requests
        self._teacher = teacher
        self._ledger = ledger
        self._writer = writer
        self._config = config
        self._failures: dict[str, ItemError] = {}
        self._seconds = 0.0

    def ask(self, on_progress: Listener) -> None:
        """Have every request answered or failed, each step in the ledger before it counts."""
        known = self._ledger.answered_ids(request.id for request in self._requests)
        waiting = deque(request for request in self._requests if request.id not in known)
        ticker = Ticker(
            on_progress,
            stage=STAGE,
            total=len(self._requests),
            unit="completions",
            done=len(known),
        )
        open_ids: set[str] = set()

        def pull(num_wanted: int) -> list[Request]:
            if self._has_too_many_failures():
                return []  # no later success could save the stage: stop paying
            group = [waiting.popleft() for _ in range(min(num_wanted, len(waiting)))]
            if group:
                self._ledger.record_sent(group)
                open_ids.update(request.id for request in group)
            return group

        tally = _Tally()
        log_path = self._writer.work_dir / "collect.jsonl"
        with MetricsLog(log_path, resume_at_step=sys.maxsize) as log:
            stopwatch = _Stopwatch(log, laps=list(read_metrics(log_path)))
            self._seconds = stopwatch.before_s
            for completions in self._teacher.stream(pull):
                self._ledger.record_answers(completions)
                open_ids.difference_update(done.request_id for done in completions)
                for completion in completions:
                    self._note(completion, tally)
                self._seconds = stopwatch.lap()
                ticker.advance(len(completions), tally.metrics(len(self._failures)))
        if self._has_too_many_failures():
            raise self._too_many_failures()
        if open_ids or waiting:
            raise TeacherError(
                f"Teacher {self._teacher.info.id!r} ended with {len(open_ids) + len(waiting)} of "
                f"{len(self._requests)} requests unanswered. Run the same command to go on."
            )

    def finish(self, prompts: list[Prompt]) -> Artifact:
        """Write the answers in the order of the prompts, and the manifest."""
        tally = _Tally()
        asked = {request.prompt_id for request in self._requests}
        num_kept = self._writer.write_rows("completions", self._answers(tally), Completion)
        self._writer.write_rows("prompts", (p for p in prompts if p.id in asked), Prompt)
        num_in = len(prompts) * self._config.samples_per_prompt
        dropped = Counter(error.type for error in self._failures.values())
        if num_in > len(self._requests):
            dropped[_DUPLICATE] += num_in - len(self._requests)
        info = self._teacher.info
        return self._writer.finish(
            counts=Counts.model_validate(
                {"in": num_in, "kept": num_kept, "dropped": dict(sorted(dropped.items()))}
            ),
            usage=tally.usage(self._seconds),
            teacher=TeacherRef(
                id=info.id, provider=info.provider, revision=_revision(info, tally.models)
            ),
            tokenizer_sha256=info.tokenizer_sha256,
            chat_template_sha256=info.chat_template_sha256,
            sampling=self._config.sampling,
            seeds={"sampling": self._config.sampling.seed},
        )

    def _answers(self, tally: _Tally) -> Iterator[Completion]:
        """Each answer under the prompt that asks now; the ledger may know another id of it."""
        by_id = {request.id: request.prompt_id for request in self._requests}
        for completion in self._ledger.answered(by_id):
            tally.add(completion)
            yield completion.model_copy(update={"prompt_id": by_id[completion.request_id]})

    def _note(self, completion: Completion, tally: _Tally) -> None:
        if completion.error is not None:
            self._failures[completion.request_id] = completion.error
        else:
            tally.add(completion)

    def _has_too_many_failures(self) -> bool:
        return len(self._failures) / len(self._requests) > self._config.max_failure_fraction

    def _too_many_failures(self) -> TooManyFailuresError:
        num_failed, num_all = len(self._failures), len(self._requests)
        kinds = Counter(error.type for error in self._failures.values())
        kind, times = kinds.most_common(1)[0]
        example = next(error for error in self._failures.values() if error.type == kind)
        return TooManyFailuresError(
            f"{num_failed} of {num_all} requests failed ({num_failed / num_all:.1%}, allowed are "
            f"{self._config.max_failure_fraction:.1%}), {times} of them with {kind!r}: "
            f"{example.message}. Mend the cause and run the same command again; the answers so far "
            f"are kept in {self._ledger.path}."
        )


def _revision(info: TeacherInfo, models: set[str]) -> str | None:
    """An API's revision is the dated model that answered, when it was one and the same."""
    if info.revision is None and info.provider == "http" and len(models) == 1:
        return next(iter(models))
    return info.revision
