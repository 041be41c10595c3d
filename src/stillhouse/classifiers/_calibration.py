"""Probabilities that mean what they say: logits scaled on rows that training did not see.

Letters: N rows, S labels that can be learnt.
"""

from typing import Self

import numpy as np
import numpy.typing as npt
from pydantic import model_validator

from stillhouse.classifiers._curves import Ray, expected
from stillhouse.classifiers._labels import Floats
from stillhouse.classifiers._linear import fit_linear
from stillhouse.records import Record

_SLOPE_RANGE = (0.02, 50.0)  # beyond, the held-out rows say that all or none is right
_TOLERANCE = 1e-6
_PLATT_L2 = 0.1  # keeps slopes finite where the held-out rows can be separated; not tuned


class Calibration(Record):
    """How logits become probabilities.

    With one label a text, `softmax(logits / temperature)`. With several,
    `sigmoid(slopes * logits + offsets)` for each label on its own (Platt). Only labels that can be
    learnt take part.
    """

    temperature: float = 1.0
    slopes: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()
    num_rows: int = 0
    """Held-out rows that it was fitted on; 0 for none."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        numbers = (self.temperature, *self.slopes, *self.offsets)
        if not np.isfinite(numbers).all() or self.temperature <= 0:
            raise ValueError("calibration holds numbers that are not finite, or a temperature <= 0")
        if len(self.slopes) != len(self.offsets):
            raise ValueError("slopes and offsets differ in length")
        return self

    def logits(self, logits_NS: Floats) -> Floats:
        """(N, S) logits of the calibrated probabilities."""
        if self.slopes:
            return np.asarray(logits_NS * np.array(self.slopes) + np.array(self.offsets))
        return logits_NS / self.temperature

    def probabilities(self, logits_NS: Floats, *, is_multiple: bool) -> Floats:
        """(N, S) probabilities; rows sum to 1 unless a text may have several labels."""
        return expected(self.logits(logits_NS), is_multiple=is_multiple)


def fit_calibration(logits_NS: Floats, targets_NS: Floats, *, is_multiple: bool) -> Calibration:
    """The calibration with the lowest cross-entropy on these rows.

    Args:
        logits_NS: (N, S) on rows that the classifier was not fitted on.
        targets_NS: (N, S) what is right.
        is_multiple: Whether a text may have several labels.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599.
    """
    if is_multiple:
        return _platt(logits_NS, targets_NS)
    # The inverse of the temperature is a step along the logits, in which the loss is convex.
    ray = Ray(
        np.zeros_like(logits_NS), logits_NS, targets_NS, np.ones(len(logits_NS)), is_multiple=False
    )
    slope = ray.best_step(tolerance=_TOLERANCE)
    temperature = 1.0 / float(np.clip(slope, *_SLOPE_RANGE))
    return Calibration(temperature=temperature, num_rows=len(logits_NS))


def _platt(logits_NS: Floats, targets_NS: Floats) -> Calibration:
    slopes, offsets = [], []
    for column in range(logits_NS.shape[1]):
        logits_N1: npt.NDArray[np.float32] = logits_NS[:, [column]].astype(np.float32)
        # What is fitted is the change of the slope from 1, so that few rows change little.
        change = fit_linear(
            logits_N1,
            targets_NS[:, [column]],
            np.ones(len(logits_N1)),
            is_multiple=True,
            l2=_PLATT_L2,
            base_NL=logits_NS[:, [column]],
        )
        slopes.append(float(np.clip(1.0 + change.weights_FL[0, 0], *_SLOPE_RANGE)))
        offsets.append(float(change.bias_L[0]))
    return Calibration(slopes=tuple(slopes), offsets=tuple(offsets), num_rows=len(logits_NS))
