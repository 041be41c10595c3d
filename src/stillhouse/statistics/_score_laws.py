"""The laws of one token's score under a key that has nothing to do with the text.

All are centred: their mean is 0. A law is told by its cumulant generating function
K(t) = ln E exp(t X) and its first two derivatives, from which the tail of any weighted sum follows.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from stillhouse.errors import ConfigError

Floats = npt.NDArray[np.float64]

_LARGE = 1.0  # not tuned; from here on sums of exponentials keep all digits


class Cumulants(NamedTuple):
    """K(t), K'(t) and K''(t) at the same arguments."""

    value: Floats
    first: Floats
    second: Floats


class ScoreLaw(Protocol):
    """The law of one centred score."""

    @property
    def variance(self) -> float:
        """E X^2."""
        ...

    @property
    def third_moment(self) -> float:
        """E X^3."""
        ...

    @property
    def limit(self) -> float:
        """K is finite for arguments below it; may be infinite."""
        ...

    @property
    def span(self) -> float:
        """Distance between neighbouring values; 0 where X has a density."""
        ...

    @property
    def largest(self) -> float:
        """No score is above it; may be infinite."""
        ...

    def cumulants(self, arguments: Floats) -> Cumulants:
        """K and its derivatives, for arguments below `limit`."""
        ...

    def draw(self, generator: np.random.Generator, size: tuple[int, ...]) -> Floats:
        """Independent scores."""
        ...

    def draw_tilted(self, generator: np.random.Generator, arguments: Floats) -> Floats:
        """One score for each argument t, from the law whose density is times exp(t x - K(t))."""
        ...


@dataclass(frozen=True)
class BernoulliLaw:
    """Green or not, less the mean.

    Attributes:
        fraction: How likely green is.
    """

    fraction: float

    def __post_init__(self) -> None:
        """Refuse a list that holds nothing or all."""
        if not 0 < self.fraction < 1:
            raise ConfigError(
                f"fraction={self.fraction:g}: the green share is between 0 and 1, ends excluded."
            )

    @property
    def variance(self) -> float:
        """E X^2."""
        return self.fraction * (1 - self.fraction)

    @property
    def third_moment(self) -> float:
        """E X^3."""
        return self.variance * (1 - 2 * self.fraction)

    @property
    def limit(self) -> float:
        """None."""
        return np.inf

    @property
    def span(self) -> float:
        """Both values differ by 1."""
        return 1.0

    @property
    def largest(self) -> float:
        """That of a green token."""
        return 1 - self.fraction

    def cumulants(self, arguments: Floats) -> Cumulants:
        """K(t) = ln(1 - g + g exp(t)) - g t."""
        green = _tilted_fraction(arguments, self.fraction)
        # Neither loses digits where it is used: near 0 the value is far below 1.
        near = np.log1p(self.fraction * np.expm1(np.minimum(arguments, _LARGE)))
        odds = (1 - self.fraction) / self.fraction
        far = np.log(self.fraction) + arguments + np.log1p(odds * np.exp(-np.maximum(arguments, 0)))
        value = np.where(arguments < _LARGE, near, far)
        return Cumulants(
            value - self.fraction * arguments, green - self.fraction, green * (1 - green)
        )

    def draw(self, generator: np.random.Generator, size: tuple[int, ...]) -> Floats:
        """Independent scores."""
        return np.asarray((generator.random(size) < self.fraction) - self.fraction)

    def draw_tilted(self, generator: np.random.Generator, arguments: Floats) -> Floats:
        """One score for each argument."""
        green = _tilted_fraction(arguments, self.fraction)
        return np.asarray((generator.random(arguments.shape) < green) - self.fraction)


