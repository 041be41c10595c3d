"""How far stated confidences are from how often answers are right.

Rows are independent, one for each cluster. Letters: N rows, B bins, R simulations.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stillhouse.errors import ConfigError
from stillhouse.statistics._fractions import fraction_interval
from stillhouse.statistics._interval import (
    Floats,
    Integers,
    Interval,
    binary_scores,
    bounded_scores,
    check_confidence,
    same_length,
)

_ROWS_PER_BIN = 10  # fewer say next to nothing about a bin
_NUM_SIMULATIONS = 1000
_STEPS = 9  # halvings of an interval of scales: finer than the simulation tells apart
_GREATEST_SCALE = 1e6


@dataclass(frozen=True)
class ReliabilityBin:
    """Rows of similar confidence.

    Attributes:
        low: Least confidence among them.
        high: Greatest.
        mean_confidence: What they claim.
        accuracy: Fraction that is right, with its exact interval.
    """

    low: float
    high: float
    mean_confidence: float
    accuracy: Interval


@dataclass(frozen=True)
class CalibrationError:
    """The expected calibration error, twice.

    Attributes:
        error: Freed of the bias that chance adds to `plug_in`, with its interval.
        plug_in: As commonly published: mean over rows of the distance between confidence and
            accuracy in their bin. Above 0 also for perfect calibration.
        num_bins: Bins that were used.
    """

    error: Interval
    plug_in: float
    num_bins: int


def reliability(
    confidences_N: npt.ArrayLike,
    correct_N: npt.ArrayLike,
    *,
    num_bins: int = 15,
    confidence: float = 0.95,
) -> tuple[ReliabilityBin, ...]:
    """Accuracy by stated confidence, in bins of equally many rows.

    Equal confidences share a bin and each bin has 10 rows or more, so there may be fewer bins.

    Args:
        confidences_N: In [0, 1].
        correct_N: 0 or 1.
        num_bins: At most so many.
        confidence: Of each bin's interval, not of all together.

    Raises:
        ShapeError, DataError: lengths differ, there is no row, or a value is out of range.
        ConfigError: `num_bins` or `confidence` is out of range.
    """
    stated, correct, starts_B = _binned(confidences_N, correct_N, num_bins)
    bins = []
    for start, stop in zip(starts_B, [*starts_B[1:], len(stated)], strict=True):
        accuracy = fraction_interval(
            int(correct[start:stop].sum()), int(stop - start), confidence=confidence
        )
        inside = stated[start:stop]
        mean = float(inside.mean())
        bins.append(ReliabilityBin(float(inside[0]), float(inside[-1]), mean, accuracy))
    return tuple(bins)


def expected_calibration_error(
    confidences_N: npt.ArrayLike,
    correct_N: npt.ArrayLike,
    *,
    num_bins: int = 15,
    confidence: float = 0.95,
    seed: int = 0,
) -> CalibrationError:
    """Mean distance between confidence and accuracy over bins of equally many rows.

    What is estimated is the distance in these bins, for rows with these confidences. Distances
    cannot cancel, so chance alone makes the plug-in estimate positive and a plain bootstrap would
    double that. Instead gaps are scaled up and down, data of each scale are simulated, and the
    interval holds the errors under which the observed plug-in is not unusual (a parametric
    bootstrap test inverted, DiCiccio & Romano 1990); the estimate is the one under which it is the
    median. Gaps are taken as large as observed in each bin and, because chance hides small ones
    best, equally large in all; the interval ends midway between what the two allow. In simulations
    it covers 93 to 96 % where there is an error, and perfect calibration, which is in it where the
    data do not refute it, 98.6 %.

    Source: Naeini et al. 2015, "Obtaining Well Calibrated Probabilities Using Bayesian Binning";
    equal-mass bins and bias as Kumar, Liang & Ma 2019, "Verified Uncertainty Calibration",
    arXiv:1909.10155, and Roelofs et al. 2022, arXiv:2012.08668.

    Args:
        confidences_N: In [0, 1].
        correct_N: 0 or 1.
        num_bins: At most so many; each has 10 rows or more.
        seed: Of the simulation.

    Raises:
        ShapeError, DataError, ConfigError: as in `reliability`.
    """
    check_confidence(confidence)
    stated, correct, starts_B = _binned(confidences_N, correct_N, num_bins)
    rows_B = np.diff([*starts_B, len(stated)])
    stated_B = np.add.reduceat(stated, starts_B) / rows_B
    right_B = np.add.reduceat(correct, starts_B)
    observed = float(_distance(stated_B, right_B / rows_B, rows_B))
    # Half a row of the other kind, so that a bin that is all right may still be not quite so.
    gap_B = stated_B - (right_B + 0.5) / (rows_B + 1)
    even_B = np.copysign(np.abs(gap_B) @ rows_B / rows_B.sum(), gap_B)
    by_pattern = [
        _allowed_errors(_Bins(stated_B, rows_B, observed, pattern_B), confidence, seed)
        for pattern_B in (even_B, gap_B)
    ]
    n = len(stated)
    low, _, high = np.mean(by_pattern, axis=0).tolist()
    value = by_pattern[0][1]
    error = Interval(value, min(low, value), max(high, value), n=n, num_clusters=n)
    return CalibrationError(error, observed, len(rows_B))


@dataclass(frozen=True)
class _Bins:
    stated_B: Floats
    rows_B: Integers
    observed: float
    pattern_B: Floats  # gaps between confidence and accuracy at a scale of 1

    def accuracy_at(self, scale: float) -> Floats:
        accuracy_B: Floats = np.clip(self.stated_B - scale * self.pattern_B, 0.0, 1.0)
        return accuracy_B

    def share_below(self, scale: float, ties: float, seed: int) -> float:
        """How often data of that scale have a smaller plug-in estimate, or part of an equal one."""
        draws = np.random.default_rng(seed)
        shape = (_NUM_SIMULATIONS, len(self.rows_B))
        right_RB = draws.binomial(self.rows_B, self.accuracy_at(scale), shape)
        above_R = _distance(self.stated_B, right_RB / self.rows_B, self.rows_B) - self.observed
        is_tie_R = np.abs(above_R) <= 1e-12
        return float(np.mean(np.where(is_tie_R, ties, above_R < 0)))


def _allowed_errors(bins: _Bins, confidence: float, seed: int) -> tuple[float, float, float]:
    """Least, median and greatest error of one pattern for which the observed is not unusual."""
    tail = (1 - confidence) / 2
    low, middle, high = (
        float(_distance(bins.stated_B, bins.accuracy_at(scale), bins.rows_B))
        for scale in (
            _scale_of(bins, 1 - tail, 0.0, seed),
            _scale_of(bins, 0.5, 0.5, seed),
            _scale_of(bins, tail, 1.0, seed),
        )
    )
    # Data that are calmer than calibrated ones mostly are refute every scale.
    return low, middle, high or bins.observed


def _scale_of(bins: _Bins, share: float, ties: float, seed: int) -> float:
    """The scale at which that share lies below; 0 where even perfect calibration has less."""
    if bins.share_below(0.0, ties, seed) <= share:
        return 0.0
    low, high = 0.0, 1.0
    while bins.share_below(high, ties, seed) > share:
        low, high = high, 2 * high
        if high > _GREATEST_SCALE:  # accuracies are 0 or 1 by then
            return high
    for _ in range(_STEPS):
        middle = (low + high) / 2
        is_short = bins.share_below(middle, ties, seed) > share
        low, high = (middle, high) if is_short else (low, middle)
    return (low + high) / 2


def _distance(stated_B: Floats, accuracy_XB: Floats, rows_B: Integers) -> Floats:
    distance_X: Floats = np.abs(stated_B - accuracy_XB) @ (rows_B / rows_B.sum())
    return distance_X


def _binned(
    confidences_N: npt.ArrayLike, correct_N: npt.ArrayLike, num_bins: int
) -> tuple[Floats, Floats, Integers]:
    """Both columns by rising confidence, and where each bin starts."""
    if num_bins < 1:
        raise ConfigError(f"num_bins={num_bins} is no number of bins. Give at least 1.")
    stated = bounded_scores("confidences", confidences_N)
    correct = binary_scores("correct", correct_N)
    same_length("confidences and correct", stated, correct)
    order_N = np.argsort(stated, kind="stable")
    stated, correct = stated[order_N], correct[order_N]
    num_bins = max(1, min(num_bins, len(stated) // _ROWS_PER_BIN))
    wanted_B = np.arange(num_bins) * len(stated) // num_bins
    starts = [0]
    # Equal confidences stay together, so a bin begins where the run of equal ones does.
    for start in np.searchsorted(stated, stated[wanted_B], side="left"):
        is_full = start - starts[-1] >= _ROWS_PER_BIN and len(stated) - start >= _ROWS_PER_BIN
        if is_full:
            starts.append(int(start))
    return stated, correct, np.array(starts, dtype=np.int64)
