"""Ranks and ratings: recovered where strengths are known, honest about what is open."""

import math
from collections.abc import Iterator, Mapping
from itertools import combinations

import numpy as np
import pytest

from stillhouse.errors import DataError
from stillhouse.evaluate._arena._ranking import Scored, oriented, rank

POINTS = 400 / math.log(10)
STRENGTHS = {"large": 1.0, "middle": 0.3, "small": -0.4, "tiny": -0.9}


def played(
    strengths: Mapping[str, float],
    *,
    num_prompts: int,
    seed: int = 0,
    length_bonus: float = 0.0,
    sizes: Mapping[str, float] | None = None,
) -> Iterator[Scored]:
    """All pairs on all prompts; answers to a prompt keep their quality, so its pairs hang together.

    Qualities have Gumbel noise, whose differences are logistic: Bradley and Terry's model holds.
    """
    generator = np.random.default_rng(seed)
    for prompt in range(num_prompts):
        quality = {name: strength + generator.gumbel() for name, strength in strengths.items()}
        size = {name: 400 * (sizes or {}).get(name, 1.0) for name in strengths}
        chars = {name: round(mean * generator.uniform(0.4, 1.6)) for name, mean in size.items()}
        for a, b in combinations(strengths, 2):
            longer = (chars[a] - chars[b]) / (chars[a] + chars[b])
            wins = quality[a] - quality[b] + length_bonus * longer > 0
            yield Scored(a, b, float(wins), f"p{prompt}", chars[a], chars[b])


def test_known_strengths_are_recovered_with_their_order() -> None:
    ranking = rank([*played(STRENGTHS, num_prompts=600)], margin=0.05, seed=0)
    assert ranking.names == tuple(STRENGTHS)
    mean = sum(STRENGTHS.values()) / len(STRENGTHS)
    for name, strength in STRENGTHS.items():
        rating = ranking.standings[name].rating
        assert rating.low < 1000 + POINTS * (strength - mean) < rating.high
        assert (rating.n, rating.num_clusters) == (3600, 600)
    assert [one.rank for one in ranking.standings.values()] == [1, 2, 3, 4]
    assert {pair: one.claim.verdict for pair, one in ranking.contrasts.items()} == dict.fromkeys(
        combinations(STRENGTHS, 2), "better"
    )
    assert all(one.best_rank == one.rank == one.worst_rank for one in ranking.standings.values())


def test_ratings_are_about_a_mean_of_1000() -> None:
    ranking = rank([*played(STRENGTHS, num_prompts=40)], margin=0.05, seed=0)
    ratings = [one.rating.value for one in ranking.standings.values()]
    assert sum(ratings) / len(ratings) == pytest.approx(1000)


def test_equal_models_are_left_open_with_the_number_of_prompts_that_would_tell() -> None:
    equal = {"one": 0.0, "other": 0.0, "third": 0.0}
    ranking = rank([*played(equal, num_prompts=60)], margin=0.05, seed=0)
    for contrast in ranking.contrasts.values():
        assert contrast.claim.verdict == contrast.reverse.verdict == "inconclusive"
        assert contrast.claim.num_groups_needed is not None
        assert contrast.claim.num_groups_needed > 60
    assert {one.worst_rank for one in ranking.standings.values()} == {3}
    assert {one.best_rank for one in ranking.standings.values()} == {1}


def test_the_number_of_prompts_that_was_promised_settles_it() -> None:
    few = rank([*played({"one": 0.0, "other": 0.0}, num_prompts=60)], margin=0.05, seed=0)
    ((a, b), contrast) = next(iter(few.contrasts.items()))
    needed = contrast.claim.num_groups_needed
    assert needed is not None
    # If the difference is what it looked like.
    strengths = {a: contrast.difference.value / POINTS, b: 0.0}
    num_settled = 0
    for seed in range(20):
        many = rank([*played(strengths, num_prompts=needed, seed=seed)], margin=0.05, seed=0)
        num_settled += oriented(many, a, b).claim.verdict != "inconclusive"
    assert num_settled >= 13


