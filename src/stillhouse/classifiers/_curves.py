"""The cross-entropy of logits against soft targets, and its course along a direction.

With one label a text it is that of the softmax, with several the sum over labels of that of the
sigmoid. Letters: N rows, L labels.
"""

from dataclasses import dataclass

import numpy as np

from stillhouse.classifiers._labels import Floats

_MOST_EVALUATIONS = 40
_MOST_GROWTH = 10.0  # of a step between two evaluations: a flat tail sends Newton's method far off


def row_losses(logits_NL: Floats, targets_NL: Floats, *, is_multiple: bool) -> Floats:
    """(N,) cross-entropy of each row in nats; with several labels, summed over them."""
    if is_multiple:
        return np.asarray((np.logaddexp(0.0, logits_NL) - targets_NL * logits_NL).sum(axis=1))
    # Not -sum(t log p): that is NaN where a target of zero meets a probability of zero.
    top_N1 = logits_NL.max(axis=1, keepdims=True)
    total_N = np.log(np.exp(logits_NL - top_N1).sum(axis=1)) + top_N1[:, 0]
    return np.asarray(total_N - (targets_NL * logits_NL).sum(axis=1))


def expected(logits_NL: Floats, *, is_multiple: bool) -> Floats:
    """(N, L) probabilities."""
    if is_multiple:
        return np.asarray(np.exp(-np.logaddexp(0.0, -logits_NL)))
    raised_NL = np.exp(logits_NL - logits_NL.max(axis=1, keepdims=True))
    return np.asarray(raised_NL / raised_NL.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class Ray:
    """Logits along a direction, with a quadratic penalty.

    Attributes:
        logits_NL: (N, L) where it begins.
        change_NL: (N, L) what one step adds.
        targets_NL: (N, L) what is right.
        weights_N: (N,) how much each row counts.
        is_multiple: Whether a text may have several labels.
        slope: Of the penalty at the begin.
        curvature: Of the penalty.
    """

    logits_NL: Floats
    change_NL: Floats
    targets_NL: Floats
    weights_N: Floats
    is_multiple: bool
    slope: float = 0.0
    curvature: float = 0.0

    def best_step(self, *, tolerance: float) -> float:
        """The step >= 0 with the lowest loss, by a safeguarded Newton method.

        The loss is convex, so that a change of sign of its slope brackets the minimum.

        Args:
            tolerance: The slope to stop at, as a fraction of that at the begin.

        Returns:
            The step; 0 when the loss does not fall along the ray, and a large one when it falls
            for ever.
        """
        first, _ = self._derivatives(0.0)
        if first >= 0:
            return 0.0
        enough = -first * tolerance
        low, high, step = 0.0, np.inf, 1.0
        for _ in range(_MOST_EVALUATIONS):
            first, second = self._derivatives(step)
            if abs(first) <= enough:
                break
            low, high = (step, high) if first < 0 else (low, step)
            step = _next_step(step, first, second, low, high)
        return step

    def _derivatives(self, step: float) -> tuple[float, float]:
        """First and second derivative of the loss after `step`."""
        probabilities_NL = expected(
            self.logits_NL + step * self.change_NL, is_multiple=self.is_multiple
        )
        first_N = ((probabilities_NL - self.targets_NL) * self.change_NL).sum(axis=1)
        if self.is_multiple:
            variances_NL = probabilities_NL * (1 - probabilities_NL)
            second_N = (variances_NL * self.change_NL**2).sum(axis=1)
        else:
            mean_N1 = (probabilities_NL * self.change_NL).sum(axis=1, keepdims=True)
            second_N = (probabilities_NL * (self.change_NL - mean_N1) ** 2).sum(axis=1)
        first = float(self.weights_N @ first_N) + self.slope + step * self.curvature
        return first, float(self.weights_N @ second_N) + self.curvature


def _next_step(step: float, first: float, second: float, low: float, high: float) -> float:
    newton = step - first / second if second > 0 else np.inf
    if low < newton < high and newton <= _MOST_GROWTH * step:
        return float(newton)
    return float((low + high) / 2 if np.isfinite(high) else _MOST_GROWTH * step)
