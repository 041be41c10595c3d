"""Bounds of bounded means against their definitions, exact bounds and simulation."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.errors import ConfigError, DataError, ShapeError
from stillhouse.statistics import (
    bernstein_interval,
    bernstein_upper_bound,
    betting_interval,
    betting_lower_bound,
    betting_sequence,
    betting_upper_bound,
    fraction_interval,
)

SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=60)


def naive_capital(scores: list[float], mean: float, *, tail: float) -> float:
    """Greatest capital of a bettor on more than `mean`, one bet after the other."""
    capital = greatest = 1.0
    total, squares = 0.0, 0.0
    for time, score in enumerate(scores, start=1):
        variance = (0.25 + squares) / time
        bet = min(math.sqrt(2 * math.log(1 / tail) / (len(scores) * variance)), 0.75 / mean)
        capital *= 1 + bet * (score - mean)
        greatest = max(greatest, capital)
        total += score
        squares += (score - (0.5 + total) / (time + 1)) ** 2
    return greatest


def naive_bernstein(scores: list[float], tail: float) -> tuple[float, float]:
    """Center and half-width as Waudby-Smith & Ramdas 2023 write theorem 2."""
    n, total, squares = len(scores), 0.0, 0.0
    bets, weighted, cost = 0.0, 0.0, 0.0
    for time, score in enumerate(scores, start=1):
        variance = (0.25 + squares) / time
        bet = min(math.sqrt(2 * math.log(1 / tail) / (n * variance)), 0.5)
        before = (0.5 + total) / time
        cost += 4 * (score - before) ** 2 * (-math.log(1 - bet) - bet) / 4
        bets, weighted = bets + bet, weighted + bet * score
        total += score
        squares += (score - (0.5 + total) / (time + 1)) ** 2
    return weighted / bets, (math.log(1 / tail) + cost) / bets


def shuffled(scores: Any, seed: int = 0) -> list[float]:
    return list(np.random.default_rng(seed).permutation(np.asarray(scores, dtype=float)))


def test_the_ends_are_where_a_naive_bettor_has_won_enough() -> None:
    scores = np.random.default_rng(0).beta(3, 1, 70)
    interval = betting_interval(scores, seed=3)
    order = shuffled(scores, 3)
    assert naive_capital(order, interval.low, tail=0.025) == pytest.approx(40, rel=1e-6)
    mirrored = [1 - score for score in order]
    assert naive_capital(mirrored, 1 - interval.high, tail=0.025) == pytest.approx(40, rel=1e-6)
    upper = betting_upper_bound(scores, seed=3)
    assert naive_capital(mirrored, 1 - upper, tail=0.05) == pytest.approx(20, rel=1e-6)


def test_the_bernstein_interval_is_that_of_a_naive_loop() -> None:
    scores = np.random.default_rng(1).beta(2, 5, 400)
    interval = bernstein_interval(scores, seed=2)
    middle, reach = naive_bernstein(shuffled(scores, 2), 0.025)
    assert (interval.low, interval.high) == pytest.approx((middle - reach, middle + reach))
    middle, reach = naive_bernstein(shuffled(scores, 2), 0.05)
    assert bernstein_upper_bound(scores, seed=2) == pytest.approx(middle + reach)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(SCORES, st.floats(0.5, 0.99))
def test_intervals_hold_the_mean_and_keep_within_the_scale(
    scores: list[float], confidence: float
) -> None:
    for bound in (betting_interval, bernstein_interval):
        interval = bound(scores, confidence=confidence)
        assert 0 <= interval.low <= interval.value <= interval.high <= 1
        assert interval.value == pytest.approx(np.mean(scores))
        assert interval.n == interval.num_clusters == len(scores)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(SCORES)
def test_turning_the_scale_round_turns_the_bounds_round(scores: list[float]) -> None:
    mirrored = [1 - score for score in scores]
    interval, back = betting_interval(scores), betting_interval(mirrored)
    assert (back.low, back.high) == pytest.approx((1 - interval.high, 1 - interval.low), abs=1e-9)
    lower, upper = betting_lower_bound(scores), betting_upper_bound(mirrored)
    assert lower == pytest.approx(1 - upper, abs=1e-9)


@pytest.mark.parametrize("n", [1, 3, 150, 2_000])
@pytest.mark.parametrize("score", [0.0, 1.0, 0.5])
def test_equal_scores_have_an_honest_width(n: int, score: float) -> None:
    for interval in (betting_interval([score] * n), bernstein_interval([score] * n)):
        assert interval.value == score
        assert interval.high - interval.low > 2 / n if n > 3 else interval.high - interval.low > 0.5
    if n == 150 and score == 0.0:
        # Exact is 0.0199; a stake of 3/4 costs a third more at most.
        assert 0.0199 < betting_upper_bound([0.0] * n) < 0.0275


def test_betting_beats_bernstein_and_is_wider_than_exact_by_what_no_assumption_costs() -> None:
    scores = (np.arange(500) < 450).astype(float)
    betting, bernstein, exact = (
        interval.high - interval.low
        for interval in (
            betting_interval(scores),
            bernstein_interval(scores),
            fraction_interval(450, 500),
        )
    )
    assert betting < bernstein
    # log(2 / 0.05) stands for the normal quantile: sqrt(2 log 40) = 2.72 for 1.96.
    assert exact < betting < 2.72 / 1.96 * exact


def test_a_sorted_file_does_no_harm() -> None:
    generator = np.random.default_rng(2)
    scores = generator.random(400)
    plain, in_order = betting_interval(scores), betting_interval(np.sort(scores))
    assert in_order.high - in_order.low == pytest.approx(plain.high - plain.low, rel=0.15)


def test_small_variance_gives_short_intervals() -> None:
    generator = np.random.default_rng(3)
    near = np.clip(generator.normal(0.9, 0.01, 1_000), 0, 1)
    far = (generator.random(1_000) < 0.9).astype(float)
    width_near, width_far = (
        betting_interval(scores).high - betting_interval(scores).low for scores in (near, far)
    )
    assert width_near < 0.3 * width_far


# Sequences


def test_a_sequence_only_ever_narrows_and_ends_near_the_interval() -> None:
    scores = np.random.default_rng(4).beta(8, 2, 1_000)
    sequence = betting_sequence(scores)
    assert (np.diff(sequence.low_N) >= 0).all()
    assert (np.diff(sequence.high_N) <= 0).all()
    assert sequence.mean_N[-1] == pytest.approx(scores.mean())
    interval = betting_interval(scores)
    width = sequence.high_N[-1] - sequence.low_N[-1]
    assert interval.high - interval.low < width < 2.5 * (interval.high - interval.low)


def test_a_sequence_does_not_look_ahead() -> None:
    scores = np.random.default_rng(5).random(60)
    whole, part = betting_sequence(scores), betting_sequence(scores[:40])
    np.testing.assert_array_equal(whole.low_N[:40], part.low_N)
    np.testing.assert_array_equal(whole.high_N[:40], part.high_N)


def test_a_sequence_may_be_looked_at_after_each_score() -> None:
    misses = 0
    for trial in range(80):
        scores = (np.random.default_rng(trial).random(300) < 0.8).astype(float)
        sequence = betting_sequence(scores)
        misses += bool(((sequence.low_N > 0.8) | (sequence.high_N < 0.8)).any())
    assert misses <= 0.05 * 80


# Refusals


@pytest.mark.parametrize(
    ("scores", "error", "words"),
    [
        ([], DataError, "nothing was measured"),
        ([0.5, math.nan], DataError, "1 of 2 scores are not finite"),
        ([0.5, 1.5], DataError, r"Give scores in \[0, 1\]"),
        ([-0.1, 0.5], DataError, r"run from -0\.1"),
        ([[0.5]], ShapeError, "one number for each row"),
        (["a"], DataError, "not all numbers"),
    ],
)
def test_what_is_no_score_is_refused(scores: Any, error: type[Exception], words: str) -> None:
    for bound in (
        betting_interval,
        betting_upper_bound,
        betting_lower_bound,
        betting_sequence,
        bernstein_interval,
        bernstein_upper_bound,
    ):
        with pytest.raises(error, match=words):
            bound(scores)
        with pytest.raises(ConfigError, match="confidence"):
            bound([0.5], confidence=1.0)
