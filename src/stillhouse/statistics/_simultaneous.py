"""Intervals for many figures that all hold at once.

Letters: K figures, P parameters, S simulations.
"""

import numpy as np

from stillhouse.statistics._interval import Floats

_NUM_SIMULATIONS = 20_000
_BLOCK = 1 << 22  # entries of one (S, K) block: 32 MB


def reach_of_all(
    contrasts_KP: Floats,
    covariance_PP: Floats,
    *,
    degrees: int,
    confidence: float,
    seed: int = 0,
) -> float:
    """Standard errors that every interval must reach so that all cover together.

    The quantile of the greatest of K dependent Student statistics, by simulation from their joint
    covariance. Between the reach of one interval and that of Bonferroni.

    Source: Hothorn, Bretz & Westfall 2008, "Simultaneous Inference in General Parametric Models",
    section 3.

    Args:
        contrasts_KP: Each figure as a combination of parameters, none without variance.
        covariance_PP: Of the parameters.
        degrees: Of freedom of their common standard error.
        confidence: That all K intervals hold.
        seed: Of the simulation.
    """
    generator = np.random.default_rng(seed)
    values_P, vectors_PP = np.linalg.eigh(covariance_PP)
    root_KP = contrasts_KP @ (vectors_PP * np.sqrt(np.maximum(values_P, 0.0)))
    root_KP /= np.sqrt(np.sum(root_KP**2, axis=1, keepdims=True))
    greatest = []
    rows = max(1, _BLOCK // len(contrasts_KP))
    for start in range(0, _NUM_SIMULATIONS, rows):
        size = min(rows, _NUM_SIMULATIONS - start)
        draws_SP = generator.standard_normal((size, len(values_P)))
        scale_S = np.sqrt(generator.chisquare(degrees, size) / degrees)
        greatest.append(np.abs(draws_SP @ root_KP.T).max(axis=1) / scale_S)
    return float(np.quantile(np.concatenate(greatest), confidence))
