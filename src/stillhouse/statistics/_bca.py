"""The bias-corrected and accelerated interval of a bootstrap, and the test that matches it.

Letters: R resamples, C clusters.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from stillhouse.statistics._interval import Floats, Interval

_ROUNDING = 1e-12  # relative; sums in another order differ by less


@dataclass(frozen=True)
class Resampled:
    """What a bootstrap over clusters gave.

    Attributes:
        value: The estimate from all data.
        resampled_R: The estimate from each resample.
        left_out_C: The estimate without each cluster.
        n: Entries that were measured.
    """

    value: float
    resampled_R: Floats
    left_out_C: Floats
    n: int

    def interval(self, confidence: float) -> Interval:
        """BCa interval (Efron 1987), widened for few clusters (Hesterberg 2015)."""
        num_clusters = len(self.left_out_C)
        reach = self._widening * float(stdtrit(num_clusters - 1, 1 - (1 - confidence) / 2))
        levels = [self._level(-reach), self._level(reach)]
        low, high = np.quantile(self.resampled_R, levels)
        return Interval(self.value, float(low), float(high), self.n, num_clusters)

    def p_above(self, threshold: float) -> float:
        """One-sided p-value against "the true value is `threshold` or less".

        It is below (1 - confidence) / 2 exactly where the lower end of the interval of that
        confidence is above the threshold, but never below about half of one resample.
        """
        return float(stdtr(len(self.left_out_C) - 1, self._reach(self._share(threshold))))

    def p_below(self, threshold: float) -> float:
        """One-sided p-value against "the true value is `threshold` or more"."""
        mirrored = Resampled(-self.value, -self.resampled_R, -self.left_out_C, self.n)
        return mirrored.p_above(-threshold)

    @cached_property
    def _bias(self) -> float:
        num_resamples = len(self.resampled_R)
        off_R = self.resampled_R - self.value
        off_R[np.abs(off_R) <= _ROUNDING * np.abs(self.resampled_R).max()] = 0.0
        # Ties count half, so that a discrete distribution that is symmetric has no bias.
        below = np.mean(off_R < 0) + 0.5 * np.mean(off_R == 0)
        return float(ndtri(np.clip(below, 0.5 / num_resamples, 1 - 0.5 / num_resamples)))

    @cached_property
    def _acceleration(self) -> float:
        pull_C = self.left_out_C.mean() - self.left_out_C
        spread = float(np.sum(pull_C**2))
        return float(np.sum(pull_C**3)) / (6 * spread**1.5) if spread > 0 else 0.0

    @cached_property
    def _widening(self) -> float:
        """Undoes the bias of the plug-in SD."""
        num_clusters = len(self.left_out_C)
        return float(np.sqrt(num_clusters / (num_clusters - 1)))

    def _level(self, reach: float) -> float:
        """The quantile of the resamples that lies `reach` normal standard deviations off."""
        shifted = self._bias + reach
        slack = 1 - self._acceleration * shifted
        # With very few clusters an end may lie beyond what any level reaches: the extreme resample.
        return float(ndtr(self._bias + shifted / slack)) if slack > 0 else float(shifted > 0)

    def _reach(self, level: float) -> float:
        """The inverse of `_level`, in the standard deviations of the t distribution."""
        off = float(ndtri(level)) - self._bias
        slack = 1 + self._acceleration * off
        if slack <= 0:
            return float(np.copysign(np.inf, off))
        return (off / slack - self._bias) / self._widening

    def _share(self, threshold: float) -> float:
        """The level whose quantile is `threshold`; above it, quantiles are above it too."""
        ordered_R = np.sort(self.resampled_R)
        last = len(ordered_R) - 1
        place = int(np.searchsorted(ordered_R, threshold, side="right")) - 1
        if 0 <= place < last:
            step = ordered_R[place + 1] - ordered_R[place]
            share = (place + (threshold - ordered_R[place]) / step) / last
        else:
            share = float(place >= last)
        half = 0.5 / len(ordered_R)
        return float(np.clip(share, half, 1 - half))
