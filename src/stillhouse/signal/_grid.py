"""Probabilities as integer codes, finer where more mass is at stake.

The steps of the grid grow as p falls: what an error does to the gradient is measured in p, not in
log p. A probability of a half or more is not coded at all but is what the others and the tail
leave of 1, which keeps it exact where it is close to 1.
"""

from functools import cache

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.uint16]
Probs = npt.NDArray[np.float64]

REST = 0
"""The code of a probability of at least a half."""

_TOP = 0.5
_SMALLEST = 1e-9
# Measured on real pairs (benchmarks/signal_store.py): 13 bytes a token at K = 32, and an error of
# the gradient far below that of a K of 32 itself. Half the first step costs 3 bytes more.
_FINEST_NATS = 0.01
_COARSEST_NATS = 0.2
_COMPANDING = 0.4

_TAIL_STEP_NATS = 2.0**-10
_LARGEST_TAIL_CODE = 2**14  # 16 nats: below 1.1e-7 float32 log-probabilities know no tail


@cache
def _levels() -> Probs:
    """Probabilities of the codes from 1 on, falling."""
    log_p = [float(np.log(_TOP))]
    while log_p[-1] > np.log(_SMALLEST):
        step = _FINEST_NATS * (np.exp(log_p[-1]) / _TOP) ** -_COMPANDING
        log_p.append(log_p[-1] - min(_COARSEST_NATS, float(step)))
    levels: Probs = np.exp(np.array(log_p))
    return levels


@cache
def _table() -> Probs:
    table: Probs = np.concatenate([[0.0], _levels(), [0.0]])
    return table


@cache
def _limits() -> Probs:
    """Negated borders between neighbouring levels; the last one is that of 0."""
    levels: Probs = np.append(_levels(), 0.0)
    limits: Probs = -(levels[1:] + levels[:-1]) / 2
    return limits


def encode_probs(probs: Probs, units: Probs | float = 1.0) -> Codes:
    """The code of the nearest level; `REST` for at least a half, the last code for 0.

    Args:
        probs: Any shape.
        units: What those below a half are counted in; none of these may come to half a unit.
    """
    codes = 1 + np.searchsorted(_limits(), -probs / units)
    return np.where(probs >= _TOP, REST, codes).astype(np.uint16)


def decode_probs(codes: npt.NDArray[np.uint32]) -> Probs:
    """Probabilities of codes; 0 for `REST`, which only a whole row can resolve."""
    probs: Probs = _table()[codes]
    return probs


def encode_tails(tail_logprob: npt.NDArray[np.float32]) -> Codes:
    """Codes of the log of tails; 0 for none."""
    steps = 1 - np.rint(tail_logprob.astype(np.float64) / _TAIL_STEP_NATS)
    return np.where(steps > _LARGEST_TAIL_CODE, 0, np.maximum(steps, 1)).astype(np.uint16)


def decode_tails(codes: npt.NDArray[np.uint32]) -> Probs:
    """Log of the tails, -inf for none."""
    return np.where(codes == 0, -np.inf, (1.0 - codes) * _TAIL_STEP_NATS)