def test_a_model_as_good_within_the_margin_is_not_inferior_in_both_directions() -> None:
    equal = {"teacher": 0.0, "student": 0.0}
    ranking = rank([*played(equal, num_prompts=1500)], margin=0.1, seed=0)
    (contrast,) = ranking.contrasts.values()
    assert (contrast.claim.verdict, contrast.reverse.verdict) == ("non_inferior", "non_inferior")
    assert contrast.claim.num_groups_needed is None


def test_a_contrast_is_turned_round_whole() -> None:
    ranking = rank([*played(STRENGTHS, num_prompts=80)], margin=0.05, seed=0)
    straight, turned = oriented(ranking, "large", "tiny"), oriented(ranking, "tiny", "large")
    assert turned.difference.value == -straight.difference.value
    assert turned.difference.low == -straight.difference.high
    assert (turned.claim, turned.reverse) == (straight.reverse, straight.claim)


def test_length_control_takes_away_what_length_brought() -> None:
    equal, sizes = {"brief": 0.0, "wordy": 0.0}, {"brief": 0.6, "wordy": 1.6}
    rows = [*played(equal, num_prompts=500, length_bonus=2.5, sizes=sizes)]
    judged = rank(rows, margin=0.05, seed=0)
    assert oriented(judged, "wordy", "brief").claim.verdict == "better"
    even = rank(rows, margin=0.05, seed=0, at_equal_length=True)
    difference = oriented(even, "wordy", "brief").difference
    assert difference.low < 0 < difference.high
    assert even.long_answer_wins is not None
    true_share = 1 / (1 + math.exp(-2.5 / 3))
    assert even.long_answer_wins.low < true_share < even.long_answer_wins.high


def test_a_judge_that_ignores_length_is_shown_to() -> None:
    even = rank([*played(STRENGTHS, num_prompts=400)], margin=0.05, seed=0, at_equal_length=True)
    assert even.names == tuple(STRENGTHS)
    assert even.long_answer_wins is not None
    assert even.long_answer_wins.low < 0.5 < even.long_answer_wins.high


@pytest.mark.parametrize("num_prompts", [12, 300])
def test_a_model_that_never_takes_a_point_is_far_below_and_not_infinitely(num_prompts: int) -> None:
    rows = [Scored("good", "bad", 1.0, f"p{n}", 10, 20) for n in range(num_prompts)]
    ranking = rank(rows, margin=0.05, seed=0)
    assert ranking.is_stretched
    contrast = ranking.contrasts["good", "bad"]
    assert contrast.claim.verdict == "better"
    assert math.isfinite(contrast.difference.high)
    # About as sure as the exact interval of a fraction that is 1.
    least_share = 1 / (1 + 10 ** (-contrast.difference.low / 400))
    exact = 0.025 ** (1 / num_prompts)
    assert 1 - least_share == pytest.approx(1 - exact, rel=0.5)
    assert (contrast.difference.n, contrast.difference.num_clusters) == (num_prompts, num_prompts)


def test_nothing_is_added_where_every_model_took_points() -> None:
    assert not rank([*played(STRENGTHS, num_prompts=80)], margin=0.05, seed=0).is_stretched


def test_outcomes_that_never_vary_are_refused() -> None:
    rows = [Scored("one", "other", 0.5, f"p{n}", 10, 10) for n in range(40)]
    with pytest.raises(DataError, match="always ties"):
        rank(rows, margin=0.05, seed=0)


def test_too_few_prompts_are_refused() -> None:
    with pytest.raises(DataError, match="at least 10"):
        rank([*played(STRENGTHS, num_prompts=9)], margin=0.05, seed=0)


def test_all_intervals_hold_together_as_often_as_they_say() -> None:
    names = ("a", "b", "c")
    strengths = dict(zip(names, (0.6, 0.0, -0.6), strict=True))
    num_runs, num_held = 200, 0
    for seed in range(num_runs):
        ranking = rank([*played(strengths, num_prompts=60, seed=1000 + seed)], margin=0.05, seed=0)
        num_held += all(
            oriented(ranking, one, other).difference.low
            <= POINTS * (strengths[one] - strengths[other])
            <= oriented(ranking, one, other).difference.high
            for one, other in combinations(names, 2)
        )
    # Of 200 runs with a true 95 %, fewer than 182 hold in one of 300 cases.
    assert num_held >= 182