@dataclass(frozen=True)
class ExponentialLaw:
    """A weighted sum of independent standard exponentials, less its mean.

    Attributes:
        weights: (1,) for one key, (1 - a, a) for two.
    """

    weights: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        """Refuse weights that would make a score fall as the key favours a token."""
        if not self.weights or min(self.weights) <= 0:
            raise ConfigError(f"weights={self.weights}: give one or more, all above 0.")

    @property
    def variance(self) -> float:
        """E X^2."""
        return float(sum(weight**2 for weight in self.weights))

    @property
    def third_moment(self) -> float:
        """E X^3."""
        return float(sum(2 * weight**3 for weight in self.weights))

    @property
    def limit(self) -> float:
        """That of the heaviest exponential."""
        return 1 / max(self.weights)

    @property
    def span(self) -> float:
        """It has a density."""
        return 0.0

    @property
    def largest(self) -> float:
        """None."""
        return np.inf

    def cumulants(self, arguments: Floats) -> Cumulants:
        """K(t) = -sum over weights w of ln(1 - w t) + w t."""
        value, first, second = (np.zeros_like(arguments) for _ in range(3))
        for weight in self.weights:
            part = weight * arguments
            value -= np.log1p(-part) + part
            first += weight * part / (1 - part)
            second += (weight / (1 - part)) ** 2
        return Cumulants(value, first, second)

    def draw(self, generator: np.random.Generator, size: tuple[int, ...]) -> Floats:
        """Independent scores."""
        return self.draw_tilted(generator, np.zeros(size))

    def draw_tilted(self, generator: np.random.Generator, arguments: Floats) -> Floats:
        """One score for each argument."""
        drawn = np.zeros_like(arguments)
        for weight in self.weights:
            mean = weight / (1 - weight * arguments)
            drawn += mean * generator.standard_exponential(arguments.shape) - weight
        return drawn


@dataclass(frozen=True)
class BinomialMeanLaw:
    """A weighted sum of fair coins, less its mean: the g-values of a tournament's layers.

    Attributes:
        weights: Of the layers; (1 / m,) * m for the plain mean of m.
    """

    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse no layers."""
        if not self.weights or min(self.weights) < 0 or sum(self.weights) <= 0:
            raise ConfigError("weights of layers: give one or more, at least 0 and not all 0.")

    @property
    def variance(self) -> float:
        """E X^2."""
        return float(sum(weight**2 for weight in self.weights)) / 4

    @property
    def third_moment(self) -> float:
        """Fair coins are symmetric."""
        return 0.0

    @property
    def limit(self) -> float:
        """None."""
        return np.inf

    @property
    def span(self) -> float:
        """The weight of a layer where all are alike, else no lattice that matters."""
        return self.weights[0] if len(set(self.weights)) == 1 else 0.0

    @property
    def largest(self) -> float:
        """All layers won."""
        return sum(self.weights) / 2

    def cumulants(self, arguments: Floats) -> Cumulants:
        """K(t) = sum over layers of ln cosh(w t / 2)."""
        value, first, second = (np.zeros_like(arguments) for _ in range(3))
        for weight in self.weights:
            half = weight * arguments / 2
            size = np.abs(half)
            near = np.log1p(2 * np.sinh(np.minimum(size, _LARGE) / 2) ** 2)
            value += np.where(size < _LARGE, near, size + np.log1p(np.exp(-2 * size)) - np.log(2))
            slope = np.tanh(half)
            first += weight * slope / 2
            second += (weight / 2) ** 2 * (1 - slope**2)
        return Cumulants(value, first, second)

    def draw(self, generator: np.random.Generator, size: tuple[int, ...]) -> Floats:
        """Independent scores."""
        return self.draw_tilted(generator, np.zeros(size))

    def draw_tilted(self, generator: np.random.Generator, arguments: Floats) -> Floats:
        """One score for each argument."""
        drawn = np.zeros_like(arguments)
        for weight in self.weights:
            won = generator.random(arguments.shape) < (1 + np.tanh(weight * arguments / 2)) / 2
            drawn += weight * (won - 0.5)
        return drawn


def _tilted_fraction(arguments: Floats, fraction: float) -> Floats:
    """How likely green is under the tilted law, without overflow."""
    odds: Floats = np.log(fraction) - np.log1p(-fraction) + arguments
    return 0.5 * (1 + np.tanh(odds / 2))
