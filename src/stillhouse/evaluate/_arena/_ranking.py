"""From scored comparisons to ranks, ratings and what holds between any two models."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from stillhouse.evaluate._arena._results import MEAN_POINTS, Claim, Contrast, Standing
from stillhouse.evaluate._results import Estimate
from stillhouse.statistics import (
    BradleyTerry,
    Comparison,
    Interval,
    bradley_terry,
    elo_scale,
    verdict_of,
)

_LENGTH = "length"
_TWICE_AS_LONG = 1 / 3  # (2 - 1) / (2 + 1): the length difference of an answer and its half
_IMAGINARY = "(imaginary prompt)"
_POWER_SHARE = 0.43  # z of 80 % power over z of 95 % confidence


class Scored(NamedTuple):
    """One comparison as the ranking sees it.

    Attributes:
        a: One model.
        b: The other.
        score: 1 where `a` won, 0 where `b` did, 0.5 for a tie.
        group: Of the prompt; the evidence of one group is not independent.
        a_chars: Length of the answer of `a`.
        b_chars: Length of the answer of `b`.
    """

    a: str
    b: str
    score: float
    group: str
    a_chars: int
    b_chars: int

    @property
    def length_difference(self) -> float:
        """From -1 to 1: that of the two lengths over their sum, so that units do not matter."""
        return (self.a_chars - self.b_chars) / max(self.a_chars + self.b_chars, 1)


@dataclass(frozen=True)
class Ranking:
    """Models in their order.

    Attributes:
        names: The highest rated first.
        standings: By name.
        contrasts: By pair of names, the higher rated first.
        long_answer_wins: How often an answer wins over an equally good one of half its length; None
            where length was not allowed for.
        is_stretched: Whether some models never took a point from others, so that an imaginary
            prompt on which all tie keeps the distance finite.
    """

    names: tuple[str, ...]
    standings: dict[str, Standing]
    contrasts: dict[tuple[str, str], Contrast]
    long_answer_wins: Estimate | None
    is_stretched: bool


def rank(
    scored: Sequence[Scored], *, margin: float, seed: int, at_equal_length: bool = False
) -> Ranking:
    """Bradley-Terry over all comparisons at once, by `statistics.bradley_terry`.

    Where a model never took a point from some of the others, the likelihood has no greatest value.
    One imaginary prompt on which all compared pairs tie is added then, which leaves an interval
    about as wide as the exact one of a fraction that is 1 (300 wins of 300: at least 98.8 %).

    Args:
        scored: The comparisons.
        margin: Share of wins below half that is still not inferior.
        seed: Of the simulation behind simultaneous intervals.
        at_equal_length: Whether the difference of lengths explains wins beside the models.

    Raises:
        DataError: there are fewer than 10 groups, models that nothing links, or outcomes that never
            vary; at equal length also where lengths cannot be told from models.
    """
    is_stretched = not _is_bounded(scored)
    rows = [*scored, *(_imaginary_ties(scored) if is_stretched else ())]
    lengths = np.array([one.length_difference for one in rows])
    fit = bradley_terry(
        [Comparison(one.a, one.b, one.score) for one in rows],
        clusters=np.array([one.group for one in rows]),
        covariates={_LENGTH: lengths} if at_equal_length else None,
        seed=seed,
    )
    basis = len(scored), len({one.group for one in scored})
    long_answer_wins = None
    if at_equal_length:
        size = math.sqrt(float(np.mean(lengths**2)))
        long_answer_wins = _long_answer_wins(fit.covariates[_LENGTH], size, basis)
    return Ranking(
        names=tuple(one.name for one in fit.standings),
        standings=_standings(fit, basis),
        contrasts={
            pair: _contrast(difference, basis, margin)
            for pair, difference in fit.differences.items()
        },
        long_answer_wins=long_answer_wins,
        is_stretched=is_stretched,
    )


def oriented(ranking: Ranking, a: str, b: str) -> Contrast:
    """`a` against `b`, whichever of them is rated higher."""
    if (a, b) in ranking.contrasts:
        return ranking.contrasts[a, b]
    there = ranking.contrasts[b, a]
    apart = there.difference
    turned = {"value": -apart.value, "low": -apart.high, "high": -apart.low}
    return Contrast(
        difference=apart.model_copy(update=turned), claim=there.reverse, reverse=there.claim
    )


def _is_bounded(scored: Sequence[Scored]) -> bool:
    """Whether every model reaches every other by points that it took (Ford 1957)."""
    names = sorted({name for one in scored for name in (one.a, one.b)})
    place = {name: number for number, name in enumerate(names)}
    takers = [(place[one.a], place[one.b]) for one in scored if one.score > 0]
    takers += [(place[one.b], place[one.a]) for one in scored if one.score < 1]
    ones = np.ones(len(takers))
    took = csr_array((ones, tuple(np.array(takers).T)), shape=(len(names), len(names)))
    return int(connected_components(took, directed=True, connection="strong")[0]) == 1


def _imaginary_ties(scored: Sequence[Scored]) -> list[Scored]:
    compared = {frozenset((one.a, one.b)) for one in scored}
    pairs = sorted(tuple(sorted(pair)) for pair in compared)
    return [Scored(a, b, 0.5, _IMAGINARY, 0, 0) for a, b in pairs]


def _standings(fit: BradleyTerry, basis: tuple[int, int]) -> dict[str, Standing]:
    return {
        one.name: Standing(
            rating=_points(one.strength, basis, center=MEAN_POINTS),
            rank=one.rank,
            best_rank=one.best_rank,
            worst_rank=one.worst_rank,
        )
        for one in fit.standings
    }


def _contrast(difference: Interval, basis: tuple[int, int], margin: float) -> Contrast:
    tolerated = math.log((0.5 + margin) / (0.5 - margin))  # as log-odds
    turned = Interval(
        -difference.value, -difference.high, -difference.low, difference.n, difference.num_clusters
    )
    return Contrast(
        difference=_points(difference, basis, center=0.0),
        claim=_claim(difference, tolerated, num_groups=basis[1]),
        reverse=_claim(turned, tolerated, num_groups=basis[1]),
    )


def _claim(difference: Interval, tolerated: float, *, num_groups: int) -> Claim:
    verdict = verdict_of(difference, tolerated)
    if verdict != "inconclusive":
        return Claim(verdict=verdict)
    # The nearest thing that could be shown: that it is not inferior, or that it is worse.
    gap = max(difference.value + tolerated, -difference.value)
    reach = (difference.high - difference.low) / 2 * (1 + _POWER_SHARE)
    return Claim(verdict=verdict, num_groups_needed=math.ceil(num_groups * (reach / gap) ** 2))


def _points(interval: Interval, basis: tuple[int, int], *, center: float) -> Estimate:
    scaled = elo_scale(interval, center=center)
    n, num_clusters = basis
    return Estimate(
        value=scaled.value, low=scaled.low, high=scaled.high, n=n, num_clusters=num_clusters
    )


def _long_answer_wins(coefficient: Interval, size: float, basis: tuple[int, int]) -> Estimate:
    value, low, high = (
        float(expit(end / size * _TWICE_AS_LONG))
        for end in (coefficient.value, coefficient.low, coefficient.high)
    )
    n, num_clusters = basis
    return Estimate(value=value, low=low, high=high, n=n, num_clusters=num_clusters)
