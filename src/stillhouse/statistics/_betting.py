"""Intervals for the mean of scores in [0, 1] that hold at every n and every distribution.

Nothing is assumed but that the rows are independent, one for each cluster, and that scores keep
within [0, 1]. They cover at least their confidence, in practice more, and are the graded
counterpart of the exact interval of a fraction.

Letters: N scores, G means of a grid.

Source: Waudby-Smith & Ramdas 2023, "Estimating means of bounded random variables by betting",
JRSS B 86(1):1, arXiv:2010.09686 (WSR below).
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stillhouse.statistics._interval import (
    Floats,
    Interval,
    bounded_scores,
    check_confidence,
)

_STAKE = 0.75  # largest share of the capital at risk in one bet; WSR suggest 1/2 or 3/4
_BERNSTEIN_STAKE = 0.5  # as WSR
_HALVINGS = 50
_GRID = 1000  # means of a confidence sequence, whose ends are rounded outwards to it


@dataclass(frozen=True)
class ConfidenceSequence:
    """Intervals after each score that all hold at once, however long one goes on.

    Attributes:
        mean_N: Mean of the scores so far.
        low_N: Lower ends, never falling.
        high_N: Upper ends, never rising.
    """

    mean_N: Floats
    low_N: Floats
    high_N: Floats


def betting_interval(
    scores_N: npt.ArrayLike, *, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """The mean with the hedged-capital interval: two bettors, one on each side.

    A mean stays in the interval while neither has multiplied its capital by 2 / (1 - confidence).
    The shortest of the intervals here; where all scores are equal it has an honest width.

    Source: WSR theorem 3, the capital split evenly, with their bets for a fixed n.

    Args:
        scores_N: Of independent rows, in [0, 1].
        seed: Of the order in which they are bet on, so that a sorted file does no harm.

    Raises:
        ShapeError, DataError: scores are not one-dimensional, none, not finite or outside [0, 1].
        ConfigError: `confidence` is out of range.
    """
    check_confidence(confidence)
    scores = _shuffled(scores_N, seed)
    tail = (1 - confidence) / 2
    low, high = _betting_low(scores, tail), 1 - _betting_low(1 - scores, tail)
    return _around(scores, low, high)


def betting_upper_bound(
    scores_N: npt.ArrayLike, *, confidence: float = 0.95, seed: int = 0
) -> float:
    """One-sided: the true mean is at most this, in `confidence` of all cases.

    Raises:
        ShapeError, DataError, ConfigError: as in `betting_interval`.
    """
    check_confidence(confidence)
    return 1 - _betting_low(1 - _shuffled(scores_N, seed), 1 - confidence)


def betting_lower_bound(
    scores_N: npt.ArrayLike, *, confidence: float = 0.95, seed: int = 0
) -> float:
    """One-sided: the true mean is at least this, in `confidence` of all cases.

    Raises:
        ShapeError, DataError, ConfigError: as in `betting_interval`.
    """
    check_confidence(confidence)
    return _betting_low(_shuffled(scores_N, seed), 1 - confidence)


def betting_sequence(scores_N: npt.ArrayLike, *, confidence: float = 0.95) -> ConfidenceSequence:
    """Hedged-capital intervals after each score, for looking as often as one likes.

    Scores are taken in the order in which they came. Ends are rounded outwards to a thousandth.

    Source: WSR theorem 3, with their bets for an n that is not known beforehand.

    Raises:
        ShapeError, DataError, ConfigError: as in `betting_interval`.
    """
    scores = bounded_scores("scores", scores_N)
    check_confidence(confidence)
    times_N = np.arange(1, len(scores) + 1)
    tail = (1 - confidence) / 2
    ends = []
    for side in (scores, 1 - scores):
        spread_N = _spread_before(side) * times_N * np.log1p(times_N)
        bets_N = np.sqrt(2 * math.log(1 / tail) / spread_N)
        ends.append(_crossed(side, bets_N, math.log(1 / tail)))
    return ConfidenceSequence(np.cumsum(scores) / times_N, ends[0], 1 - ends[1])


def bernstein_interval(
    scores_N: npt.ArrayLike, *, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """The mean with the predictable plug-in empirical-Bernstein interval, in closed form.

    Wider than `betting_interval` (about twice where scores hardly vary) and for checking it.

    Source: WSR theorem 2, with their bets for a fixed n.

    Args:
        scores_N: Of independent rows, in [0, 1].
        seed: Of the order in which they are looked at.

    Raises:
        ShapeError, DataError, ConfigError: as in `betting_interval`.
    """
    check_confidence(confidence)
    scores = _shuffled(scores_N, seed)
    middle, reach = _bernstein(scores, (1 - confidence) / 2)
    return _around(scores, max(0.0, middle - reach), min(1.0, middle + reach))


def bernstein_upper_bound(
    scores_N: npt.ArrayLike, *, confidence: float = 0.95, seed: int = 0
) -> float:
    """One-sided: the true mean is at most this, in `confidence` of all cases.

    Raises:
        ShapeError, DataError, ConfigError: as in `betting_interval`.
    """
    check_confidence(confidence)
    middle, reach = _bernstein(_shuffled(scores_N, seed), 1 - confidence)
    return min(1.0, middle + reach)


def _shuffled(scores_N: npt.ArrayLike, seed: int) -> Floats:
    return np.random.default_rng(seed).permutation(bounded_scores("scores", scores_N))


def _around(scores_N: Floats, low: float, high: float) -> Interval:
    n, mean = len(scores_N), float(scores_N.mean())
    # Early luck can put an end past the mean of all; a wider interval covers no less.
    return Interval(mean, min(low, mean), max(high, mean), n=n, num_clusters=n)


def _means_before(scores_N: Floats) -> Floats:
    """Mean before each score, shrunk to 1/2: what a bettor knows then."""
    earlier_N = np.cumsum(scores_N) - scores_N
    return (0.5 + earlier_N) / np.arange(1, len(scores_N) + 1)


def _spread_before(scores_N: Floats) -> Floats:
    """Variance before each score, shrunk to 1/4."""
    times_N = np.arange(1, len(scores_N) + 1)
    means_N = (0.5 + np.cumsum(scores_N)) / (times_N + 1)
    squares_N = (scores_N - means_N) ** 2
    return (0.25 + np.cumsum(squares_N) - squares_N) / times_N


def _betting_low(scores_N: Floats, tail: float) -> float:
    """Largest mean that a bettor on more has refuted, from below; capital falls in the mean."""
    needed = math.log(1 / tail)
    bets_N = np.sqrt(2 * needed / (len(scores_N) * _spread_before(scores_N)))
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        is_refuted = _log_capital(scores_N, bets_N, middle).max() >= needed
        low, high = (middle, high) if is_refuted else (low, middle)
    return low


def _log_capital(scores_N: Floats, bets_N: Floats, mean: float) -> Floats:
    """Log of the capital after each bet that scores exceed `mean`."""
    capped_N = np.minimum(bets_N, _STAKE / mean)
    return np.cumsum(np.log1p(capped_N * (scores_N - mean)))


def _crossed(scores_N: Floats, bets_N: Floats, needed: float) -> Floats:
    """Largest mean of a grid that is refuted by each time; 0 where none is."""
    means_G = np.arange(1, _GRID) / _GRID
    low_N = np.zeros(len(scores_N))
    for mean in means_G:
        refuted_N = _log_capital(scores_N, bets_N, mean) >= needed
        if not refuted_N.any():
            break  # higher means are refuted later, if at all
        low_N[int(np.argmax(refuted_N)) :] = mean
    return low_N


def _bernstein(scores_N: Floats, tail: float) -> tuple[float, float]:
    needed = math.log(1 / tail)
    bets_N = np.sqrt(2 * needed / (len(scores_N) * _spread_before(scores_N)))
    bets_N = np.minimum(bets_N, _BERNSTEIN_STAKE)
    squares_N = (scores_N - _means_before(scores_N)) ** 2
    costs_N = -np.log1p(-bets_N) - bets_N  # WSR's psi_E times 4; their v has that factor
    middle = float(bets_N @ scores_N / bets_N.sum())
    return middle, float((needed + squares_N @ costs_N) / bets_N.sum())
