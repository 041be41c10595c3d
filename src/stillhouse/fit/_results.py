"""What fitting showed, for the manifest.

Letters: N rows.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from stillhouse.classifiers import Classifier
from stillhouse.fit._calibrate import Calibrated
from stillhouse.fit._rows import Floats, TaskRows
from stillhouse.fit._validation import ValidationRow, predicted_answers
from stillhouse.statistics import (
    Interval,
    bounded_mean,
    expected_calibration_error,
    wilson_interval,
)
from stillhouse.tasks import answer_labels

_DIGITS = 6


def estimate(interval: Interval) -> dict[str, Any]:
    """An estimate as plain data."""
    return {
        "value": round(interval.value, _DIGITS),
        "low": round(interval.low, _DIGITS),
        "high": round(interval.high, _DIGITS),
        "n": interval.n,
    }


def fraction(flags: Sequence[bool], clusters: Sequence[str]) -> Interval:
    """The fraction of rows that are true, with its interval; rows of one cluster hang together."""
    if len(set(clusters)) == len(clusters):
        return wilson_interval(sum(flags), len(flags))
    return bounded_mean(np.array(flags, dtype=np.float64), clusters=list(clusters))


def student_results(classifier: Classifier, learnt: TaskRows) -> dict[str, Any]:
    """What the student is, and what it learnt from."""
    task = learnt.task
    counts = Counter(label for answer in learnt.answers for label in answer_labels(task, answer))
    return {
        "task": task.model_dump(mode="json", by_alias=True),
        "student": classifier.kind,
        "labels": len(task.labels),
        "unseen_labels": list(classifier.report.unseen_labels),
        "rows_per_label": {label: counts[label] for label in task.labels},
        "parameters": classifier.num_parameters,
        "bytes": classifier.num_bytes,
        "training_rows": len(learnt),
        "report": classifier.report.model_dump(mode="json", exclude={"unseen_labels", "warnings"}),
    }


def validation_results(
    rows: Sequence[ValidationRow], aside: TaskRows, made: Calibrated
) -> dict[str, Any]:
    """How the student does on the rows that were set aside.

    Args:
        rows: N rows with its answers.
        aside: The same rows.
        made: The student, its calibration, and its probabilities.
    """
    clusters = aside.units
    agreement = estimate(fraction([row.predicted == row.answer for row in rows], clusters))
    found: dict[str, Any] = {
        "agreement": agreement["value"],
        "low": agreement["low"],
        "high": agreement["high"],
        "rows": len(rows),
        "temperature": None
        if made.classifier.is_multiple  # a slope and an offset for each label instead
        else round(made.classifier.calibration.temperature, _DIGITS),
        "calibration_rows": made.classifier.calibration.num_rows,
    }
    settled = [row.settled for row in rows]
    if settled != [row.answer for row in rows]:
        right = [row.predicted == row.settled for row in rows]
        found["settled_agreement"] = estimate(fraction(right, clusters))
    found["calibration_error"] = {
        "before": _calibration_error(aside, settled, made.before_NL),
        "after": None
        if made.unseen_NL is None
        else _calibration_error(aside, settled, made.unseen_NL),
    }
    return found


def _calibration_error(aside: TaskRows, settled: Sequence[str], given_NL: Floats) -> dict[str, Any]:
    predicted, confidences_N = predicted_answers(aside.task, given_NL)
    is_right_N = [guess == right for guess, right in zip(predicted, settled, strict=True)]
    error = expected_calibration_error(np.clip(confidences_N, 0.0, 1.0), is_right_N)
    return {**estimate(error.error), "plug_in": round(error.plug_in, _DIGITS)}
