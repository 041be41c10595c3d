"""Strengths of many systems from comparisons of two at a time.

Letters: N comparisons, M systems, F covariates, P parameters (M - 1 + F), C clusters, K pairs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, stdtrit

from stillhouse.errors import ConfigError, DataError
from stillhouse.statistics._bradley_terry_data import Comparison, Data, read_comparisons
from stillhouse.statistics._bradley_terry_fit import (
    check_graph,
    fit_logits,
    jackknife_covariance,
)
from stillhouse.statistics._interval import (
    Floats,
    Integers,
    Interval,
    check_confidence,
)
from stillhouse.statistics._simultaneous import reach_of_all

_ELO_PER_LOGIT = 400 / math.log(10)


@dataclass(frozen=True)
class Standing:
    """One system among the others.

    Attributes:
        name: Of the system.
        strength: In log-odds above the mean of all systems; all systems' intervals hold at once.
            Its `n` are the comparisons that the system took part in.
        rank: 1 is the strongest estimate.
        best_rank: Systems that are surely stronger, and 1.
        worst_rank: All systems but those that are surely weaker.
    """

    name: str
    strength: Interval
    rank: int
    best_rank: int
    worst_rank: int


@dataclass(frozen=True)
class BradleyTerry:
    """A ranking with its doubts.

    Attributes:
        standings: Strongest first.
        differences: Strength of the first minus that of the second, in log-odds, for each pair in
            the order of `standings`; all of them hold at once.
        covariates: Log-odds for one standard deviation of each covariate; each on its own.
        n: Comparisons.
        num_clusters: Independent pieces of evidence among them.
        num_ties: Comparisons that ended even.
        confidence: Of each family of intervals.
        ridge: Penalty on strengths; 0 is maximum likelihood.
    """

    standings: tuple[Standing, ...]
    differences: Mapping[tuple[str, str], Interval]
    covariates: Mapping[str, Interval]
    n: int
    num_clusters: int
    num_ties: int
    confidence: float
    ridge: float

    def difference(self, a: str, b: str) -> Interval:
        """Strength of `a` minus that of `b`, in log-odds.

        Raises:
            ConfigError: one of them is no system of this ranking, or both are the same.
        """
        if (a, b) in self.differences:
            return self.differences[a, b]
        if (b, a) not in self.differences:
            raise ConfigError(f"{a!r} and {b!r} are not two systems of this ranking.")
        there = self.differences[b, a]
        return Interval(-there.value, -there.high, -there.low, there.n, there.num_clusters)


def bradley_terry(
    comparisons: Sequence[Comparison],
    *,
    clusters: npt.ArrayLike | None = None,
    covariates: Mapping[str, npt.ArrayLike] | None = None,
    confidence: float = 0.95,
    ridge: float = 0.0,
    seed: int = 0,
) -> BradleyTerry:
    """Strengths of systems such that the expected score of one against another is a logistic.

    logit E[score of a] = strength of a - strength of b + sum of coefficients times covariates.

    A tie is half a win for each, as in Elo and Chatbot Arena: strengths then describe expected
    scores, whatever makes ties likely, where Davidson's (1970) model also has to be right about how
    ties thin out with distance. Nothing is lost by it: standard errors come from how scores scatter
    between clusters, not from the model, so many ties make them smaller as they should.

    The fit is maximum likelihood (no regularisation) unless `ridge` is given. Covariance is a
    cluster jackknife; intervals of strengths, and of all pairs, are simultaneous Student intervals
    by simulation from it. Rank intervals follow from the pairs.

    Source: Bradley & Terry 1952, "Rank Analysis of Incomplete Block Designs"; Chiang et al. 2024,
    "Chatbot Arena", arXiv:2403.04132; covariates as length and style control there; ranks as
    Mogstad et al. 2024, "Inference for Ranks", Review of Economic Studies 91:476.

    Args:
        comparisons: Of two different systems each.
        clusters: (N,) labels, usually the prompt: both orders of one pair of answers, and all
            answers to one prompt, belong together. Without them each comparison stands alone.
        covariates: By name, (N,) values for `a` minus those for `b`, such as the difference of
            lengths. Divided by their root mean square, not centred, so that swapping `a` and `b`
            only turns the sign. Strengths are then those of answers alike in them.
        confidence: That all strengths' intervals hold, and that all pairs' do.
        ridge: Penalty of ridge / 2 times the sum of squared strengths: a normal prior of variance
            1 / ridge. Lets a system lose everything; pulls strengths together.
        seed: Of the simulation.

    Raises:
        ShapeError: a covariate or the clusters have another length.
        DataError: there are fewer than 2 systems or 10 clusters, a score is not in [0, 1], a
            system meets itself, or the comparisons do not determine the strengths.
        ConfigError: `confidence` or `ridge` is out of range.
    """
    check_confidence(confidence)
    if not 0 <= ridge < math.inf:
        raise ConfigError(f"ridge={ridge} is no penalty. Give 0 or more.")
    data = read_comparisons(comparisons, clusters, covariates or {})
    check_graph(data.names, data.took_points(), is_penalised=ridge > 0)
    basis_MP = np.zeros((len(data.names), len(data.names) - 1 + data.values_NF.shape[1]))
    basis_MP[:, : len(data.names) - 1] = _contrast_basis(len(data.names))
    design_NP = basis_MP[data.a_N] - basis_MP[data.b_N]
    design_NP[:, len(data.names) - 1 :] = data.values_NF
    penalty_P = np.where(np.arange(basis_MP.shape[1]) < len(data.names) - 1, ridge, 0.0)
    parameters_P = fit_logits(design_NP, data.scores_N, penalty_P)
    covariance_PP = jackknife_covariance(
        design_NP, data.scores_N, penalty_P, parameters_P, data.places_N, data.num_clusters
    )
    sureness = _Sureness(
        parameters_P, covariance_PP, data.num_clusters - 1, confidence=confidence, seed=seed
    )
    order_M = np.argsort(-(basis_MP @ parameters_P), kind="stable")
    differences = _differences(data, basis_MP, order_M, sureness)
    return BradleyTerry(
        standings=_standings(data, basis_MP, order_M, sureness, differences),
        differences=differences,
        covariates=_coefficients(data, sureness),
        n=len(data.scores_N),
        num_clusters=data.num_clusters,
        num_ties=int((data.scores_N == 0.5).sum()),
        confidence=confidence,
        ridge=ridge,
    )


def elo_scale(strength: Interval, *, center: float = 1000.0) -> Interval:
    """A strength on the scale of Elo ratings: 400 points are odds of ten to one.

    Args:
        strength: In log-odds above the mean of all systems; a difference with a center of 0.
        center: Rating of the mean.
    """
    value, low, high = (
        center + _ELO_PER_LOGIT * end for end in (strength.value, strength.low, strength.high)
    )
    return Interval(value, low, high, strength.n, strength.num_clusters)


def expected_score(difference: Interval) -> Interval:
    """The score that the first of two systems is to expect, ties counting half."""
    value, low, high = (
        float(expit(end)) for end in (difference.value, difference.low, difference.high)
    )
    return Interval(value, low, high, difference.n, difference.num_clusters)


@dataclass(frozen=True)
class _Sureness:
    parameters_P: Floats
    covariance_PP: Floats
    degrees: int
    confidence: float
    seed: int

    def ends(self, contrasts_KP: Floats) -> tuple[Floats, Floats]:
        """(K,) values and half-widths that hold at once."""
        errors_K = np.sqrt(np.einsum("kp,pq,kq->k", contrasts_KP, self.covariance_PP, contrasts_KP))
        if (errors_K <= 1e-9).any():
            raise DataError(
                "Outcomes cancel out within every cluster, so nothing says how sure the strengths "
                "are. See whether the judge always prefers the answer shown first, or always ties."
            )
        reach = reach_of_all(
            contrasts_KP,
            self.covariance_PP,
            degrees=self.degrees,
            confidence=self.confidence,
            seed=self.seed,
        )
        return contrasts_KP @ self.parameters_P, reach * errors_K


def _differences(
    data: Data, basis_MP: Floats, order_M: Integers, sureness: _Sureness
) -> dict[tuple[str, str], Interval]:
    pairs = [(i, j) for place, i in enumerate(order_M) for j in order_M[place + 1 :]]
    values_K, reach_K = sureness.ends(np.array([basis_MP[i] - basis_MP[j] for i, j in pairs]))
    return {
        (data.names[i], data.names[j]): Interval(
            float(value), float(value - reach), float(value + reach), *data.took_part(i, j)
        )
        for (i, j), value, reach in zip(pairs, values_K, reach_K, strict=True)
    }


def _standings(
    data: Data,
    basis_MP: Floats,
    order_M: Integers,
    sureness: _Sureness,
    differences: Mapping[tuple[str, str], Interval],
) -> tuple[Standing, ...]:
    values_M, reach_M = sureness.ends(basis_MP[order_M])
    surely = [pair for pair, interval in differences.items() if interval.low > 0]
    return tuple(
        Standing(
            data.names[system],
            Interval(
                float(values_M[place]),
                float(values_M[place] - reach_M[place]),
                float(values_M[place] + reach_M[place]),
                *data.took_part(system),
            ),
            rank=place + 1,
            best_rank=1 + sum(weaker == data.names[system] for _, weaker in surely),
            worst_rank=len(order_M) - sum(stronger == data.names[system] for stronger, _ in surely),
        )
        for place, system in enumerate(order_M)
    )


def _coefficients(data: Data, sureness: _Sureness) -> dict[str, Interval]:
    first = len(sureness.parameters_P) - len(data.covariates)
    t = float(stdtrit(sureness.degrees, 1 - (1 - sureness.confidence) / 2))
    found = {}
    for place, name in enumerate(data.covariates, start=first):
        value = float(sureness.parameters_P[place])
        reach = t * math.sqrt(sureness.covariance_PP[place, place])
        found[name] = Interval(
            value, value - reach, value + reach, len(data.scores_N), data.num_clusters
        )
    return found


def _contrast_basis(num_systems: int) -> Floats:
    """(M, M - 1) orthonormal columns that sum to 0, so that strengths are about their mean."""
    full_MM = np.eye(num_systems) - 1 / num_systems
    vectors_MM = np.linalg.svd(full_MM)[0]
    basis: Floats = vectors_MM[:, :-1]
    return basis
