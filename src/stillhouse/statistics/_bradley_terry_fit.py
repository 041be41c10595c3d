"""The fit of a Bradley-Terry model and how sure it is, for `bradley_terry`.

Letters: N comparisons, M systems, P parameters, C clusters.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from stillhouse.errors import DataError
from stillhouse.statistics._interval import Floats, Integers

_MAX_STEPS = 100
_TOLERANCE = 1e-10
_GREATEST_LOGIT = 30.0  # a win in ten trillion: no data say that
_BLOCK = 1 << 21  # entries of one (rows, P, P) block: 16 MB

Booleans = npt.NDArray[np.bool_]


def fit_logits(design_NP: Floats, scores_N: Floats, penalty_P: Floats) -> Floats:
    """(P,) parameters at which the (penalised) likelihood of the scores is greatest, by Newton.

    Raises:
        DataError: it has no greatest value, or parameters cannot be told apart.
    """
    parameters_P = np.zeros(design_NP.shape[1])
    value = _likelihood(design_NP, scores_N, penalty_P, parameters_P)
    for _ in range(_MAX_STEPS):
        mean_N = expit(design_NP @ parameters_P)
        slope_P = design_NP.T @ (scores_N - mean_N) - penalty_P * parameters_P
        curvature_PP = (design_NP.T * (mean_N * (1 - mean_N))) @ design_NP + np.diag(penalty_P)
        if np.linalg.eigvalsh(curvature_PP)[0] <= 1e-12 * len(scores_N):
            break
        step_P = np.linalg.solve(curvature_PP, slope_P)
        next_P = parameters_P + step_P
        # Concave, so a shorter step in this direction always rises.
        while (reached := _likelihood(design_NP, scores_N, penalty_P, next_P)) < value - 1e-12:
            step_P = step_P / 2
            next_P = parameters_P + step_P
        parameters_P, value = next_P, reached
        if np.abs(step_P).max() < _TOLERANCE:
            return parameters_P
        if np.abs(design_NP @ parameters_P).max() > _GREATEST_LOGIT:
            break
    raise DataError(
        "Strengths and covariates explain every outcome or cannot be told apart, so the fit has no "
        "end. Compare more, leave out a covariate, or set `ridge`, such as 0.1."
    )


def jackknife_covariance(
    design_NP: Floats,
    scores_N: Floats,
    penalty_P: Floats,
    parameters_P: Floats,
    places_N: Integers,
    num_clusters: int,
) -> Floats:
    """(P, P) covariance that is robust to clusters: each is left out and one step refitted.

    Close to the usual sandwich for many clusters and wider for few (MacKinnon, Nielsen & Webb 2023,
    "Cluster-robust inference: A guide to empirical practice", CV3), as it should be.

    Raises:
        DataError: without some cluster, strengths could not be told apart.
    """
    mean_N = expit(design_NP @ parameters_P)
    slope_NP = design_NP * (scores_N - mean_N)[:, None]
    weight_N = mean_N * (1 - mean_N)
    curvature_PP = (design_NP.T * weight_N) @ design_NP + np.diag(penalty_P)
    order_N = np.argsort(places_N, kind="stable")
    starts_C = np.searchsorted(places_N[order_N], np.arange(num_clusters + 1))
    num_parameters = len(parameters_P)
    covariance_PP = np.zeros((num_parameters, num_parameters))
    rows = max(1, _BLOCK // num_parameters**2)
    first = 0
    while first < num_clusters:
        last = max(first + 1, int(np.searchsorted(starts_C, starts_C[first] + rows, "right")) - 1)
        inside = order_N[starts_C[first] : starts_C[last]]
        offsets = starts_C[first:last] - starts_C[first]
        x = design_NP[inside]
        outer = x[:, :, None] * x[:, None, :] * weight_N[inside, None, None]
        left = curvature_PP - np.add.reduceat(outer, offsets, axis=0)
        if np.linalg.eigvalsh(left)[:, 0].min() <= 1e-9 * np.trace(curvature_PP) / num_parameters:
            raise DataError(
                "Without one of the clusters some system would not be compared with the rest, so "
                "nothing says how sure its strength is. Compare each in several clusters."
            )
        slopes = np.add.reduceat(slope_NP[inside], offsets, axis=0)
        steps = np.linalg.solve(left, slopes[:, :, None])[:, :, 0]
        covariance_PP += steps.T @ steps
        first = last
    return covariance_PP * (num_clusters - 1) / num_clusters


def check_graph(names: Sequence[str], took_MM: Booleans, *, is_penalised: bool) -> None:
    """Refuse comparisons from which strengths do not follow.

    Args:
        took_MM: Whether the system of the row ever took a point, or half, from that of the column.
        is_penalised: Then a system may lose (or win) every comparison.

    Raises:
        DataError: systems were never compared, even by way of others; or some never took a point
            from the rest, so that the likelihood puts them infinitely far below (Ford 1957,
            "Solution of a Ranking Problem from Binary Comparisons").
    """
    for linked_MM, is_met in ((took_MM | took_MM.T, False), (took_MM, True)):
        if is_met and is_penalised:
            return
        reached_MM = _closure(linked_MM)
        if reached_MM.all():
            continue
        below = reached_MM[int(np.argmin(reached_MM.all(axis=1)))]
        some = _listed([name for name, inside in zip(names, below, strict=True) if inside])
        rest = _listed([name for name, inside in zip(names, below, strict=True) if not inside])
        if not is_met:
            raise DataError(
                f"{some} and {rest} were never compared, even by way of others. Compare them."
            )
        raise DataError(
            f"{some} never took a point from {rest}, so the distance has no upper end. Compare "
            "more, or set `ridge`, such as 0.1."
        )


def _closure(linked_MM: Booleans) -> Booleans:
    """Which systems each reaches along links."""
    reached_MM = linked_MM | np.eye(len(linked_MM), dtype=bool)
    for via in range(len(reached_MM)):
        reached_MM |= np.outer(reached_MM[:, via], reached_MM[via])
    return reached_MM


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


def _likelihood(
    design_NP: Floats, scores_N: Floats, penalty_P: Floats, parameters_P: Floats
) -> float:
    logits_N = design_NP @ parameters_P
    return float(
        scores_N @ logits_N - np.logaddexp(0.0, logits_N).sum() - 0.5 * penalty_P @ parameters_P**2
    )
