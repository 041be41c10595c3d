"""Upper tails of weighted sums of independent scores, by Lugannani and Rice's saddlepoint formula.

All is in logarithms: what is as rare as 1e-300 is told as such. The formula is exact for the normal
law, and off by 8 % of p at most for a single exponential variable, its worst case here; matching
two moments with a Gamma law, as is often done, is off by a factor of 147 at 1e-10 for short texts.

Letters: M sums, J kinds of terms.

Source: Lugannani & Rice 1980, "Saddle point approximation for the distribution of the sum of
independent random variables", Adv. Appl. Prob. 12(2):475; for lattices Daniels 1987, "Tail
probability approximations", Int. Stat. Rev. 55(1):37.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import erfcx, ndtr

from stillhouse.statistics._score_laws import Cumulants, Floats, ScoreLaw

_MOST_STEPS = 200
_FARTHEST = 1e9  # where the weights are about 1, such an argument is as good as infinite
_TOLERANCE = 1e-14  # of the sum: what rounding leaves of it
_NEAR_MEAN = 1e-15  # see `TermSums.tail`

_Excess = Callable[[Floats], tuple[Floats, Floats]]


class SaddlepointTail(NamedTuple):
    """Tails of sums, each (M,).

    Attributes:
        log_p: Ln P(sum >= x), at most 0. At the very end of what can be reached it is the bound,
            which is exact there.
        exponent: t x - K(t) at the saddlepoint t, 0 or more. Above the mean exp(-exponent) is
            Chernoff's bound: the true p is not above it.
    """

    log_p: Floats
    exponent: Floats


class TermSums:
    """M sums of independent terms: `counts` times weight times a centred score.

    Args:
        weights_MJ: Finite; the largest of a row is of the order of 1.
        counts_MJ: 0 or more, not all 0 in a row.
        law: Of a score.
        span: Distance between neighbouring values of a sum; 0 where there are no steps.
    """

    def __init__(
        self, weights_MJ: Floats, counts_MJ: Floats, law: ScoreLaw, *, span: float = 0.0
    ) -> None:
        self._weights_MJ = np.where(counts_MJ > 0, weights_MJ, 0.0)
        self._counts_MJ = counts_MJ
        self._law = law
        self._span = span

    def tail(self, x_M: Floats) -> SaddlepointTail:
        """Ln P(sum >= x)."""
        t_M = self.saddlepoint(x_M)
        k = self.cumulants(t_M)
        exponent_M = np.maximum(t_M * x_M - k.value, 0.0)
        root_M = np.copysign(np.sqrt(2 * exponent_M), t_M)
        steepness_M = self._lattice(t_M) * np.sqrt(k.second)
        # At the mean the formula is 0 / 0. Rounding of K costs it about eps sqrt(n) / root^2, and
        # what it tends to is off by about root / 10: the two meet at this root.
        near_M = np.cbrt(_NEAR_MEAN * np.sqrt(self._counts_MJ.sum(axis=1)))
        step_M = np.where(np.abs(root_M) < near_M, self._at_mean(), _step(root_M, steepness_M))
        log_p_M = _log_p(root_M, step_M)
        # Chernoff bounds both sides; where nothing varies any more, that is all there is.
        with np.errstate(divide="ignore"):
            least_M = np.where(t_M > 0, -np.inf, np.log1p(-np.exp(-exponent_M)))
        most_M = np.where(t_M > 0, -exponent_M, 0.0)
        return SaddlepointTail(np.fmin(np.fmax(log_p_M, least_M), most_M), exponent_M)

    def cumulants(self, t_M: Floats) -> Cumulants:
        """K(t) of each sum with its first two derivatives."""
        k = self._law.cumulants(t_M[:, None] * self._weights_MJ)
        weighted_MJ = self._counts_MJ * self._weights_MJ
        return Cumulants(
            (self._counts_MJ * k.value).sum(axis=1),
            (weighted_MJ * k.first).sum(axis=1),
            (weighted_MJ * self._weights_MJ * k.second).sum(axis=1),
        )

    def saddlepoint(self, x_M: Floats) -> Floats:
        """The t at which the tilted mean is x, by Newton's method kept within a bracket.

        All is done for the side of the mean that x is on, with t made positive.
        """
        sign_M = np.where(x_M > 0, 1.0, -1.0)
        top_M = (self._weights_MJ * sign_M[:, None]).max(axis=1)
        with np.errstate(divide="ignore"):
            wall_M = np.where(top_M > 0, self._law.limit / np.maximum(top_M, 0.0), np.inf)

        def at(t_M: Floats) -> tuple[Floats, Floats]:
            k = self.cumulants(sign_M * t_M)
            return (k.first - x_M) * sign_M, k.second

        low_M = np.zeros_like(x_M)
        tolerance_M = _TOLERANCE * np.abs(x_M)
        # Where K' is convex, as for skewed sums, the first guess of Newton's method is beyond.
        high_M = np.minimum(np.abs(x_M) / at(low_M)[1], wall_M / 2)
        while True:
            miss_M, _ = at(high_M)
            most_M = np.minimum(wall_M * (1 - 1e-15), _FARTHEST)
            goes_on_M = (miss_M < -tolerance_M) & (high_M < most_M)
            if not goes_on_M.any():
                break
            low_M = np.where(goes_on_M, high_M, low_M)
            with np.errstate(invalid="ignore"):
                nearer_M = np.minimum((high_M + wall_M) / 2, wall_M * (1 - 1e-15))
            next_M = np.where(np.isfinite(wall_M), nearer_M, 2 * high_M)
            high_M = np.where(goes_on_M, next_M, high_M)
        return sign_M * _newton(at, low_M, high_M, tolerance_M)

    def _lattice(self, t_M: Floats) -> Floats:
        """T, or what takes its place for sums that have steps."""
        if not self._span:
            return t_M
        # Far below the mean p is 1 whatever the steps, and the exponential would overflow.
        return -np.expm1(-np.maximum(t_M * self._span, -50.0)) / self._span

    def _at_mean(self) -> Floats:
        """Where 1 / steepness - 1 / root tends to: half a step, less a sixth of the skewness."""
        squares_M = (self._counts_MJ * self._weights_MJ**2).sum(axis=1)
        cubes_M = (self._counts_MJ * self._weights_MJ**3).sum(axis=1)
        variance_M = self._law.variance * squares_M
        skew_M = self._law.third_moment * cubes_M / variance_M**1.5
        return np.asarray(self._span / (2 * np.sqrt(variance_M)) - skew_M / 6)


def _newton(at: _Excess, low_M: Floats, high_M: Floats, tolerance_M: Floats) -> Floats:
    """Where an increasing function is 0; `at` gives it with its slope."""
    t_M = high_M
    for _ in range(_MOST_STEPS):
        miss_M, slope_M = at(t_M)
        low_M = np.where(miss_M < 0, np.maximum(low_M, t_M), low_M)
        high_M = np.where(miss_M > 0, np.minimum(high_M, t_M), high_M)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            next_M = t_M - miss_M / slope_M
        # A step that rounding hides is none, and must not be taken for one out of the bracket.
        is_done_M = (np.abs(miss_M) <= tolerance_M) | (np.abs(next_M - t_M) <= 4e-16 * t_M)
        if is_done_M.all():
            break
        inside_M = (next_M > low_M) & (next_M < high_M)
        next_M = np.where(inside_M, next_M, 0.5 * (low_M + high_M))
        next_M = np.where(is_done_M, t_M, next_M)
        t_M = next_M
    return t_M


def _step(root_M: Floats, steepness_M: Floats) -> Floats:
    """1 / u - 1 / w of the scaled saddlepoint u and the signed root w; or NaN."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.asarray(1 / steepness_M - 1 / root_M)


def _log_p(root_M: Floats, step_M: Floats) -> Floats:
    """Ln[Q(w) + phi(w) step] of the signed root w; or NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        down_M = np.minimum(root_M, 0.0)
        phi_M = np.exp(-0.5 * down_M**2) / np.sqrt(2 * np.pi)
        log_down_M = np.log(np.minimum(ndtr(-down_M) + phi_M * step_M, 1.0))
        # Far above the mean both terms underflow, and their ratio to phi(w) does not.
        up_M = np.maximum(root_M, 0.0)
        bracket_M = np.sqrt(np.pi / 2) * erfcx(up_M / np.sqrt(2)) + step_M
        log_up_M = -0.5 * up_M**2 - 0.5 * np.log(2 * np.pi) + np.log(bracket_M)
    return np.asarray(np.where(root_M > 0, log_up_M, log_down_M))
