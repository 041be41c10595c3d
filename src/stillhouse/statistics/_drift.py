"""When new observations are no longer like those of a calibration set.

Each new observation gets a conformal p-value: its rank among the calibration observations and all
that came after them. While all are exchangeable these p-values are independent and uniform,
exactly, so bets against that are e-values, and `EDetector` makes an alarm of them. Ranks among the
calibration set alone would not be independent: a set that is a little off would look like drift
for ever.

Values are ranked by cells of a fixed grid, so that the state does not grow; ties are broken at
random, from a seed and the observation's number.

Letters: S streams, C cells of a grid, B ways to bet.

Source: Vovk, Nouretdinov & Gammerman 2003, "Testing exchangeability on-line"; Vovk et al. 2021,
"Retrain or not retrain: conformal test martingales for change-point detection", arXiv:2102.10439.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stillhouse.errors import DataError, ShapeError
from stillhouse.statistics._change import EDetector
from stillhouse.statistics._interval import Floats, Integers, bounded_scores

_CELLS = 1024
_REACH = 16.0  # log-odds at the ends of the grid; what is beyond shares the last cell
_POWERS = np.array([0.2, 0.4, 0.7, 2.0])  # of the bets; below 1 on extremes, above on one half
_RANGE = 2**64


@dataclass(frozen=True)
class DriftState:
    """What a `DriftDetector` has to remember.

    Attributes:
        log_sums: Of its bettors; None stands for the logarithm of nothing.
        num_observed: Observations after the calibration set.
        counts_SC: By stream and cell, the values so far, calibration ones included.
    """

    log_sums: tuple[float | None, ...]
    num_observed: int
    counts_SC: tuple[tuple[int, ...], ...]


class DriftDetector:
    """Tells when values in [0, 1], of one stream or several, cease to be like the calibration's.

    Values that have grown and values that have fallen are looked for alike. Of several streams,
    such as the confidence and the novelty of a request, the mean of their detectors is watched.

    Args:
        calibration: For each stream, values of the calibration set in [0, 1].
        average_run_length: Observations to a false alarm, at least, in the mean, while new ones
            and the calibration set are exchangeable.
        seed: Of how ties are broken.

    Raises:
        DataError: there is no stream, or values are missing or outside [0, 1].
        ConfigError: `average_run_length` is not above 1.
    """

    def __init__(
        self, calibration: Sequence[npt.ArrayLike], *, average_run_length: float, seed: int = 0
    ) -> None:
        if not len(calibration):
            raise DataError("There is no stream to watch. Give the values of one at least.")
        self._counts_SC = np.stack([_counts(values) for values in calibration])
        self._seed = seed
        self._num_observed = 0
        self.p_values: tuple[float, ...] = ()
        """Of the last observation, one a stream: uniform on (0, 1) while nothing has changed."""
        num_bettors = len(calibration) * 2 * len(_POWERS)
        self._detector = EDetector(num_bettors, average_run_length=average_run_length)

    def observe(self, *values: float) -> bool:
        """Take in one observation, and say whether there is an alarm now.

        Args:
            values: One of each stream, in [0, 1].

        Raises:
            ShapeError: not one of each stream.
            DataError: one is outside [0, 1].
        """
        if len(values) != len(self._counts_SC):
            raise ShapeError(
                f"{len(values)} values for {len(self._counts_SC)} streams. Give one of each."
            )
        cells_S = _cells(bounded_scores("values", values))
        self._num_observed += 1
        self.p_values = tuple(
            self._p_value(stream, cell) for stream, cell in enumerate(cells_S.tolist())
        )
        self._detector.observe(np.concatenate([_log_bets(one) for one in self.p_values]))
        return self.is_alarm

    @property
    def is_alarm(self) -> bool:
        """Whether the observations so far are too unlike the calibration set."""
        return self._detector.is_alarm

    @property
    def log_evidence(self) -> float:
        """How much so, in nats."""
        return self._detector.log_evidence

    @property
    def log_needed(self) -> float:
        """The evidence at which there is an alarm, in nats."""
        return self._detector.log_needed

    def state(self) -> DriftState:
        """What to keep over a restart."""
        counts = tuple(tuple(counts) for counts in self._counts_SC.tolist())
        return DriftState(tuple(self._detector.log_sums()), self._num_observed, counts)

    def resume(self, state: DriftState) -> None:
        """Go on from a kept state.

        Raises:
            DataError: it does not belong to a detector with as many streams.
        """
        counts_SC = np.array(state.counts_SC, dtype=np.int64)
        if counts_SC.shape != self._counts_SC.shape or (counts_SC < 0).any():
            raise DataError(
                f"A drift state counts {counts_SC.shape} cells, and the detector "
                f"{self._counts_SC.shape}. Restore it with the calibration it was kept with."
            )
        self._detector.resume(state.log_sums)
        self._counts_SC, self._num_observed = counts_SC, state.num_observed

    def _p_value(self, stream: int, cell: int) -> float:
        """Share of the values so far, this one included, that are lower; in (0, 1)."""
        counts_C = self._counts_SC[stream]
        counts_C[cell] += 1
        lower, equal = int(counts_C[:cell].sum()), int(counts_C[cell])
        lot = _uniform(f"{self._seed}:{stream}:{self._num_observed}")
        return (lower + lot * equal) / int(counts_C.sum())


def _counts(values: npt.ArrayLike) -> Integers:
    cells_N = _cells(bounded_scores("calibration", values))
    return np.bincount(cells_N, minlength=_CELLS).astype(np.int64)


def _cells(values_N: Floats) -> Integers:
    """(N,) places on a grid of log-odds, since confidences differ most next to 1."""
    with np.errstate(divide="ignore"):
        odds_N = np.log(values_N) - np.log1p(-values_N)
    shares_N = (np.clip(odds_N, -_REACH, _REACH) + _REACH) / (2 * _REACH)
    cells_N: Integers = np.minimum((shares_N * _CELLS).astype(np.int64), _CELLS - 1)
    return cells_N


def _log_bets(p_value: float) -> Floats:
    """(B,) logarithms of densities on (0, 1): powers of the p-value, and of its complement."""
    low, high = math.log(p_value), math.log1p(-p_value)
    return np.concatenate([np.log(_POWERS) + (_POWERS - 1) * one for one in (low, high)])


def _uniform(name: str) -> float:
    """In (0, 1), the same for a name on every machine."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") + 0.5) / _RANGE
