"""Verdicts: one from each interval, and what is said where the data say little."""

import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.errors import ConfigError, DataError, ShapeError
from stillhouse.statistics import (
    Interval,
    bounded_mean,
    compare_paired,
    compare_paired_binary,
    paired_bootstrap_difference,
    paired_means,
    tango_interval,
    verdict_of,
)
from stillhouse.statistics._bca import Resampled
from stillhouse.statistics._bootstrap import resampled_difference
from stillhouse.statistics._paired import paired_counts

UNIT = (0.0, 1.0)


def pair(
    n: int, *, discordance: float, difference: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """0/1 scores of two systems with that true discordance and difference."""
    cells = np.array([(discordance + difference) / 2, (discordance - difference) / 2])
    kinds = np.random.default_rng(seed).choice(3, size=n, p=[*cells, 1 - discordance])
    return np.where(kinds == 0, 1, np.where(kinds == 1, 0, 1)), (kinds != 0).astype(int)


def graded(n: int, *, seed: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    b = generator.beta(4, 1.5, n)
    return np.clip(b + generator.normal(shift, 0.15, n), 0, 1), b


# The rule


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.001, 0.05, "better"),
        (0.0, 0.05, "non_inferior"),
        (-0.019, 0.05, "non_inferior"),
        (-0.019, -0.001, "non_inferior"),  # a real loss, smaller than the margin
        (-0.02, 0.01, "inconclusive"),
        (-0.05, 0.05, "inconclusive"),
        (-0.05, 0.0, "inconclusive"),
        (-0.05, -0.001, "worse"),
        (-0.09, -0.03, "worse"),
        (-math.inf, math.inf, "inconclusive"),
    ],
)
def test_one_interval_gives_one_verdict(low: float, high: float, expected: str) -> None:
    assert verdict_of(Interval((low + high) / 2, low, high, 100, 100), 0.02) == expected


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.integers(10, 400), st.floats(0.02, 0.4), st.floats(-1, 1), st.integers(0, 10**6))
def test_the_verdict_and_the_p_values_agree(n: int, spread: float, lean: float, seed: int) -> None:
    a, b = pair(n, discordance=spread, difference=lean * spread, seed=seed)
    for clusters in (None, np.arange(n) // 2):
        found = compare_paired_binary(a, b, margin=0.02, clusters=clusters)
        assert (found.verdict == "better") == (found.p_superior < 0.025)
        is_fine = found.verdict in ("better", "non_inferior")
        assert is_fine == (found.p_non_inferior < 0.025)
        assert found.verdict == verdict_of(found.difference, 0.02)
        assert (found.n_needed is None) == (
            found.verdict != "inconclusive" or found.difference.value <= -0.02
        )
        assert found.n_needed is None or found.n_needed > n
        assert found.discordance == np.mean(a != b)


# Right or wrong


def test_independent_rows_get_the_score_interval() -> None:
    a, b = pair(200, discordance=0.2, difference=0.03, seed=0)
    found = compare_paired_binary(a, b, margin=0.02)
    assert found.difference == tango_interval(paired_counts(a, b))
    labelled = compare_paired_binary(a, b, margin=0.02, clusters=[f"row {i}" for i in range(200)])
    assert labelled == found


@pytest.mark.parametrize(
    ("n", "discordance", "difference", "expected"),
    [
        (2_000, 0.1, 0.06, "better"),
        (6_000, 0.06, 0.0, "non_inferior"),
        (6_000, 0.06, -0.011, "non_inferior"),
        (200, 0.1, 0.0, "inconclusive"),
        (2_000, 0.1, -0.08, "worse"),
    ],
)
@pytest.mark.parametrize("rows_each", [1, 3])
def test_clear_cases_get_their_verdict(
    n: int, discordance: float, difference: float, expected: str, rows_each: int
) -> None:
    a, b = pair(n, discordance=discordance, difference=difference, seed=1)
    found = compare_paired_binary(a, b, margin=0.02, clusters=np.arange(n) // rows_each)
    assert found.verdict == expected


def test_as_many_rows_as_are_named_settle_it() -> None:
    a, b = pair(300, discordance=0.1, difference=0.0, seed=3)
    found = compare_paired_binary(a, b, margin=0.02)
    assert found.verdict == "inconclusive"
    assert found.n_needed is not None
    assert found.discordance is not None
    more = [
        pair(
            found.n_needed,
            discordance=found.discordance,
            difference=found.difference.value,
            seed=seed,
        )
        for seed in range(500)
    ]
    verdicts = [compare_paired_binary(*scores, margin=0.02).verdict for scores in more]
    settled = np.mean([verdict in ("better", "non_inferior") for verdict in verdicts])
    assert 0.74 <= settled <= 0.88  # 80 %, three standard errors around it, or a little above


def test_an_estimate_beyond_the_margin_is_not_mended_by_rows() -> None:
    a, b = [0] * 5 + [1] * 45, [1] * 5 + [0] * 2 + [1] * 43
    found = compare_paired_binary(a, b, margin=0.02)
    assert (found.verdict, found.n_needed) == ("inconclusive", None)
    assert "more rows would not show it" in found.sentence()


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("scores", [(1, 1), (0, 0), (1, 0), (0, 1)])
def test_a_handful_of_rows_decides_nothing(n: int, scores: tuple[int, int]) -> None:
    a, b = np.full(n, scores[0]), np.full(n, scores[1])
    assert compare_paired_binary(a, b, margin=0.02).verdict == "inconclusive"


def test_equal_answers_to_enough_rows_are_non_inferior() -> None:
    # z^2 (1 - margin) / margin = 188.2 rows
    assert compare_paired_binary([1] * 188, [1] * 188, margin=0.02).verdict == "inconclusive"
    assert compare_paired_binary([1] * 189, [1] * 189, margin=0.02).verdict == "non_inferior"


# Graded


def test_the_interval_is_the_wider_of_bootstrap_and_t() -> None:
    a, b = graded(60, seed=4)
    found = compare_paired(a, b, margin=0.05, seed=7).difference
    ones = np.ones(60)
    bootstrap = paired_bootstrap_difference((a, ones), (b, ones), clusters=np.arange(60), seed=7)
    t = paired_means(a, b).interval(0.95)
    assert found.low == min(bootstrap.low, t.low)
    assert found.high == max(bootstrap.high, t.high)
    assert found.value == pytest.approx((a - b).mean())


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.integers(10, 80), st.floats(0.0, 0.2), st.floats(0.5, 0.99), st.integers(0, 10**6))
def test_the_p_value_of_a_bootstrap_is_where_its_interval_ends(
    n: int, threshold: float, confidence: float, seed: int
) -> None:
    a, b = graded(n, seed=seed)
    ones = np.ones(n)
    resampled = resampled_difference(
        (a, ones), (b, ones), clusters=np.arange(n), num_resamples=500, seed=seed
    )
    interval = resampled.interval(confidence)
    tail = (1 - confidence) / 2
    p_above, p_below = resampled.p_above(-threshold), resampled.p_below(-threshold)
    assert (interval.low > -threshold) == (p_above < tail)
    assert (interval.high < -threshold) == (p_below < tail)


def test_p_values_of_a_symmetric_bootstrap_are_those_of_the_t_test() -> None:
    a, b = np.random.default_rng(5).normal(size=(2, 400))
    ones = np.ones(400)
    resampled = resampled_difference(
        (a, ones), (b, ones), clusters=np.arange(400), num_resamples=20_000, seed=0
    )
    for threshold in (-0.2, -0.05, 0.0):
        expected = scipy.stats.ttest_1samp(a - b, threshold, alternative="greater").pvalue
        assert resampled.p_above(threshold) == pytest.approx(expected, abs=0.01)


def test_p_values_never_claim_more_than_the_resamples_bear() -> None:
    resampled = Resampled(
        1.0, np.random.default_rng(0).normal(1, 0.01, 500), np.linspace(0.99, 1.01, 50), 50
    )
    assert 1e-4 < resampled.p_above(0.0) < 0.01
    assert resampled.p_above(2.0) > 0.99


def test_clusters_widen_the_interval_of_graded_scores() -> None:
    a, b = graded(50, seed=6)
    once = compare_paired(a, b, margin=0.02)
    copied = compare_paired(
        np.repeat(a, 20), np.repeat(b, 20), margin=0.02, clusters=np.repeat(np.arange(50), 20)
    )
    assert (copied.difference.low, copied.difference.high) == pytest.approx(
        (once.difference.low, once.difference.high), rel=1e-6
    )
    assert (copied.difference.n, copied.difference.num_clusters) == (1_000, 50)
    assert once.n_needed is not None
    assert copied.n_needed == pytest.approx(20 * once.n_needed, rel=0.01)


def test_graded_scores_in_any_unit_scale_with_it() -> None:
    a, b = graded(80, seed=8)
    fractions = compare_paired(a, b, margin=0.02)
    points = compare_paired(100 * a, 100 * b, margin=2.0)
    assert points.verdict == fractions.verdict
    assert points.difference.low == pytest.approx(100 * fractions.difference.low)
    assert points.p_non_inferior == pytest.approx(fractions.p_non_inferior)


def test_few_clusters_are_refused_or_claim_nothing() -> None:
    a, b = [0.9, 0.91, 0.92], [0.1, 0.11, 0.12]
    with pytest.raises(DataError, match=r"3 clusters are too few .* at least 10"):
        compare_paired(a, b, margin=0.02)
    found = compare_paired(a, b, margin=0.02, bounds=UNIT)
    assert (found.difference.low, found.difference.high) == (-1.0, 1.0)
    assert (found.verdict, found.p_non_inferior, found.n_needed) == ("inconclusive", 1.0, 10)
    single = compare_paired([0.9], [0.1], margin=0.02, bounds=UNIT)
    assert single.verdict == "inconclusive"


def test_equal_differences_claim_only_what_unseen_ones_leave() -> None:
    b = np.linspace(0, 1, 200)
    with pytest.raises(DataError, match="differ by the same 0"):
        compare_paired(b, b, margin=0.02)
    found = compare_paired(b, b, margin=0.02, bounds=UNIT)
    unseen = 1 - 0.025 ** (1 / 200)  # the Clopper-Pearson bound of 0 in 200
    assert found.difference.high == pytest.approx(unseen)
    assert found.difference.low == pytest.approx(-unseen)
    assert found.verdict == "non_inferior"
    assert found.p_non_inferior == pytest.approx(0.98**200)
    assert found.p_different == 1.0
    fewer = compare_paired(b[:150], b[:150], margin=0.02, bounds=UNIT)
    assert fewer.verdict == "inconclusive"
    assert fewer.n_needed == math.ceil(math.log(0.025) / math.log(0.98))


def test_a_constant_loss_of_everything_is_worse() -> None:
    found = compare_paired(np.zeros(30), np.ones(30), margin=0.02, bounds=UNIT)
    assert (found.verdict, found.n_needed) == ("worse", None)
    assert found.difference.low == -1.0
    won = compare_paired(np.ones(30), np.zeros(30), margin=0.02, bounds=UNIT)
    assert (won.verdict, won.difference.high) == ("better", 1.0)


# In words


def test_each_verdict_has_its_sentence() -> None:
    def said(n: int, discordance: float, difference: float) -> str:
        scores = pair(n, discordance=discordance, difference=difference, seed=1)
        return compare_paired_binary(*scores, margin=0.02).sentence("student", "teacher")

    assert said(2_000, 0.1, 0.06).startswith("student is better than teacher (+")
    assert said(2_000, 0.1, -0.08).startswith("student is worse than teacher (-")
    assert "not inferior to teacher within 2 points (" in said(6_000, 0.06, 0.0)
    assert "within 2 points, though below it by less than that (-" in said(20_000, 0.06, -0.012)
    still_open = said(200, 0.1, 0.0)
    assert still_open.startswith("It is open whether student is within 2 points of teacher (")
    assert "n = 200" in still_open
    assert "would settle it" in still_open


def test_a_sentence_says_its_unit_and_its_clusters() -> None:
    a, b = np.random.default_rng(0).normal(3, 1, (2, 60))
    found = compare_paired(a, b, margin=0.5, clusters=np.arange(60) // 3, confidence=0.9)
    said = found.sentence(unit="nats", scale=1.0)
    assert "0.5 nats" in said
    assert "90 % interval" in said
    assert "n = 60 in 20 clusters" in said


# Refusals


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"margin": -0.1}, ConfigError, "no tolerated loss"),
        ({"margin": float("nan")}, ConfigError, "no tolerated loss"),
        ({"margin": 2, "bounds": UNIT}, ConfigError, "whole range"),
        ({"bounds": (1.0, 0.0)}, ConfigError, "no range"),
        ({"bounds": (0.0, 0.5)}, DataError, "Scores run from"),
        ({"confidence": 95}, ConfigError, "confidence"),
        ({"clusters": [1, 2]}, ShapeError, "one label"),
        ({"a_N": []}, DataError, "nothing was measured"),
        ({"a_N": [math.nan] * 20}, DataError, "20 of 20 scores of a"),
        ({"a_N": [0.5] * 19}, ShapeError, "same rows"),
    ],
)
def test_what_bears_no_comparison_is_refused(
    given: dict[str, Any], error: type[Exception], words: str
) -> None:
    settings = {"a_N": np.linspace(0, 1, 20), "b_N": np.linspace(1, 0, 20), "margin": 0.02}
    with pytest.raises(error, match=words):
        compare_paired(**{**settings, **given})


def test_a_binary_margin_in_points_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"2 points are 0\.02"):
        compare_paired_binary([1, 0], [1, 1], margin=2)
    with pytest.raises(DataError, match="has no interval"):
        verdict_of(Interval(math.nan, math.nan, math.nan, 1, 1), 0.02)


@pytest.mark.parametrize("num_right", [0, 1, 3, 21, 23, 24])
def test_a_mean_in_clusters_keeps_its_interval_within_the_scores(num_right: int) -> None:
    scores = [1.0] * num_right + [0.0] * (24 - num_right)
    found = bounded_mean(scores, clusters=[place // 2 for place in range(24)])
    assert found.value == pytest.approx(num_right / 24)
    assert 0.0 <= found.low <= found.value <= found.high <= 1.0
    assert (found.n, found.num_clusters) == (24, 12)
    assert found.low < found.high
