"""All falling curves that measured errors allow, for `fit_yield_curve`.

A curve is floor + scale * g(calls) with floor and scale not negative; g is of one shape out of a
grid, so that floor and scale follow in closed form. Letters: N measurements, S shapes, Y errors.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import gammaincc

from stillhouse.statistics._interval import Floats

Family = Literal["power", "exponential"]

_RATES = 160  # of each family: neighbours differ by 3 % and fit alike
_POWERS = (0.03, 3.0)  # learning curves are known between 0.07 and 2
_ERRORS = 201
_HALVINGS = 40
_NOTHING = 1e-12  # of a curve's fall


@dataclass(frozen=True)
class Shapes:
    """Grid of shapes.

    Attributes:
        num_power: The first so many are calls ** -rate, the others exp(-calls * rate).
        rates_S: Of all.
        origin: The calls at which each g is 1, the smallest budget.
    """

    num_power: int
    rates_S: Floats
    origin: float

    def at(self, calls: float) -> Floats:
        """(S,) g at a number of calls; 0 at infinity."""
        if calls == math.inf:
            return np.zeros(len(self.rates_S))
        powers, decays = self.rates_S[: self.num_power], self.rates_S[self.num_power :]
        return np.concatenate(
            [(calls / self.origin) ** -powers, np.exp((self.origin - calls) * decays)]
        )

    def family(self, place: int) -> Family:
        """The family of one shape."""
        return "power" if place < self.num_power else "exponential"

    def unit(self, place: int) -> float:
        """What a scale of 1 is for calls ** -rate or exp(-calls * rate)."""
        rate = float(self.rates_S[place])
        if place < self.num_power:
            return float(self.origin**rate)
        return math.exp(self.origin * rate)


@dataclass(frozen=True)
class Fit:
    """The best curve: a shape, its floor and scale, and how far it is off."""

    place: int
    floor: float
    scale: float
    chi_square: float


def shapes_of(calls_N: Floats) -> Shapes:
    """Shapes that bend within reach of the measured budgets."""
    least, most = float(calls_N.min()), float(calls_N.max())
    powers = np.geomspace(*_POWERS, _RATES)
    decays = np.geomspace(1 / (20 * most), 5 / least, _RATES)
    return Shapes(_RATES, np.concatenate([powers, decays]), least)


@dataclass(frozen=True)
class Profile:
    """Chi-square of the best curve through any given error, over all shapes.

    Attributes:
        shapes: Of curves.
        falling_SN: Their g at each measurement.
        errors_N: Measured.
        weights_N: One over their squared standard errors.
    """

    shapes: Shapes
    falling_SN: Floats
    errors_N: Floats
    weights_N: Floats

    def best(self) -> Fit:
        """The best curve of all."""
        g, w, y = self.falling_SN, self.weights_N, self.errors_N
        mean_g, mean_y = g @ w / w.sum(), float(y @ w / w.sum())
        spread = ((g - mean_g[:, None]) ** 2) @ w
        scale = ((g - mean_g[:, None]) * (y - mean_y)) @ w / spread
        through_zero = (g * y) @ w / (g**2 @ w)
        scales_3S = np.stack([scale, through_zero, np.zeros(len(g))])
        floors_3S = np.stack([mean_y - scale * mean_g, np.zeros(len(g)), np.full(len(g), mean_y)])
        off_3SN = y - floors_3S[:, :, None] - scales_3S[:, :, None] * g
        chi_3S = np.where((scales_3S >= 0) & (floors_3S >= 0), off_3SN**2 @ w, np.inf)
        edge, place = np.unravel_index(int(np.argmin(chi_3S)), chi_3S.shape)
        return Fit(
            int(place),
            float(floors_3S[edge, place]),
            float(scales_3S[edge, place]),
            float(chi_3S[edge, place]),
        )

    def chi_squares(self, calls: float, errors_Y: Floats) -> Floats:
        """(Y,) of the best curve that has each error at `calls`; inf for negative errors."""
        there_S = self.shapes.at(calls)
        rise_SN = self.falling_SN - there_S[:, None]
        w, off_YN = self.weights_N, self.errors_N - errors_Y[:, None]
        pull_SY = (rise_SN * w) @ off_YN.T
        # A greater scale has a negative floor; what has all but died out bears any.
        fading_S = np.maximum(there_S, _NOTHING)[:, None]
        most_SY = np.where(there_S[:, None] > _NOTHING, errors_Y / fading_S, np.inf)
        stiffness_S = rise_SN**2 @ w
        scale_SY = np.clip(pull_SY / stiffness_S[:, None], 0.0, most_SY)
        chi_SY = off_YN**2 @ w - 2 * scale_SY * pull_SY + scale_SY**2 * stiffness_S[:, None]
        return np.where(errors_Y >= 0, chi_SY.min(axis=0), np.inf)

    def band(
        self, calls: float, value: float, limit: float, standard_error: float = 0.0
    ) -> tuple[float, float]:
        """Least and greatest error at `calls` of curves whose chi-square keeps to a limit.

        With a standard error, of a measurement there that together with its curve does.

        Args:
            value: The error of a curve that does, from where the search begins.
        """
        low, high = self._end(calls, value, limit, -1.0), self._end(calls, value, limit, 1.0)
        if standard_error > 0:
            errors_Y = np.linspace(low, high, _ERRORS)
            slack_Y = np.maximum(limit - self.chi_squares(calls, errors_Y), 0.0)
            reach_Y = standard_error * np.sqrt(slack_Y)
            low, high = float((errors_Y - reach_Y).min()), float((errors_Y + reach_Y).max())
        return low, high

    def _end(self, calls: float, value: float, limit: float, side: float) -> float:
        """The furthest error on one side of `value` that keeps to the limit."""
        if side < 0:
            span = value
        else:
            span = float((self.errors_N + self.weights_N**-0.5).max())
            while self.keeps(calls, value + span, limit):
                span *= 2
        # From outside, as what is allowed may have a gap between the families.
        steps_Y = np.linspace(0.0, span, _ERRORS)
        allowed_Y = self.chi_squares(calls, value + side * steps_Y) <= limit
        last = int(np.flatnonzero(allowed_Y)[-1]) if allowed_Y.any() else 0
        inner, outer = float(steps_Y[last]), float(steps_Y[min(last + 1, _ERRORS - 1)])
        for _ in range(_HALVINGS):
            middle = (inner + outer) / 2
            keeps = self.keeps(calls, value + side * middle, limit)
            inner, outer = (middle, outer) if keeps else (inner, middle)
        end = value + side * inner
        return end if end > _NOTHING * value else 0.0

    def keeps(self, calls: float, error: float, limit: float) -> bool:
        """Whether a curve that has this error at `calls` keeps to the limit."""
        return bool(self.chi_squares(calls, np.array([error]))[0] <= limit)


def profile_of(calls_N: Floats, errors_N: Floats, standard_errors_N: Floats) -> Profile:
    """The profile of measured errors."""
    shapes = shapes_of(calls_N)
    falling_SN = np.stack([shapes.at(float(calls)) for calls in calls_N], axis=1)
    return Profile(shapes, falling_SN, errors_N, 1 / standard_errors_N**2)


def chi_square_limit(confidence: float) -> float:
    """How much worse than the best a curve may fit.

    The quantile of a chi-square with one degree of freedom half of the time and two the other
    half: that of a likelihood ratio where a further parameter, here the floor or the scale, may be
    at its edge (Self & Liang 1987, "Asymptotic Properties of Maximum Likelihood Estimators and
    Likelihood Ratio Tests Under Nonstandard Conditions"). With one degree of freedom alone, curves
    without a floor were covered in 92 % instead of 95.
    """
    low, high = 0.0, 200.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        beyond = (float(gammaincc(0.5, middle / 2)) + math.exp(-middle / 2)) / 2
        low, high = (middle, high) if beyond > 1 - confidence else (low, middle)
    return high
