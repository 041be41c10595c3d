"""How surprising a weighted sum of independent scores is, right in the far tail.

A normal tail is wrong there: scores of keyed Gumbel marks are skewed, so that a z of 10 is ten
thousand times likelier than a normal one, and few large weights make it worse. The cumulants of the
sum are known exactly, and from them come two tails: Lugannani and Rice's saddlepoint, which is
within a few per cent where more than a few weights count, and Chernoff's bound, which is never too
small. Where few weights count, the bound is what is told.

Letters: W weights, B bins of weights.

Source: Lugannani & Rice 1980, "Saddle point approximation for the distribution of the sum of
independent random variables", Adv. Appl. Prob. 12(2):475; for lattices Daniels 1987, "Tail
probability approximations", Int. Stat. Rev. 55(1):37.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import erfcx, ndtr

from stillhouse.errors import DataError, ShapeError
from stillhouse.statistics._score_laws import Floats, ScoreLaw

MIN_EFFECTIVE = 8.0
"""Below so many weights that count, the bound is told. From 5 on the saddlepoint was within 0.05 in
log10 p of importance sampling for every law here; sums of fewer green scores have steps."""

_BINS_PER_E = 200  # weights of a bin are within 0.5 % of each other, and keep their sum of squares
_SMALLEST = 1e-9  # of the largest weight: what is below counts nothing
_NEAR_MEAN = 1e-4  # of a standard deviation: Lugannani and Rice's formula is 0/0 at the mean


@dataclass(frozen=True)
class WeightedTail:
    """How far out a sum is.

    Attributes:
        z: The sum in standard deviations; its mean is 0 and this scale exact, whatever the tail.
        log10_p: Of a sum at least as large, without a key in play.
        log10_bound: Chernoff's: the true value is not above it, even for one weight.
        effective: (sum w^2)^2 / sum w^4, how many equal weights would vary as much.
    """

    z: float
    log10_p: float
    log10_bound: float
    effective: float


class WeightedSum:
    """The law of sum w x for fixed weights and independent scores x.

    Args:
        weights_W: Finite, of any sign and in any order, not all 0.
        law: Of one score.

    Raises:
        ShapeError, DataError: there are none, or one is not finite, or all are 0.
    """

    def __init__(self, weights_W: npt.ArrayLike, law: ScoreLaw) -> None:
        weights = np.asarray(weights_W, dtype=np.float64).ravel()
        if not weights.size:
            raise ShapeError("No weights are given, so no sum can be tested. Give one or more.")
        if not np.isfinite(weights).all():
            raise DataError("Weights are not all finite. Leave out what could not be measured.")
        largest = np.abs(weights).max()
        if largest == 0:
            raise DataError(
                "All weights are 0: there is nothing to test. Two models that are compared agree "
                "in everything, for instance."
            )
        self._law = law
        self._scale = float(largest)
        self._sum_of_squares = float(np.sum((weights / largest) ** 2))
        self.effective = self._sum_of_squares**2 / float(np.sum((weights / largest) ** 4))
        self._weights_B, self._counts_B = _binned(weights / largest)
        is_equal = bool((weights == weights[0]).all())
        self._span = law.span if is_equal and weights[0] > 0 else 0.0

    @property
    def sd(self) -> float:
        """Standard deviation of the sum, exactly."""
        return self._scale * math.sqrt(self._law.variance * self._sum_of_squares)

    def tail(self, total: float, *, times: float = 1.0) -> WeightedTail:
        """How surprising a sum of `total` or more is.

        Args:
            total: The sum.
            times: As if there were so many times the weights, with a sum of `times` `total`: what
                more of the same would give.
        """
        x = total / self._scale
        variance = self._law.variance * self._sum_of_squares
        z = x / math.sqrt(variance)
        if abs(z) * math.sqrt(times) < _NEAR_MEAN:
            return self._near_mean(z * math.sqrt(times), times)
        if x >= self._largest_sum() * (1 + 1e-12):
            raise DataError(
                f"A sum of {total:g} cannot be reached: these weights and scores give at most "
                f"{self._largest_sum() * self._scale:g}. Scores and weights are of different laws."
            )
        t = self._saddlepoint(x)
        value, _, second = self._cumulants(t)
        gap = max(0.0, t * x - value) * times
        root = math.copysign(math.sqrt(2 * gap), t)
        steepness = _lattice(t, self._span) * math.sqrt(second * times)
        bound = min(0.0, -gap / math.log(10)) if t > 0 else 0.0
        log10_p = _lugannani_rice(root, steepness) / math.log(10)
        effective = self.effective * times
        if effective < MIN_EFFECTIVE or not math.isfinite(log10_p):
            log10_p = bound
        return WeightedTail(z * math.sqrt(times), min(log10_p, 0.0), bound, effective)

    def tilt(self, total: float) -> float:
        """The t of importance sampling: under it the mean of the sum is `total`."""
        return self._saddlepoint(total / self._scale) / self._scale

    def log_mgf(self, argument: float) -> float:
        """Ln E exp(t sum), exactly up to the bins."""
        return self._cumulants(argument * self._scale)[0]

    def _near_mean(self, z: float, times: float) -> WeightedTail:
        cubes = float(np.sum(self._counts_B * self._weights_B**3))
        skew = self._law.third_moment * cubes / (self._law.variance * self._sum_of_squares) ** 1.5
        # Half of the chance of the very value counts, where there is one.
        step = self._span / (2 * math.sqrt(self._law.variance * self._sum_of_squares * times))
        p = 0.5 - (z - step + skew / (6 * math.sqrt(times))) / math.sqrt(2 * math.pi)
        return WeightedTail(z, math.log10(p), 0.0, self.effective * times)

    def _largest_sum(self) -> float:
        positive = float(np.sum((self._counts_B * self._weights_B)[self._weights_B > 0]))
        negative = -float(np.sum((self._counts_B * self._weights_B)[self._weights_B < 0]))
        upper = positive * self._law.largest if positive else 0.0
        lowest = -self._lowest_score()
        return upper + (negative * lowest if negative else 0.0)

    def _lowest_score(self) -> float:
        """The smallest score: where K' goes for arguments that go to minus infinity."""
        return float(self._law.cumulants(np.array([-1e12])).first[0])

    def _cumulants(self, t: float) -> tuple[float, float, float]:
        value, first, second = self._law.cumulants(t * self._weights_B)
        return (
            float(np.sum(self._counts_B * value)),
            float(np.sum(self._counts_B * self._weights_B * first)),
            float(np.sum(self._counts_B * self._weights_B**2 * second)),
        )

    def _saddlepoint(self, x: float) -> float:
        """The t at which the tilted mean is x."""
        sign = 1.0 if x > 0 else -1.0
        same_sign = self._weights_B * sign
        wall = self._law.limit / same_sign.max() if same_sign.max() > 0 else math.inf

        def excess(t: float) -> float:
            return (self._cumulants(sign * t)[1] - x) * sign

        high = min(1.0, wall / 2)
        while excess(high) < 0:
            high = (high + wall) / 2 if math.isfinite(wall) else 2 * high
            if high > 1e9:  # the sum is at the end of what can be reached
                return sign * high
        return sign * float(brentq(excess, 0.0, high, xtol=1e-15, rtol=8.9e-16, maxiter=500))


