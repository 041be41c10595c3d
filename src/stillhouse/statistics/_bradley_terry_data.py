"""What was compared with what, as arrays, for `bradley_terry`.

Letters: N comparisons, M systems, F covariates.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stillhouse.errors import DataError, ShapeError
from stillhouse.statistics._interval import (
    MIN_CLUSTERS,
    Floats,
    Integers,
    cluster_places,
    finite_scores,
)


@dataclass(frozen=True)
class Comparison:
    """Two systems on one prompt.

    Attributes:
        a: One system.
        b: The other.
        score: Of `a`: 1 for a win, 0 for a loss, 0.5 for a tie; or the mean of several verdicts.
    """

    a: str
    b: str
    score: float


@dataclass(frozen=True)
class Data:
    """Comparisons by numbers of their systems, covariates standardised."""

    names: tuple[str, ...]
    a_N: Integers
    b_N: Integers
    scores_N: Floats
    places_N: Integers
    num_clusters: int
    covariates: tuple[str, ...]
    values_NF: Floats

    def took_part(self, *systems: int) -> tuple[int, int]:
        """Comparisons, and clusters of them, in which all these systems are."""
        sides_2N = np.stack([self.a_N, self.b_N])
        inside_N = np.all([(sides_2N == system).any(axis=0) for system in systems], axis=0)
        return int(inside_N.sum()), len(np.unique(self.places_N[inside_N]))

    def took_points(self) -> npt.NDArray[np.bool_]:
        """(M, M) whether the system of the row ever took a point, or half, from the column's."""
        took_MM = np.zeros((len(self.names), len(self.names)), dtype=bool)
        np.logical_or.at(took_MM, (self.a_N, self.b_N), self.scores_N > 0)
        np.logical_or.at(took_MM, (self.b_N, self.a_N), self.scores_N < 1)
        return took_MM


def read_comparisons(
    comparisons: Sequence[Comparison],
    clusters: npt.ArrayLike | None,
    covariates: Mapping[str, npt.ArrayLike],
) -> Data:
    """Checked comparisons.

    Raises:
        ShapeError, DataError: as in `bradley_terry`.
    """
    scores_N = finite_scores("scores of comparisons", [each.score for each in comparisons])
    if scores_N.min() < 0 or scores_N.max() > 1:
        raise DataError(
            f"Scores of comparisons run from {scores_N.min():g} to {scores_N.max():g}. Give 1 for "
            "a win, 0 for a loss and 0.5 for a tie."
        )
    for each in comparisons:
        if each.a == each.b:
            raise DataError(f"{each.a!r} is compared with itself. Compare two systems.")
    names = tuple(sorted({name for each in comparisons for name in (each.a, each.b)}))
    place = {name: number for number, name in enumerate(names)}
    places_N, num_clusters = cluster_places(clusters, len(scores_N))
    if num_clusters < MIN_CLUSTERS:
        raise DataError(
            f"{num_clusters} clusters of comparisons are too few to say how sure a ranking is. "
            f"Compare on at least {MIN_CLUSTERS} prompts."
        )
    columns = [_standardised(name, values, len(scores_N)) for name, values in covariates.items()]
    return Data(
        names,
        np.array([place[each.a] for each in comparisons]),
        np.array([place[each.b] for each in comparisons]),
        scores_N,
        places_N,
        num_clusters,
        tuple(covariates),
        np.array(columns).T.reshape(len(scores_N), len(covariates)),
    )


def _standardised(name: str, values: npt.ArrayLike, num_rows: int) -> Floats:
    values_N = finite_scores(f"values of covariate {name!r}", values)
    if len(values_N) != num_rows:
        raise ShapeError(
            f"Covariate {name!r} has {len(values_N)} values for {num_rows} comparisons. Give one "
            "for each."
        )
    size = math.sqrt(float(np.mean(values_N**2)))
    if size == 0:
        raise DataError(f"Covariate {name!r} is 0 in every comparison. Leave it out.")
    return values_N / size
