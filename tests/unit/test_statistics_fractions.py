"""Fractions, bounds and certified thresholds against scipy, published tables and simulation."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.errors import ConfigError, DataError, ShapeError
from stillhouse.statistics import (
    betting_upper_bound,
    fixed_sequence,
    fixed_sequence_graded,
    fraction_interval,
    fraction_lower_bound,
    fraction_upper_bound,
    rows_to_certify,
    rows_to_certify_graded,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("successes", "total", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_meets_the_published_table(
    successes: int, total: int, low: float, high: float
) -> None:
    interval = wilson_interval(successes, total)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.integers(1, 400), st.floats(0, 1), st.floats(0.5, 0.999))
def test_fractions_have_the_intervals_of_scipy(
    total: int, fraction: float, confidence: float
) -> None:
    successes = round(fraction * total)
    reference = scipy.stats.binomtest(successes, total)
    wilson = wilson_interval(successes, total, confidence=confidence)
    expected = reference.proportion_ci(confidence, method="wilson")
    assert (wilson.low, wilson.high) == pytest.approx((expected.low, expected.high), abs=1e-10)
    exact = fraction_interval(successes, total, confidence=confidence)
    expected = reference.proportion_ci(confidence, method="exact")
    assert (exact.low, exact.high) == pytest.approx((expected.low, expected.high), abs=1e-10)
    one_sided = scipy.stats.binomtest(successes, total, alternative="less")
    upper = one_sided.proportion_ci(confidence, method="exact").high
    assert fraction_upper_bound(successes, total, confidence=confidence) == pytest.approx(upper)
    one_sided = scipy.stats.binomtest(successes, total, alternative="greater")
    lower = one_sided.proportion_ci(confidence, method="exact").low
    assert fraction_lower_bound(successes, total, confidence=confidence) == pytest.approx(lower)


def test_what_is_no_fraction_has_no_bound() -> None:
    for bound in (fraction_upper_bound, fraction_lower_bound, wilson_interval):
        with pytest.raises(DataError, match="is no fraction"):
            bound(0, 0)
        with pytest.raises(DataError, match="is no fraction"):
            bound(4, 3)
        with pytest.raises(ConfigError, match="confidence"):
            bound(1, 3, confidence=1.0)


# Rows to certify


def test_published_numbers_of_rows_are_met() -> None:
    assert rows_to_certify(0.02) == 149
    assert rows_to_certify(0.02, expected=0.01) == 386
    assert rows_to_certify(0.05) == 59
    assert rows_to_certify(0.01, 0.99) == 459


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.floats(0.01, 0.3), st.floats(0.6, 0.99), st.floats(0, 0.8))
def test_rows_to_certify_are_the_first_that_do(
    target: float, confidence: float, used: float
) -> None:
    expected = used * target

    def certifies(n: int) -> bool:
        errors = math.floor(n * expected + 1e-9)
        return scipy.stats.binom.cdf(errors, n, target) <= 1 - confidence

    n = rows_to_certify(target, confidence, expected)
    assert certifies(n)
    assert not any(certifies(fewer) for fewer in range(1, n))


def test_a_target_that_is_reached_already_is_refused() -> None:
    with pytest.raises(ConfigError, match="no number of rows"):
        rows_to_certify(0.02, expected=0.02)
    with pytest.raises(ConfigError, match="no number of rows"):
        rows_to_certify(0.02, expected=float("nan"))
    with pytest.raises(ConfigError, match="over 1,000,000 rows"):
        rows_to_certify(0.5, expected=0.49999)
    for target in (0.0, 1.0, 2.0, float("nan")):
        with pytest.raises(ConfigError, match="target"):
            rows_to_certify(target)


# Certified thresholds


def test_the_last_threshold_before_the_first_failure_is_certified() -> None:
    totals = [150, 300, 450, 600, 750]
    assert fixed_sequence([0, 1, 3, 9, 9], totals, target=0.02) == 2  # the last would pass alone
    assert fixed_sequence([0, 1, 3, 4, 9], totals, target=0.02) == 3
    assert fixed_sequence([3, 1, 3, 4, 9], totals, target=0.02) is None


def test_thresholds_with_too_few_rows_to_say_anything_are_passed_over() -> None:
    assert fixed_sequence([0, 0, 0], [0, 100, 149], target=0.02) == 2
    assert fixed_sequence([1, 5, 0], [20, 148, 149], target=0.02) == 2
    assert fixed_sequence([0, 0], [0, 148], target=0.02) is None
    # Once one is certified, one with fewer rows is a failure like any other.
    assert fixed_sequence([0, 0, 0], [149, 100, 500], target=0.02) == 0


def test_certified_thresholds_seldom_exceed_the_target() -> None:
    generator = np.random.default_rng(0)
    risks = np.linspace(0.0, 0.06, 30)  # of the answers that each threshold adds
    shares = np.full(30, 40)
    true_risk = np.cumsum(risks * shares) / np.cumsum(shares)
    breaches = certified = 0
    for _ in range(2_000):
        errors = np.cumsum(generator.binomial(shares, risks))
        place = fixed_sequence(
            [int(count) for count in errors], [int(n) for n in np.cumsum(shares)], target=0.02
        )
        certified += place is not None
        breaches += place is not None and true_risk[place] > 0.02
    assert certified > 1_000
    assert breaches / 2_000 <= 0.05


def test_graded_losses_are_certified_like_errors_but_with_more_rows() -> None:
    rng = np.random.default_rng(1)
    order = rng.random(3_000)  # a row is let through from its own threshold on
    graded = np.where(rng.random(3_000) < 0.2 * order, rng.random(3_000), 0.0)
    grid = np.linspace(0.02, 1.0, 50)
    losses = [np.where(order <= share, graded, 0.0) for share in grid]
    place = fixed_sequence_graded(losses, target=0.03)
    assert place is not None
    assert betting_upper_bound(losses[place]) <= 0.03 < betting_upper_bound(losses[place + 1])
    errors = [int((one > 0).sum()) for one in losses]
    exact = fixed_sequence(errors, [3_000] * 50, target=0.06)
    betting = fixed_sequence_graded([one > 0 for one in losses], target=0.06)
    assert exact is not None
    assert betting is not None
    assert exact - 5 <= betting <= exact
    assert fixed_sequence_graded([graded[:30]], target=0.03) is None


def test_certified_graded_losses_seldom_exceed_the_target() -> None:
    rng = np.random.default_rng(5)
    chances = np.linspace(0.0, 0.12, 12)  # of a loss, in the twelfth that each threshold adds
    true_risk = np.cumsum(chances * 0.5) / 12
    breaches = certified = 0
    for _ in range(400):
        parts = rng.integers(0, 12, 720)
        losses = np.where(rng.random(720) < chances[parts], rng.random(720), 0.0)
        place = fixed_sequence_graded(
            [np.where(parts <= last, losses, 0.0) for last in range(12)], target=0.02
        )
        certified += place is not None
        breaches += place is not None and true_risk[place] > 0.02
    assert certified > 390
    assert breaches / 400 <= 0.05


def test_rows_for_graded_losses_are_of_the_order_that_certifies_them() -> None:
    rng = np.random.default_rng(3)
    losses = np.where(rng.random(100_000) < 0.04, rng.random(100_000), 0.0)
    mean, variance = float(losses.mean()), float(losses.var())
    needed = rows_to_certify_graded(0.03, mean=mean, variance=variance)
    found = [
        fixed_sequence_graded([rng.choice(losses, 2 * needed)], target=0.03) == 0 for _ in range(40)
    ]
    assert np.mean(found) > 0.8
    few = [
        fixed_sequence_graded([rng.choice(losses, needed // 4)], target=0.03) == 0
        for _ in range(40)
    ]
    assert np.mean(few) < 0.5
    assert rows_to_certify_graded(0.03, mean=0.0, variance=0.0) == 102
    with pytest.raises(ConfigError, match="larger target"):
        rows_to_certify_graded(0.03, mean=0.03, variance=0.1)
    with pytest.raises(ConfigError, match="over 1,000,000"):
        rows_to_certify_graded(0.03, mean=0.02999, variance=0.1)
    with pytest.raises(DataError, match="at least one"):
        fixed_sequence_graded([], target=0.03)


def test_a_grid_that_is_none_is_refused() -> None:
    with pytest.raises(DataError, match="at least one"):
        fixed_sequence([], [], target=0.02)
    with pytest.raises(ShapeError, match="one of each"):
        fixed_sequence([1], [10, 20], target=0.02)
    with pytest.raises(DataError, match="no fraction"):
        fixed_sequence([30], [20], target=0.02)
    with pytest.raises(ConfigError, match="target"):
        fixed_sequence([0], [20], target=2)