def _binned(weights_W: Floats) -> tuple[Floats, Floats]:
    """Weights at most 1 in size, gathered in bins: the root mean square of each, and how many."""
    kept = weights_W[np.abs(weights_W) > _SMALLEST]
    bins = np.floor(-np.log(np.abs(kept)) * _BINS_PER_E).astype(np.int64) * 2 + (kept < 0)
    names, places = np.unique(bins, return_inverse=True)
    counts = np.bincount(places).astype(np.float64)
    squares = np.bincount(places, weights=kept**2)
    return np.sqrt(squares / counts) * np.where(names % 2, -1.0, 1.0), counts


def _lattice(t: float, span: float) -> float:
    """t, or what takes its place for sums that have steps."""
    # Far below the mean p is 1 whatever the steps, and the exponential would overflow.
    return -math.expm1(-max(t * span, -50.0)) / span if span else t


def _lugannani_rice(root: float, steepness: float) -> float:
    """Ln p from the signed root of twice the exponent and the scaled saddlepoint; or NaN."""
    if not root or not steepness:  # at the very end of what can be reached: the bound is exact
        return math.nan
    correction = 1 / steepness - 1 / root
    density = math.exp(-root * root / 2) / math.sqrt(2 * math.pi)
    if root < 0:
        return math.log(min(1.0, float(ndtr(-root)) + density * correction))
    # Far out both terms underflow; Mills' ratio less 1 / root keeps enough digits up to 1e4.
    bracket = math.sqrt(math.pi / 2) * float(erfcx(root / math.sqrt(2))) + correction
    if bracket <= 0:
        return math.nan
    return -root * root / 2 - 0.5 * math.log(2 * math.pi) + math.log(bracket)
