"""The one training loop: steps, their record, and checkpoints to go on from."""

import contextlib
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from stillhouse.runlog import Listener, MetricsLog, Ticker, ignore_progress
from stillhouse.train._checkpoint import CheckpointState, load_checkpoint, save_checkpoint
from stillhouse.train._diagnose import diagnosis_clock
from stillhouse.train._parts import parts_of
from stillhouse.train._plan import Plan
from stillhouse.train._ranks import ALONE, Ranks
from stillhouse.train._step import Stepper, StepResult

V = TypeVar("V")


class Loop:
    """Runs the steps that are left of a plan.

    Attributes:
        metrics_path: One line per finished step, over all attempts.
        checkpoints_dir: Where this attempt goes on, and the next one would.
        diagnosed_at_end: What was measured after the last step, if anything was to be.
    """

    def __init__(
        self,
        plan: Plan,
        work_dir: Path,
        *,
        started_s: float,
        on_progress: Listener,
        ranks: Ranks = ALONE,
    ) -> None:
        self.metrics_path = work_dir / "metrics.jsonl"
        self.checkpoints_dir = work_dir / "checkpoints"
        self._plan = plan
        self._ranks = ranks
        self._on_progress = on_progress if ranks.is_first else ignore_progress
        self._stepper = Stepper(
            plan.student.model.network,
            plan.config,
            plan.schedule.num_steps,
            ranks,
            num_ids=plan.num_ids,
            match=plan.match,
        )
        self._clock = diagnosis_clock(plan.config)
        self.diagnosed_at_end: dict[str, float] = {}
        self._started_s = started_s
        self._spent_before_s = 0.0
        self._num_done = 0
        self._is_between_steps = True

    @property
    def seconds(self) -> float:
        """Time spent since the stage began, with that of earlier attempts."""
        return self._spent_before_s + time.monotonic() - self._started_s

    def run(self) -> None:
        """Train to the end; the student's network then holds the result.

        When it is interrupted (Ctrl-C) the steps that are finished are kept for the next attempt.

        Raises:
            NonFiniteLossError: training diverged.
            CheckpointError: the checkpoint of an earlier attempt is damaged.
        """
        self._resume()
        with self._metrics_log() as log:
            try:
                self._run_steps(log)
            except KeyboardInterrupt:
                # Halfway through an update the weights are those of no step: the last checkpoint
                # is what is left then. Forward and backward passes do not touch them.
                # Other ranks may be elsewhere, so that nothing can be gathered.
                if self._is_between_steps and self._num_done and self._ranks.size == 1:
                    self._save()
                raise
        self._stepper.check_weights(self._num_done - 1)
        self._stepper.finish()
        if self._plan.diagnosis is not None:
            self.diagnosed_at_end = self._plan.diagnosis.measure()

    def _metrics_log(self) -> contextlib.AbstractContextManager[MetricsLog | None]:
        if not self._ranks.is_first:
            return contextlib.nullcontext()
        return MetricsLog(self.metrics_path, resume_at_step=self._num_done)

    def _resume(self) -> None:
        state, kept = load_checkpoint(
            self.checkpoints_dir, network=self._stepper.network, optimizer=self._stepper.optimizer
        )
        if kept:
            for companion in self._plan.companions:
                companion.restore(kept)
        self._num_done, self._spent_before_s = state

    def _run_steps(self, log: MetricsLog | None) -> None:
        num_steps = self._plan.schedule.num_steps
        ticker = Ticker(
            self._on_progress,
            stage=f"train {self._plan.student.model.name}",
            total=num_steps,
            unit="steps",
            done=self._num_done,
        )
        saved_s = time.monotonic()
        for step, batch in self._plan.schedule.steps(self._num_done):
            metrics = self._run_step(step, batch, log)
            ticker.advance(metrics=metrics)
            is_due = time.monotonic() - saved_s >= self._plan.config.checkpoint_s
            if self._ranks.from_first(is_due) and self._num_done < num_steps:
                self._save()
                saved_s = time.monotonic()

    def _run_step(self, step: int, batch: list[int], log: MetricsLog | None) -> dict[str, float]:
        diagnosed = self._diagnose(step)
        started_s = time.monotonic()
        lessons = self._plan.source.lessons(step, batch)
        parts = parts_of(lessons, self._plan.config, self._ranks)
        result = self._stepper.learn(step, parts, self._plan.guide)
        self._is_between_steps = False
        self._stepper.update(step)
        for companion in self._plan.companions:
            companion.update(step)
        rate = self._stepper.learning_rate(step)
        metrics = {
            **_metrics(result, rate, time.monotonic() - started_s),
            **_merged(companion.metrics() for companion in self._plan.companions),
            **diagnosed,
        }
        if log is not None:
            log.append(step, metrics)
        self._num_done = step + 1
        self._is_between_steps = True
        return metrics

    def _diagnose(self, step: int) -> dict[str, float]:
        """What there is to say about the student before this step."""
        if self._plan.diagnosis is None or not self._clock.is_due(step):
            return {}
        measured = self._plan.diagnosis.measure()
        self._clock.spent(measured["time/diagnose_s"])
        return measured

    def _save(self) -> None:
        save_checkpoint(
            self.checkpoints_dir,
            CheckpointState(step=self._num_done, seconds=self.seconds),
            network=self._stepper.network,
            optimizer=self._stepper.optimizer,
            source=_merged(companion.state() for companion in self._plan.companions),
            is_first=self._ranks.is_first,
        )


def _merged(parts: Iterable[Mapping[str, V]]) -> dict[str, V]:
    return {name: value for part in parts for name, value in part.items()}


def _metrics(result: StepResult, learning_rate: float, seconds: float) -> dict[str, float]:
    return {
        "train/loss_nats": result.loss_nats,
        "train/grad_norm": result.grad_norm,
        "train/learning_rate": learning_rate,
        "train/tokens": result.num_tokens,
        "train/padded_tokens": result.num_padded_tokens,
        "train/tokens_per_s": result.num_tokens / seconds,
        "time/step_s": seconds,
    }
