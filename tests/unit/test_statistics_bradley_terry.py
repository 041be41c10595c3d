"""Rankings against a general optimiser, closed forms and simulated truth."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from stillhouse.errors import ConfigError, DataError, ShapeError
from stillhouse.statistics import (
    BradleyTerry,
    Comparison,
    Interval,
    bradley_terry,
    elo_scale,
    expected_score,
    fraction_interval,
)
from stillhouse.statistics._simultaneous import reach_of_all

TRUTH = {"base": -1.0, "student": 0.2, "teacher": 0.5, "other": 0.3}


def tournament(
    num_prompts: int, *, seed: int, truth: dict[str, float] = TRUTH, tie: float = 0.2
) -> tuple[list[Comparison], list[int]]:
    """All pairs on each prompt; a prompt favours some systems, so its comparisons depend."""
    generator = np.random.default_rng(seed)
    comparisons, clusters = [], []
    for prompt in range(num_prompts):
        for a, b in itertools.combinations(truth, 2):
            chance = 1 / (1 + math.exp(truth[b] - truth[a]))
            score = 0.5 if generator.random() < tie else float(generator.random() < chance)
            comparisons.append(Comparison(a, b, score))
            clusters.append(prompt)
    return comparisons, clusters


def strengths(ranking: BradleyTerry) -> dict[str, float]:
    return {standing.name: standing.strength.value for standing in ranking.standings}


# The fit


@pytest.mark.parametrize("ridge", [0.0, 0.7])
def test_strengths_are_those_of_a_general_optimiser(ridge: float) -> None:
    comparisons, _ = tournament(30, seed=0)
    names = sorted(TRUTH)

    def loss(theta: np.ndarray) -> float:
        theta = theta - theta.mean()
        total = ridge / 2 * float(theta @ theta)
        for each in comparisons:
            logit = theta[names.index(each.a)] - theta[names.index(each.b)]
            total += math.log1p(math.exp(logit)) - each.score * logit
        return total

    best = scipy.optimize.minimize(loss, np.zeros(4), tol=1e-12).x
    expected = dict(zip(names, best - best.mean(), strict=True))
    found = strengths(bradley_terry(comparisons, ridge=ridge))
    assert found == pytest.approx(expected, abs=1e-4)
    assert sum(found.values()) == pytest.approx(0, abs=1e-10)


def test_two_systems_have_the_log_odds_and_their_delta_method_interval() -> None:
    comparisons = [Comparison("a", "b", float(i % 3 > 0)) for i in range(300)]
    ranking = bradley_terry(comparisons)
    difference = ranking.difference("a", "b")
    assert difference.value == pytest.approx(math.log(2))
    error = math.sqrt(1 / (300 * (2 / 3) * (1 / 3)))
    reach = scipy.stats.t(299).ppf(0.975) * error
    assert difference.high - difference.value == pytest.approx(reach, rel=0.02)
    assert expected_score(difference).value == pytest.approx(2 / 3)
    exact = fraction_interval(200, 300)
    assert expected_score(difference).low == pytest.approx(exact.low, abs=0.01)


def test_the_covariance_is_that_of_leaving_each_cluster_out() -> None:
    comparisons, clusters = tournament(40, seed=1)
    ranking = bradley_terry(comparisons, clusters=clusters)
    names = [standing.name for standing in ranking.standings]
    left_out = []
    for prompt in range(40):
        kept = [each for each, c in zip(comparisons, clusters, strict=True) if c != prompt]
        found = strengths(bradley_terry(kept))
        left_out.append(found[names[0]] - found[names[-1]])
    error = math.sqrt(39 / 40 * ((np.array(left_out) - np.mean(left_out)) ** 2).sum())
    difference = ranking.difference(names[0], names[-1])
    one_alone = scipy.stats.t(39).ppf(0.975) * error
    # Six pairs at once reach further than one, and less far than Bonferroni's.
    bonferroni = scipy.stats.t(39).ppf(1 - 0.025 / 6) * error
    assert 1.1 * one_alone < difference.high - difference.value < 1.02 * bonferroni


def test_both_orders_of_one_judgement_are_one_piece_of_evidence() -> None:
    comparisons, clusters = tournament(60, seed=2)
    swapped = [Comparison(each.b, each.a, 1 - each.score) for each in comparisons]
    once = bradley_terry(comparisons, clusters=clusters)
    twice = bradley_terry(comparisons + swapped, clusters=clusters + clusters)
    assert strengths(twice) == pytest.approx(strengths(once))
    for one, two in zip(once.standings, twice.standings, strict=True):
        assert two.strength.low == pytest.approx(one.strength.low, rel=1e-6)
        assert two.strength.n == 2 * one.strength.n
    assert (twice.n, twice.num_clusters) == (720, 60)


def test_ties_are_counted_and_make_it_surer() -> None:
    generator = np.random.default_rng(3)
    decided = [Comparison("a", "b", float(generator.random() < 0.5)) for _ in range(400)]
    tied = [Comparison("a", "b", 0.5) if i % 2 else each for i, each in enumerate(decided)]
    wide, narrow = (
        bradley_terry(comparisons).difference("a", "b") for comparisons in (decided, tied)
    )
    assert bradley_terry(tied).num_ties == 200
    ratio = (narrow.high - narrow.low) / (wide.high - wide.low)
    assert ratio == pytest.approx(math.sqrt(0.5), rel=0.05)


# Ranks and families


def test_ranks_are_as_sure_as_the_pairs() -> None:
    comparisons, clusters = tournament(150, seed=4)
    ranking = bradley_terry(comparisons, clusters=clusters)
    assert [standing.rank for standing in ranking.standings] == [1, 2, 3, 4]
    last = ranking.standings[-1]
    assert (last.name, last.best_rank, last.worst_rank) == ("base", 4, 4)
    for standing in ranking.standings:
        pairs = [
            ranking.difference(standing.name, other) for other in TRUTH if other != standing.name
        ]
        assert standing.best_rank == 1 + sum(pair.high < 0 for pair in pairs)
        assert standing.worst_rank == 4 - sum(pair.low > 0 for pair in pairs)
        assert standing.best_rank <= standing.rank <= standing.worst_rank


def test_a_difference_turns_round_and_names_are_checked() -> None:
    ranking = bradley_terry(*tournament(20, seed=5)[:1])
    there, back = ranking.difference("base", "teacher"), ranking.difference("teacher", "base")
    assert (there.value, there.low, there.high) == (-back.value, -back.high, -back.low)
    for pair in (("base", "nobody"), ("base", "base")):
        with pytest.raises(ConfigError, match="not two systems"):
            ranking.difference(*pair)


def test_the_reach_of_all_lies_between_one_and_bonferroni() -> None:
    alone = reach_of_all(np.eye(1), np.eye(1), degrees=50, confidence=0.95)
    assert alone == pytest.approx(scipy.stats.t(50).ppf(0.975), rel=0.02)
    independent = reach_of_all(np.eye(10), np.eye(10), degrees=10**6, confidence=0.95)
    sidak = scipy.stats.norm.ppf((1 + 0.95 ** (1 / 10)) / 2)
    assert independent == pytest.approx(sidak, rel=0.01)
    same = reach_of_all(np.ones((10, 1)), np.eye(1), degrees=10**6, confidence=0.95)
    assert same == pytest.approx(scipy.stats.norm.ppf(0.975), rel=0.02)


def test_many_figures_are_simulated_in_blocks_of_one_stream() -> None:
    contrasts = np.random.default_rng(0).normal(size=(900, 5))
    found = reach_of_all(contrasts, np.eye(5), degrees=30, confidence=0.9)
    # All directions of five dimensions at once: Scheffe's reach is the bound.
    scheffe = math.sqrt(5 * scipy.stats.f(5, 30).ppf(0.9))
    assert 0.9 * scheffe < found < scheffe


# Covariates


def test_length_control_recovers_strengths_that_length_hides() -> None:
    generator = np.random.default_rng(6)
    longer = {"terse": -1.0, "verbose": 1.0, "plain": 0.0}
    comparisons, clusters, lengths = [], [], []
    for prompt in range(600):
        for a, b in itertools.combinations(longer, 2):
            length = longer[a] - longer[b] + generator.normal(0, 1)
            chance = 1 / (1 + math.exp(-0.8 * length))  # the judge likes length and nothing else
            comparisons.append(Comparison(a, b, float(generator.random() < chance)))
            clusters.append(prompt)
            lengths.append(length)
    plain = bradley_terry(comparisons, clusters=clusters)
    assert plain.difference("verbose", "terse").low > 0.5
    controlled = bradley_terry(comparisons, clusters=clusters, covariates={"length": lengths})
    difference = controlled.difference("verbose", "terse")
    assert difference.low < 0 < difference.high
    slope = controlled.covariates["length"]
    size = math.sqrt(np.mean(np.square(lengths)))
    assert slope.low < 0.8 * size < slope.high
    in_tokens = bradley_terry(
        comparisons, clusters=clusters, covariates={"length": 40 * np.array(lengths)}
    )
    assert in_tokens.covariates["length"].value == pytest.approx(slope.value)


def test_a_covariate_of_the_order_shown_measures_the_judges_bias() -> None:
    generator = np.random.default_rng(7)
    comparisons, shown_first = [], []
    for _ in range(800):
        first = float(generator.choice([-1, 1]))
        chance = 1 / (1 + math.exp(-(0.5 + 0.7 * first)))
        comparisons.append(Comparison("a", "b", float(generator.random() < chance)))
        shown_first.append(first)
    ranking = bradley_terry(comparisons, covariates={"first": shown_first})
    bias, difference = ranking.covariates["first"], ranking.difference("a", "b")
    assert bias.low < 0.7 < bias.high
    assert difference.low < 0.5 < difference.high


# Scales


def test_four_hundred_points_are_ten_to_one() -> None:
    ten_to_one = Interval(math.log(10), 0.0, 2 * math.log(10), 50, 20)
    assert elo_scale(ten_to_one) == Interval(1400.0, 1000.0, 1800.0, 50, 20)
    assert elo_scale(ten_to_one, center=0).value == pytest.approx(400)
    assert expected_score(ten_to_one).value == pytest.approx(10 / 11)


# What determines nothing


def wins(pairs: str, *, times: int = 12) -> list[Comparison]:
    """ "ab" is a win of a over b, "ab=" a tie."""
    return [
        Comparison(pair[0], pair[1], 0.5 if pair.endswith("=") else 1.0)
        for pair in pairs.split()
        for _ in range(times)
    ]


def test_systems_that_never_met_are_refused() -> None:
    with pytest.raises(DataError, match="never compared, even by way of others"):
        bradley_terry(wins("ab ba cd dc"))
    with pytest.raises(DataError, match="never compared"):
        bradley_terry(wins("ab ba cd dc"), ridge=1.0)


def test_a_system_that_never_took_a_point_is_refused_unless_pulled() -> None:
    with pytest.raises(DataError, match=r"'c' never took a point from 'a', 'b'.*ridge"):
        bradley_terry(wins("ab ba ac bc"))
    with pytest.raises(DataError, match=r"'b', 'c' never took a point from 'a'"):
        bradley_terry(wins("ab ac bc cb"))
    ranking = bradley_terry(wins("ab ba ac bc") + wins("ab ac", times=5), ridge=0.1)
    assert ranking.standings[-1].name == "c"
    assert ranking.ridge == 0.1
    assert all(math.isfinite(standing.strength.low) for standing in ranking.standings)


def test_one_tie_is_enough_to_bound_a_distance() -> None:
    ranking = bradley_terry(wins("ab ba ac bc") + wins("ac= bc=", times=2))
    assert ranking.standings[-1].name == "c"
    assert ranking.standings[-1].strength.value < -1


def test_a_circle_of_wins_is_a_ranking_without_order() -> None:
    ranking = bradley_terry(wins("ab bc ca") + wins("ab", times=1))
    assert all(abs(standing.strength.value) < 0.1 for standing in ranking.standings)
    assert all(
        (standing.best_rank, standing.worst_rank) == (1, 3) for standing in ranking.standings
    )


def test_a_judge_that_always_prefers_the_first_gives_no_sureness() -> None:
    comparisons = [Comparison(a, b, 1.0) for a, b in (("a", "b"), ("b", "a"))] * 20
    with pytest.raises(DataError, match="always prefers the answer shown first"):
        bradley_terry(comparisons, clusters=np.repeat(np.arange(20), 2))
    with pytest.raises(DataError, match="or always ties"):
        bradley_terry([Comparison("a", "b", 0.5)] * 30)


def test_a_system_known_from_one_prompt_alone_is_refused() -> None:
    comparisons = [*wins("ab ba"), Comparison("a", "c", 1.0), Comparison("a", "c", 0.0)]
    with pytest.raises(DataError, match="Without one of the clusters"):
        bradley_terry(comparisons, clusters=[*range(24), 99, 99])


def test_a_covariate_that_explains_every_outcome_is_refused() -> None:
    generator = np.random.default_rng(8)
    comparisons = [Comparison("a", "b", float(generator.random() < 0.5)) for _ in range(60)]
    lengths = [each.score - 0.5 for each in comparisons]
    with pytest.raises(DataError, match="explain every outcome"):
        bradley_terry(comparisons, covariates={"length": lengths})
    with pytest.raises(DataError, match="cannot be told apart"):
        bradley_terry(comparisons, covariates={"same": [1.0] * 60})


@pytest.mark.parametrize(
    ("comparisons", "settings", "error", "words"),
    [
        ([], {}, DataError, "nothing was measured"),
        (wins("ab ba", times=3), {}, DataError, "6 clusters of comparisons are too few"),
        (wins("ab ba"), {"clusters": [0] * 24}, DataError, "1 clusters"),
        (wins("ab ba"), {"clusters": [0]}, ShapeError, "one label"),
        ([Comparison("a", "a", 1.0)] * 20, {}, DataError, "compared with itself"),
        ([Comparison("a", "b", 2.0)] * 20, {}, DataError, "Give 1 for a win"),
        ([Comparison("a", "b", math.nan)] * 20, {}, DataError, "not finite"),
        (wins("ab ba"), {"covariates": {"x": [1.0]}}, ShapeError, "Covariate 'x' has 1 values"),
        (wins("ab ba"), {"covariates": {"x": [0.0] * 24}}, DataError, "Leave it out"),
        (wins("ab ba"), {"covariates": {"x": [math.nan] * 24}}, DataError, "covariate 'x'"),
        (wins("ab ba"), {"confidence": 95}, ConfigError, "confidence"),
        (wins("ab ba"), {"ridge": -1.0}, ConfigError, "ridge"),
    ],
)
def test_what_is_no_tournament_is_refused(
    comparisons: list[Comparison], settings: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        bradley_terry(comparisons, **settings)
