"""What a system's confidence is worth: calibration, and what is left of errors without the unsure.

Letters: N messages, I of them independent, K points of a curve.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stillhouse.errors import DataError
from stillhouse.evaluate._task._measure._estimates import Estimator, estimate
from stillhouse.evaluate._task._records import Calibration, ReliabilityBin, RiskPoint, TaskEstimate
from stillhouse.statistics import (
    Interval,
    auroc,
    expected_calibration_error,
    reliability,
    risk_coverage,
)

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_NUM_POINTS = 40  # of the drawn curve: more cannot be told apart
_MIN_ROWS = 20  # below, a curve is noise


@dataclass(frozen=True)
class Confident:
    """Answers with confidences, beside the teacher's.

    Attributes:
        confidence_N: In [0, 1].
        score_N: Against the teacher, finite.
        is_binary: Whether scores are 0 or 1.
        is_probability: Whether a confidence is meant to be the probability of a score of 1.
    """

    confidence_N: Floats
    score_N: Floats
    is_binary: bool
    is_probability: bool


def calibration_of(
    answers: Confident, estimator: Estimator, *, num_bins: int
) -> Calibration | None:
    """The curves; None where confidences do not vary or messages are too few.

    Args:
        answers: Of all messages with a teacher's answer.
        estimator: Of the same messages. Of each of its clusters one message is taken, so that what
            is left is independent.
        num_bins: At most so many bins of equally many messages.
    """
    one_I = one_of_each(estimator.clusters_N)
    chosen = Confident(
        answers.confidence_N[one_I],
        answers.score_N[one_I],
        answers.is_binary,
        answers.is_probability,
    )
    if len(one_I) < _MIN_ROWS or float(np.ptp(chosen.confidence_N)) == 0.0:
        return None
    if chosen.is_binary:
        return _of_binary(chosen, num_bins, estimator.seed)
    alone = Estimator(estimator.clusters_N[one_I], estimator.num_resamples, estimator.seed)
    return _of_graded(chosen, alone, num_bins)


def one_of_each(clusters_N: npt.NDArray[np.str_]) -> npt.NDArray[np.int64]:
    """(I,) the first message of each cluster, in order."""
    _, firsts = np.unique(clusters_N, return_index=True)
    return np.sort(firsts)


def _of_binary(answers: Confident, num_bins: int, seed: int) -> Calibration:
    bins = reliability(answers.confidence_N, answers.score_N, num_bins=num_bins)
    error = None
    if answers.is_probability:
        found = expected_calibration_error(
            answers.confidence_N, answers.score_N, num_bins=num_bins, seed=seed
        ).error
        error = _ordered(found)
    return Calibration(
        bins=tuple(
            ReliabilityBin(
                confidence=one.mean_confidence, agreement=estimate(one.accuracy, "exact")
            )
            for one in bins
        ),
        calibration_error=error,
        auroc=_auroc(answers),
        risk_coverage=_risk_points(answers),
    )


def _auroc(answers: Confident) -> TaskEstimate | None:
    try:
        return estimate(auroc(answers.confidence_N, answers.score_N), "formula")
    except DataError:  # all answers are of one kind
        return None


def _risk_points(answers: Confident) -> tuple[RiskPoint, ...]:
    curve = risk_coverage(answers.confidence_N, 1.0 - answers.score_N)
    num_rows = len(answers.score_N)
    return tuple(
        RiskPoint(
            coverage=float(curve.coverage_K[at]),
            threshold=float(curve.threshold_K[at]),
            risk=estimate(
                Interval(
                    float(curve.risk_K[at]),
                    float(curve.low_K[at]),
                    float(curve.high_K[at]),
                    n=int(curve.kept_K[at]),
                    num_clusters=int(curve.kept_K[at]),
                ),
                "exact",
            ),
        )
        for at in _spread(curve.kept_K, num_rows)
    )


def _of_graded(answers: Confident, estimator: Estimator, num_bins: int) -> Calibration:
    order_N = np.argsort(-answers.confidence_N, kind="stable")
    bins = []
    for part in np.array_split(order_N[::-1], min(num_bins, len(order_N) // 10)):
        score = estimator.mean(answers.score_N, is_binary=False, of_N=_flags(part, order_N))
        assert score is not None  # a part holds ten messages or more
        mean = float(answers.confidence_N[part].mean())
        bins.append(ReliabilityBin(confidence=mean, agreement=score))
    points = []
    for kept in _spread(np.arange(1, len(order_N) + 1), len(order_N)):
        part = order_N[: kept + 1]
        risk = estimator.mean(1.0 - answers.score_N, is_binary=False, of_N=_flags(part, order_N))
        assert risk is not None  # at least one message is kept
        points.append(
            RiskPoint(
                coverage=len(part) / len(order_N),
                threshold=float(answers.confidence_N[part[-1]]),
                risk=risk,
            )
        )
    return Calibration(
        bins=tuple(bins), calibration_error=None, auroc=None, risk_coverage=tuple(points)
    )


def _spread(kept_K: npt.NDArray[np.int64], num_rows: int) -> list[int]:
    """Places of at most so many points, evenly over the coverage, the last among them.

    Those that keep fewer than ten messages are left out: their intervals reach over everything.
    """
    wanted = np.linspace(1 / _NUM_POINTS, 1.0, _NUM_POINTS) * num_rows
    found = np.minimum(np.searchsorted(kept_K, wanted - 1e-9), len(kept_K) - 1)
    return [int(at) for at in dict.fromkeys(found.tolist()) if kept_K[at] >= 10]


def _flags(part: npt.NDArray[np.int64], all_N: npt.NDArray[np.int64]) -> Flags:
    flags = np.zeros(len(all_N), dtype=np.bool_)
    flags[part] = True
    return flags


def _ordered(interval: Interval) -> TaskEstimate:
    """The estimate is a median and may lie a little outside the ends."""
    low, high = min(interval.low, interval.value), max(interval.high, interval.value)
    return estimate(
        Interval(interval.value, low, high, interval.n, interval.num_clusters), "bootstrap"
    )
