"""The loosest rule that calibration rows certify.

Letters: N rows, G thresholds of the grid.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stillhouse.cascade import CascadeRule, Certificate, CoverageEstimate
from stillhouse.certify._config import CertifyConfig
from stillhouse.errors import DataError, NotCertifiedError, ShapeError
from stillhouse.statistics import (
    betting_upper_bound,
    fixed_sequence,
    fixed_sequence_graded,
    fraction_interval,
    fraction_upper_bound,
    rows_to_certify,
    rows_to_certify_graded,
)

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_HIGHEST, _LOWEST = 12.0, -6.0  # log-odds of the thresholds of a grid that no rows were asked for
_MOST_ROWS = 1_000_000


@dataclass(frozen=True)
class Calibration:
    """Independent rows that a student was not fitted to.

    Attributes:
        confidences_N: Of its answers; NaN where it has none that the task allows.
        is_familiar_N: Whether the gate lets the text through.
        losses_N: 1 minus the score of the answer against the teacher's, in [0, 1].
        is_binary: Whether losses are 0 or 1 by their nature.
    """

    confidences_N: Floats
    is_familiar_N: Flags
    losses_N: Floats
    is_binary: bool

    def __post_init__(self) -> None:
        """Refuse what is no calibration."""
        shapes = {self.confidences_N.shape, self.is_familiar_N.shape, self.losses_N.shape}
        if len(shapes) > 1 or self.losses_N.ndim != 1:
            raise ShapeError(f"Confidences, gate and losses have the shapes {shapes}. Give rows.")
        if not len(self.losses_N):
            raise DataError("There are no rows to certify on. Hold some out.")
        given_N = self.confidences_N[~np.isnan(self.confidences_N)]
        for name, values in (("confidences", given_N), ("losses", self.losses_N)):
            if not ((values >= 0) & (values <= 1)).all():
                raise DataError(f"{name} are not all in [0, 1]. Give 1 minus a score as a loss.")
        if self.is_binary and not np.isin(self.losses_N, (0.0, 1.0)).all():
            raise DataError("Losses are not all 0 or 1. Certify them as graded.")

    def __len__(self) -> int:
        return len(self.losses_N)

    def answered_N(self, threshold: float) -> Flags:
        """(N,) which rows the student answers; a missing confidence is below all thresholds."""
        return np.asarray((self.confidences_N >= threshold) & self.is_familiar_N)

    def lost_N(self, threshold: float) -> Floats:
        """(N,) the loss of each row under the rule; 0 where the teacher answers."""
        return np.where(self.answered_N(threshold), self.losses_N, 0.0)


def fixed_grid(size: int) -> Floats:
    """(G,) thresholds that depend on no rows, strictest first, evenly spaced in log-odds.

    The last is 0: everything that is familiar is answered.
    """
    odds = np.linspace(_HIGHEST, _LOWEST, size - 1)
    return np.append(1 / (1 + np.exp(-odds)), 0.0)


def quantile_grid(confidences: npt.ArrayLike, size: int) -> Floats:
    """(G,) thresholds at quantiles of the confidence on other rows, strictest first; the last is 0.

    Args:
        confidences: Of rows that the certificate does not rest on.
    """
    levels = np.linspace(1.0, 0.0, size - 1)
    return np.append(np.quantile(np.asarray(confidences, dtype=np.float64), levels), 0.0)


def certified_rule(
    calibration: Calibration,
    grid_G: Sequence[float] | Floats,
    *,
    novelty_threshold: float,
    config: CertifyConfig,
) -> CascadeRule:
    """The rule with the lowest threshold that the rows certify.

    Thresholds are tested from the strictest on, each at full level, until one fails (fixed
    sequence testing). The grid has to come from elsewhere than these rows.

    Args:
        calibration: The rows.
        grid_G: Thresholds, never rising.
        novelty_threshold: Of the gate that `calibration` went through.
        config: What is to be certified.

    Raises:
        NotCertifiedError: no threshold lets the student answer `min_coverage` of the requests and
            keeps the target; the message says which number of rows or which target would do.
        DataError: the grid rises.
    """
    grid = np.asarray(grid_G, dtype=np.float64)
    if not len(grid) or (np.diff(grid) > 0).any():
        raise DataError("The thresholds rise, or there are none. Give the strictest first.")
    place = _last_certified(calibration, grid, config)
    answered = 0 if place is None else int(calibration.answered_N(grid[place]).sum())
    if place is None or answered < config.min_coverage * len(calibration):
        raise NotCertifiedError(_why_not(calibration, grid, config))
    threshold = float(grid[place])
    lost_N = calibration.lost_N(threshold)
    coverage = fraction_interval(answered, len(calibration), confidence=config.confidence)
    certificate = Certificate(
        target=config.target,
        confidence=config.confidence,
        n=len(calibration),
        answered=answered,
        loss=float(lost_N.sum()),
        bound=_bound(lost_N, calibration, config),
        method="clopper_pearson" if calibration.is_binary else "betting",
        coverage=CoverageEstimate(value=coverage.value, low=coverage.low, high=coverage.high),
        refused_unfamiliar=int((~calibration.is_familiar_N).sum()),
    )
    return CascadeRule(
        threshold=threshold, novelty_threshold=novelty_threshold, certificate=certificate
    )


def _last_certified(calibration: Calibration, grid_G: Floats, config: CertifyConfig) -> int | None:
    risk = 1 - config.target
    if calibration.is_binary:
        errors_G = [int(calibration.lost_N(threshold).sum()) for threshold in grid_G]
        totals_G = [len(calibration)] * len(grid_G)  # of all requests, not of those answered
        return fixed_sequence(errors_G, totals_G, target=risk, confidence=config.confidence)
    return fixed_sequence_graded(
        (calibration.lost_N(threshold) for threshold in grid_G),
        target=risk,
        confidence=config.confidence,
        seed=config.seed,
    )


def _bound(lost_N: Floats, calibration: Calibration, config: CertifyConfig) -> float:
    if calibration.is_binary:
        return fraction_upper_bound(int(lost_N.sum()), len(lost_N), confidence=config.confidence)
    return betting_upper_bound(lost_N, confidence=config.confidence, seed=config.seed)


def _why_not(calibration: Calibration, grid_G: Floats, config: CertifyConfig) -> str:
    n, wanted = len(calibration), config.min_coverage
    what = f"{n:,} rows do not certify {config.target:.6g} agreement at {config.confidence:g}"
    enough = [
        threshold for threshold in grid_G if calibration.answered_N(threshold).sum() >= wanted * n
    ]
    if not enough:
        familiar = int(calibration.is_familiar_N.sum())
        return (
            f"{what} confidence: the student never answers {wanted:.1%} of them, since only "
            f"{familiar:,} have a text like its training texts. Certify on the traffic that it was "
            "made for, or fit it again on this."
        )
    lost_N = calibration.lost_N(float(enough[0]))
    share = calibration.answered_N(float(enough[0])).mean()
    reached = math.floor(1_000 * (1 - _bound(lost_N, calibration, config))) / 1_000
    parts = [
        f"{what} confidence: where the student answers the surest {share:.1%}, "
        f"{lost_N.mean():.2%} of all requests are answered differently"
    ]
    rows = _rows_needed(lost_N, calibration, config)
    parts.append(
        "no number of rows would do at this rate"
        if rows is None
        else f"at this rate about {rows:,} independent rows would do"
    )
    if reached > 0:
        parts.append(f"with these rows target={reached:g} would")
    return f"{'; '.join(parts)}. Hold out more rows, ask for less, or fit a better student."


def _rows_needed(lost_N: Floats, calibration: Calibration, config: CertifyConfig) -> int | None:
    """Rows that would certify the target at the mean loss of these; None where none would."""
    risk, mean = 1 - config.target, float(lost_N.mean())
    # A rate that is this close to the target takes more rows than anybody has.
    if mean >= risk or risk * (1 - risk) / (risk - mean) ** 2 > _MOST_ROWS / 10:
        return None
    if calibration.is_binary:
        return rows_to_certify(risk, config.confidence, expected=mean)
    return rows_to_certify_graded(
        risk, mean=mean, variance=float(lost_N.var()), confidence=config.confidence
    )
