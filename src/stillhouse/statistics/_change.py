"""When to stop believing in a promise: detectors of change with a guaranteed rarity of alarms.

An e-value is what one unit, staked on one observation against the promise, became: it is 1 at most
on average while the promise holds. The Shiryaev-Roberts sum stakes one new unit with every
observation and lets all of them ride. While the promise holds it grows by 1 at most on average, so
the mean number of observations until it first reaches a level is that level at least, whatever the
distribution.

Letters: K bettors.

Source: Shin, Ramdas & Rinaldo 2022, "E-detectors: a nonparametric framework for sequential change
detection", arXiv:2203.03532 (definition 2.2, theorem 2.4: a mean of e-detectors is one).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stillhouse.errors import ConfigError, DataError
from stillhouse.statistics._interval import Floats, check_between

_NUM_RATES = 8  # not tuned: one more costs a delay of log(9 / 8) nats at most


class EDetector:
    """The mean of K Shiryaev-Roberts sums, each with its own way to bet.

    The mean of the sums and not that of the e-values: what one bettor loses leaves the others
    alone, so the detector is about as fast as its best bettor.

    Args:
        num_bettors: K.
        average_run_length: Observations to a false alarm, at least, in the mean; above 1.

    Raises:
        ConfigError: `average_run_length` is not above 1 and finite.
    """

    def __init__(self, num_bettors: int, *, average_run_length: float) -> None:
        check_between("average_run_length", average_run_length, 1.0, math.inf)
        self.average_run_length = average_run_length
        self._log_sums_K = np.full(num_bettors, -np.inf)

    def observe(self, log_e_K: Floats) -> None:
        """Take in one observation.

        Args:
            log_e_K: (K,) logarithms of each bettor's e-value for it.
        """
        self._log_sums_K = np.logaddexp(self._log_sums_K, 0.0) + log_e_K

    @property
    def log_evidence(self) -> float:
        """Logarithm of the mean of the sums; -inf before the first observation."""
        highest = float(self._log_sums_K.max())
        if highest == -math.inf:
            return highest
        return highest + math.log(float(np.exp(self._log_sums_K - highest).mean()))

    @property
    def log_needed(self) -> float:
        """The level: the logarithm of the average run length."""
        return math.log(self.average_run_length)

    @property
    def is_alarm(self) -> bool:
        """Whether the evidence has reached the level now."""
        return self.log_evidence >= self.log_needed

    def log_sums(self) -> list[float | None]:
        """Its state as plain data; None stands for the logarithm of nothing."""
        return [value if math.isfinite(value) else None for value in self._log_sums_K.tolist()]

    def resume(self, log_sums: Sequence[float | None]) -> None:
        """Go on from a state that `log_sums` gave.

        Raises:
            DataError: it is one of another number of bettors.
        """
        if len(log_sums) != len(self._log_sums_K):
            raise DataError(
                f"A detector's state has {len(log_sums)} sums, and the detector "
                f"{len(self._log_sums_K)} bettors. Restore it with the settings it was kept with."
            )
        given = [-math.inf if value is None else value for value in log_sums]
        self._log_sums_K = np.array(given, dtype=np.float64)


@dataclass(frozen=True)
class BreachState:
    """What a `BreachDetector` has to remember.

    Attributes:
        log_sums: Of its bettors; None stands for the logarithm of nothing.
        num_observed: Losses so far.
        total_loss: Their sum.
    """

    log_sums: tuple[float | None, ...]
    num_observed: int
    total_loss: float


class BreachDetector:
    """Tells when the mean loss is above the target, from one audited loss after the other.

    Each bettor believes in one rate between the target and 1, log-evenly spaced, and stakes what
    makes its capital grow fastest if that is the mean of losses of 0 and 1. For losses between
    them its e-value is valid all the same, since it is linear in the loss.

    Args:
        target: Greatest tolerated mean loss, in (0, 1).
        average_run_length: Audits to a false alarm, at least, in the mean, while the mean loss
            given what came before is at most the target.

    Raises:
        ConfigError: a setting is out of range.
    """

    def __init__(self, target: float, *, average_run_length: float) -> None:
        check_between("target", target, 0.0, 1.0)
        rates_K = target ** (1 - np.arange(1, _NUM_RATES + 1) / (_NUM_RATES + 1))
        self.target = target
        self._stakes_K = (rates_K - target) / (target * (1 - target))
        self._detector = EDetector(_NUM_RATES, average_run_length=average_run_length)
        self._num_observed = 0
        self._total_loss = 0.0

    def observe(self, loss: float) -> bool:
        """Take in one loss, and say whether there is an alarm now.

        Raises:
            DataError: the loss is not in [0, 1].
        """
        if not 0.0 <= loss <= 1.0:
            raise DataError(f"loss={loss} is not in [0, 1]. Give 1 minus a score.")
        self._detector.observe(np.log1p(self._stakes_K * (loss - self.target)))
        self._num_observed += 1
        self._total_loss += loss
        return self.is_alarm

    @property
    def is_alarm(self) -> bool:
        """Whether the losses so far are too high for the target."""
        return self._detector.is_alarm

    @property
    def log_evidence(self) -> float:
        """How much so, in nats."""
        return self._detector.log_evidence

    @property
    def log_needed(self) -> float:
        """The evidence at which there is an alarm, in nats."""
        return self._detector.log_needed

    def state(self) -> BreachState:
        """What to keep over a restart."""
        return BreachState(tuple(self._detector.log_sums()), self._num_observed, self._total_loss)

    def resume(self, state: BreachState) -> None:
        """Go on from a kept state.

        Raises:
            DataError: it does not belong to a detector of this kind.
        """
        if not (state.num_observed >= 0 and 0 <= state.total_loss <= state.num_observed):
            raise DataError(
                f"A breach state with {state.num_observed} losses that sum to {state.total_loss} "
                "cannot be. Begin with a new detector."
            )
        self._detector.resume(state.log_sums)
        self._num_observed, self._total_loss = state.num_observed, state.total_loss


def expected_breach_delay(target: float, risk: float, *, average_run_length: float) -> float:
    """About how many audits a breach goes unnoticed, for losses of 0 and 1.

    The threshold over the information of one audit, which is what every detector with this run
    length needs to first order.

    Source: Lorden 1971, "Procedures for reacting to a change in distribution".

    Args:
        target: Greatest tolerated mean loss.
        risk: The mean loss after the change.
        average_run_length: Of the detector.

    Raises:
        ConfigError: the risk is not above the target and at most 1, or a setting is out of range.
    """
    check_between("target", target, 0.0, 1.0)
    check_between("average_run_length", average_run_length, 1.0, math.inf)
    if not target < risk <= 1:
        raise ConfigError(
            f"risk={risk} is no breach of target={target}. Give one above it, at most 1."
        )
    nats = risk * math.log(risk / target)
    if risk < 1:
        nats += (1 - risk) * math.log((1 - risk) / (1 - target))
    return math.log(average_run_length) / nats
