"""Linear heads: logistic regression on soft targets, sparse or dense, with its penalty chosen.

Letters: N rows, F features, L labels.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stillhouse.classifiers._curves import Ray, expected
from stillhouse.classifiers._labels import Floats

Weights = npt.NDArray[np.float32]
Features = Any
"""(N, F) float32: a numpy array or a scipy CSR matrix."""

_MEMORY = 6  # pairs of L-BFGS; 4 to 10 take about the same number of passes
_LINE_TOLERANCE = 0.1  # of the slope: a better line search costs more than the step that it saves


@dataclass(frozen=True)
class LinearHead:
    """Weights and offsets: `logits = features @ weights + bias`.

    Attributes:
        weights_FL: (F, L) float32.
        bias_L: (L,) float32.
    """

    weights_FL: Weights
    bias_L: Weights

    def logits(self, features: Features) -> Floats:
        """(N, L) float64."""
        return np.asarray(features @ self.weights_FL, dtype=np.float64) + self.bias_L


def fit_linear(
    features: Features,
    targets_NL: Floats,
    weights_N: Floats,
    *,
    is_multiple: bool,
    l2: float,
    start: LinearHead | None = None,
    base_NL: Floats | None = None,
    tolerance: float = 1e-3,
    max_passes: int = 200,
) -> LinearHead:
    """The head with the lowest sum of row losses plus `l2 / 2` times the squared weights.

    The bias is free. L-BFGS, preconditioned with the curvature of each feature and label at the
    begin, which text needs: the commonest feature is a thousand times as frequent as the rarest.
    The loss along a direction needs no pass over the features, so that each step costs two.

    Args:
        features: (N, F) float32, dense or CSR.
        targets_NL: (N, L) probabilities of the labels.
        weights_N: (N,) how much each row counts.
        is_multiple: A sigmoid for each label instead of one softmax.
        l2: Strength of the penalty, > 0.
        start: Where to begin, such as the head of a stronger penalty; None is all zero.
        base_NL: (N, L) logits that the head adds to.
        tolerance: The norm of the gradient to stop at, as a fraction of that of the zero head.
        max_passes: Most steps.

    Source: Liu and Nocedal 1989, "On the limited memory BFGS method".
    """
    problem = _Problem(features, targets_NL, weights_N, is_multiple, l2, base_NL)
    theta = problem.zero() if start is None else np.vstack([start.weights_FL, start.bias_L])
    logits_NL = problem.base_NL + problem.change(theta) if start is not None else problem.base_NL
    enough = tolerance * problem.norm(problem.gradient(problem.base_NL, problem.zero()))
    memory = _Memory()
    gradient = problem.gradient(logits_NL, theta)
    for _ in range(max_passes):
        if problem.norm(gradient) <= enough:
            break
        direction = memory.direction(gradient, problem.scale_FL)
        change_NL = problem.change(direction)
        step = problem.ray(logits_NL, change_NL, theta, direction).best_step(
            tolerance=_LINE_TOLERANCE
        )
        if step == 0.0:  # rounding: the direction no longer leads down
            break
        theta = theta + np.float32(step) * direction
        logits_NL = logits_NL + step * change_NL
        new = problem.gradient(logits_NL, theta)
        memory.remember(np.float32(step) * direction, new - gradient, problem.scale_FL)
        gradient = new
    return LinearHead(np.ascontiguousarray(theta[:-1]), theta[-1])


class _Problem:
    """The objective; the bias is the last row of `theta`, (F + 1, L)."""

    def __init__(
        self,
        features: Features,
        targets_NL: Floats,
        weights_N: Floats,
        is_multiple: bool,
        l2: float,
        base_NL: Floats | None,
    ) -> None:
        self._features = features
        self._targets_NL = targets_NL
        self._weights_N = weights_N
        self._is_multiple = is_multiple
        self._l2 = l2
        self.base_NL = np.zeros_like(targets_NL) if base_NL is None else base_NL
        self.scale_FL = self._scale()

    def zero(self) -> Weights:
        return np.zeros((self._features.shape[1] + 1, self._targets_NL.shape[1]), dtype=np.float32)

    def change(self, theta: Weights) -> Floats:
        """(N, L) what `theta` adds to the logits."""
        return np.asarray(self._features @ theta[:-1] + theta[-1], dtype=np.float64)

    def gradient(self, logits_NL: Floats, theta: Weights) -> Weights:
        error_NL = expected(logits_NL, is_multiple=self._is_multiple) - self._targets_NL
        error_NL *= self._weights_N[:, None]
        gradient = np.empty_like(theta)
        gradient[:-1] = self._features.T @ error_NL.astype(np.float32)
        gradient[:-1] += np.float32(self._l2) * theta[:-1]
        gradient[-1] = error_NL.sum(axis=0)
        return gradient

    def ray(self, logits_NL: Floats, change_NL: Floats, theta: Weights, direction: Weights) -> Ray:
        return Ray(
            logits_NL,
            change_NL,
            self._targets_NL,
            self._weights_N,
            self._is_multiple,
            slope=self._l2 * _dot(theta[:-1], direction[:-1]),
            curvature=self._l2 * _dot(direction[:-1], direction[:-1]),
        )

    def norm(self, gradient: Weights) -> float:
        """Of a gradient, in the metric of the curvatures."""
        return math.sqrt(_dot(gradient, gradient * self.scale_FL))

    def _scale(self) -> Weights:
        """(F + 1, L) inverse of the curvature's diagonal where every row expects the mean."""
        mean_L = self._weights_N @ self._targets_NL / self._weights_N.sum()
        spread_L = np.maximum(mean_L * (1 - mean_L), 1e-4)
        squares_F = _squared_columns(self._features, self._weights_N)
        curvature = np.append(squares_F, self._weights_N.sum())[:, None] * spread_L
        curvature[:-1] += self._l2
        return np.asarray(1.0 / curvature, dtype=np.float32)


class _Memory:
    """The last steps and what they did to the gradient."""

    def __init__(self) -> None:
        self._pairs: deque[tuple[Weights, Weights, float]] = deque(maxlen=_MEMORY)
        self._factor = 1.0

    def remember(self, step: Weights, rise: Weights, scale: Weights) -> None:
        agreement = _dot(step, rise)
        length = _dot(rise, rise * scale)
        if agreement > 1e-10 * length > 0:  # otherwise rounding, and the direction could point up
            self._pairs.append((step, rise, agreement))
            self._factor = agreement / length

    def direction(self, gradient: Weights, scale: Weights) -> Weights:
        """The two loops of L-BFGS."""
        towards = -gradient
        shares = []
        for step, rise, agreement in reversed(self._pairs):
            share = _dot(step, towards) / agreement
            towards -= np.float32(share) * rise
            shares.append(share)
        towards *= np.float32(self._factor) * scale
        for (step, rise, agreement), share in zip(self._pairs, reversed(shares), strict=True):
            towards += np.float32(share - _dot(rise, towards) / agreement) * step
        return towards


def _dot(a: Weights, b: Weights) -> float:
    return float(np.vdot(a, b))


def _squared_columns(features: Features, weights_N: Floats) -> Floats:
    squared = (
        features * features if isinstance(features, np.ndarray) else features.multiply(features)
    )
    return np.asarray(squared.T @ weights_N, dtype=np.float64)
