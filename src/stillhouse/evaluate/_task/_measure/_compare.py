"""Systems against each other on the same messages, with verdicts that hold for a whole family.

Letters: N messages.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stillhouse.evaluate._task._measure._estimates import estimate
from stillhouse.evaluate._task._records import Family, Method, Metric, TaskComparison
from stillhouse.statistics import (
    PairedComparison,
    Verdict,
    compare_paired,
    compare_paired_binary,
    holm,
)

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.str_]

_ONE_SIDED, _TWO_SIDED = 0.025, 0.05
_MIN_CLUSTERS = 10


@dataclass(frozen=True)
class Pair:
    """Two systems' scores on the same messages.

    Attributes:
        a: Name of the one that the verdict is about.
        b: Name of the other.
        a_N: Scores; NaN where the message has none for either.
        b_N: The same of the other.
    """

    a: str
    b: str
    a_N: Floats
    b_N: Floats


@dataclass(frozen=True)
class Comparer:
    """Compares scores under one margin.

    Attributes:
        clusters_N: What each message belongs to.
        margin: Tolerated loss, in units of the score.
        is_binary: Whether scores are 0 or 1.
        seed: Of bootstraps.
    """

    clusters_N: Labels
    margin: float
    is_binary: bool
    seed: int

    def family(
        self, name: Family, metric: Metric, pairs: Sequence[Pair]
    ) -> tuple[TaskComparison, ...]:
        """Verdicts that hold together: each kind of claim is wrong anywhere in 2.5 % of all cases.

        Holm's correction is made of each kind of claim (no worse by the margin; better; different)
        over all pairs.
        """
        if not pairs:
            return ()
        alone = [self._compare(pair) for pair in pairs]
        non_inferior, superior, different = (
            holm([getattr(one, field) for one in alone])
            for field in ("p_non_inferior", "p_superior", "p_different")
        )
        return tuple(
            TaskComparison(
                family=name,
                metric=metric,
                a=pair.a,
                b=pair.b,
                difference=estimate(one.difference, self._method(pair)),
                margin=self.margin,
                verdict=corrected_verdict(
                    one, float(non_inferior[at]), float(superior[at]), float(different[at])
                ),
                verdict_alone=one.verdict,
                p_non_inferior=one.p_non_inferior,
                p_superior=one.p_superior,
                p_different=one.p_different,
                p_non_inferior_holm=float(non_inferior[at]),
                p_superior_holm=float(superior[at]),
                p_different_holm=float(different[at]),
                discordance=one.discordance,
                n_needed=one.n_needed,
            )
            for at, (pair, one) in enumerate(zip(pairs, alone, strict=True))
        )

    def _compare(self, pair: Pair) -> PairedComparison:
        of_N = _both(pair)
        a, b, clusters = pair.a_N[of_N], pair.b_N[of_N], self.clusters_N[of_N]
        if self.is_binary:
            return compare_paired_binary(
                a, b, margin=self.margin, clusters=clusters, seed=self.seed
            )
        return compare_paired(
            a, b, margin=self.margin, clusters=clusters, seed=self.seed, bounds=(0.0, 1.0)
        )

    def _method(self, pair: Pair) -> Method:
        of_N = _both(pair)
        num_clusters = len(set(self.clusters_N[of_N].tolist()))
        if self.is_binary and num_clusters == int(of_N.sum()):
            return "score"
        is_constant = float(np.ptp(pair.a_N[of_N] - pair.b_N[of_N])) == 0.0
        return "bounds" if is_constant or num_clusters < _MIN_CLUSTERS else "bootstrap"


def corrected_verdict(
    alone: PairedComparison, p_non_inferior: float, p_superior: float, p_different: float
) -> Verdict:
    """The strongest claim that stands after a correction for other comparisons.

    Args:
        alone: The comparison by itself, whose verdict is the most that can be said.
        p_non_inferior: Corrected, as are the other two.
        p_superior: One-sided.
        p_different: Two-sided.
    """
    if alone.verdict == "better" and p_superior < _ONE_SIDED:
        return "better"
    if alone.verdict in ("better", "non_inferior") and p_non_inferior < _ONE_SIDED:
        return "non_inferior"
    if alone.verdict == "worse" and p_different < _TWO_SIDED:
        return "worse"
    return "inconclusive"


def _both(pair: Pair) -> npt.NDArray[np.bool_]:
    return np.isfinite(pair.a_N) & np.isfinite(pair.b_N)
