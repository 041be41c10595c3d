"""From answers and times to the figures of a system.

Letters: N messages.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from stillhouse.economics import TeacherCalls
from stillhouse.evaluate._task._config import TaskEvaluateConfig
from stillhouse.evaluate._task._held_out import HeldOut
from stillhouse.evaluate._task._measure._calibration import Confident, calibration_of
from stillhouse.evaluate._task._measure._costs import (
    student_cost,
    teacher_cost,
    training_cost,
)
from stillhouse.evaluate._task._measure._estimates import Estimator, estimate
from stillhouse.evaluate._task._measure._fields import (
    document_flags,
    document_result,
    field_results,
)
from stillhouse.evaluate._task._measure._labels import (
    confused_pairs,
    label_counts,
    worst_labels,
)
from stillhouse.evaluate._task._measure._measured import Measured
from stillhouse.evaluate._task._measure._scores import Floats, Scored, score_teacher
from stillhouse.evaluate._task._measure._texts import text_result
from stillhouse.evaluate._task._measure._timing import latency_of, throughput_of
from stillhouse.evaluate._task._records import Calibration, SystemResult, TaskEstimate
from stillhouse.graders import agreement_grader, grader_of
from stillhouse.statistics import cohen_kappa

TEACHER = "teacher"

_NO_ANSWER = "\x00"  # no canonical answer holds it


@dataclass(frozen=True)
class Analyst:
    """Makes figures of one task's held-out messages.

    Attributes:
        held_out: The messages.
        config: What to show.
        calls: The teacher's, as they were logged.
    """

    held_out: HeldOut
    config: TaskEvaluateConfig
    calls: TeacherCalls

    @cached_property
    def estimator(self) -> Estimator:
        """Of all messages."""
        return Estimator(self.held_out.clusters_N, self.config.num_resamples, self.config.seed)

    def estimator_of(self, places: Sequence[int]) -> Estimator:
        """Of the messages at these places."""
        clusters = self.held_out.clusters_N[list(places)]
        return Estimator(clusters, self.config.num_resamples, self.config.seed)

    @cached_property
    def teacher(self) -> Scored:
        """The teacher's answers against the right ones."""
        return score_teacher(self.held_out)

    def teacher_result(self) -> SystemResult:
        """The teacher's row; its speed is that of the calls that were logged."""
        return SystemResult(
            name=TEACHER,
            role="teacher",
            answered_by="recorded",
            agreement=None,
            gold=self._gold(self.teacher),
            valid=self._valid(self.teacher),
            latency=latency_of(self.calls.seconds_N, num_threads=None, is_logged=True),
            usd_per_1000=teacher_cost(self.calls, self.config),
        )

    def result(self, measured: Measured) -> SystemResult:
        """The row of any other system."""
        facts, scored = measured.facts, measured.scored
        latency = latency_of(
            measured.times_s,
            num_threads=facts.num_threads,
            is_logged=False,
        )
        batches = measured.batches
        row = SystemResult(
            name=facts.name,
            role=facts.role,
            kind=facts.kind,
            answered_by=facts.answered_by,
            agreement=self.agreement(scored),
            gold=self._gold(scored),
            kappa=self._kappa(scored),
            valid=self._valid(scored),
            problems=scored.problems(),
            latency=latency,
            per_second=throughput_of(batches, self.config.seed) if batches else None,
            num_parameters=facts.num_parameters,
            num_bytes=facts.num_bytes,
            training_seconds=facts.training_seconds,
            training_usd=None
            if facts.training_seconds is None
            else training_cost(facts.training_seconds, self.config),
            usd_per_1000=student_cost(latency, self.config),
            validation=facts.validation,
            calibration=self._calibration(measured),
        )
        return row if facts.role in ("majority", "copy") else self._with_details(row, scored)

    def agreement(self, scored: Scored) -> TaskEstimate:
        """Mean score against the teacher."""
        found = self.estimator.mean(
            scored.agreement_N,
            is_binary=agreement_grader(self.held_out.task).is_binary,
            of_N=self.held_out.has_teacher_N,
        )
        assert found is not None  # a dataset without any answer of the teacher is refused
        return found

    def _gold(self, scored: Scored) -> TaskEstimate | None:
        return self.estimator.mean(
            scored.gold_N,
            is_binary=grader_of(self.held_out.task).is_binary,
            of_N=self.held_out.has_gold_N,
        )

    def _valid(self, scored: Scored) -> TaskEstimate:
        found = self.estimator.mean(scored.is_valid_N, is_binary=True)
        assert found is not None  # there are messages
        return found

    def _kappa(self, scored: Scored) -> TaskEstimate | None:
        if self.held_out.task.kind != "classification":
            return None
        of_N = self.held_out.has_teacher_N
        given = np.array([text if text is not None else _NO_ANSWER for text in scored.texts])
        teacher = np.array([row.answer or "" for row in self.held_out.rows])
        clusters = self.held_out.clusters_N[of_N]
        return estimate(cohen_kappa(given[of_N], teacher[of_N], clusters=clusters), "formula")

    def _calibration(self, measured: Measured) -> Calibration | None:
        confidence_N = measured.scored.confidence_N
        if confidence_N is None:
            return None
        of_N = self.held_out.has_teacher_N
        scores_N, is_binary = self._correctness(measured.scored)
        answers = Confident(
            confidence_N[of_N], scores_N[of_N], is_binary, measured.facts.is_probability
        )
        among = self.estimator_of(np.flatnonzero(of_N).tolist())
        return calibration_of(answers, among, num_bins=self.config.num_bins)

    def _correctness(self, scored: Scored) -> tuple[Floats, bool]:
        """What a confidence is held against: of an extraction, whether all of it is right."""
        task = self.held_out.task
        if task.kind == "extraction":
            teacher = [row.answer for row in self.held_out.rows]
            return document_flags(scored.texts, teacher).astype(np.float64), True
        if task.kind == "classification":
            # Several labels with a graded score: the confidence is that of the very set.
            equal = [
                float(text is not None and text == row.answer)
                for text, row in zip(scored.texts, self.held_out.rows, strict=True)
            ]
            return np.array(equal), True
        return scored.agreement_N, agreement_grader(task).is_binary

    def _with_details(self, row: SystemResult, scored: Scored) -> SystemResult:
        held_out, texts = self.held_out, scored.texts
        if held_out.task.kind == "extraction":
            return row.model_copy(
                update={
                    "fields": field_results(held_out, texts, self.estimator),
                    "document": document_result(held_out, texts, self.estimator),
                }
            )
        if held_out.task.kind == "text":
            return row.model_copy(update={"text": text_result(held_out, scored, self.estimator)})
        return row.model_copy(
            update={
                "labels": label_counts(held_out, texts),
                "worst_labels": worst_labels(
                    held_out, texts, self.estimator, wanted=self.config.num_worst_labels
                ),
                "confused": confused_pairs(held_out, texts, wanted=self.config.num_confused_pairs),
            }
        )
