"""Tails against sums of positive terms, which lose no digits however small they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import gammaln, logsumexp

from stillhouse.errors import DataError, ShapeError
from stillhouse.statistics import (
    BernoulliLaw,
    WeightedSum,
    log_binomial_tail,
    log_exponential_sum_tail,
    log_gamma_tail,
)

LN10 = np.log(10)


def gamma_by_poisson(total: float, terms: int) -> float:
    """A sum of n exponentials exceeds s where a Poisson process has fewer than n points by s."""
    k = np.arange(terms)
    return float(logsumexp(k * np.log(total) - total - gammaln(k + 1)))


def binomial_by_masses(successes: int, trials: int, fraction: float) -> float:
    k = np.arange(successes, trials + 1)
    ways = gammaln(trials + 1) - gammaln(k + 1) - gammaln(trials - k + 1)
    return float(logsumexp(ways + k * np.log(fraction) + (trials - k) * np.log1p(-fraction)))


def dual_by_mixture(total: float, terms: int, alpha: float) -> float:
    """(1 - a) G + a G' is a mixture of Gammas of scale a with negative binomial weights."""
    small, large = sorted((alpha, 1 - alpha))
    most = int(2 * total / small + 500)
    k = np.arange(most)
    log_weight = stats.nbinom.logpmf(k, terms, small / large)
    return float(
        logsumexp(log_weight + log_gamma_tail(np.full(most, total / small), 2 * terms + k))
    )


def bernoulli_by_convolution(steps: list[int], total: int, fraction: float) -> float:
    """Whole weights: all outcomes counted, each with its probability."""
    mass = np.zeros(sum(steps) + 1)
    mass[0] = 1.0
    for step in steps:
        shifted = np.zeros_like(mass)
        shifted[step:] = mass[: len(mass) - step]
        mass = (1 - fraction) * mass + fraction * shifted
    return float(np.log(mass[total:].sum()))


def total_at(log10_p: float, tail: object, high: float) -> float:
    """Where a tail has the given height."""
    low = 0.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if tail(middle) > log10_p * LN10 else (low, middle)  # type: ignore[operator]
    return low


@given(st.integers(1, 3000), st.floats(0.05, 12))
@settings(deadline=None, max_examples=60)
def test_a_gamma_tail_is_that_of_the_poisson_sum(terms: int, mean: float) -> None:
    found = log_gamma_tail([terms * mean], [terms])[0]
    # Near a probability of 1 the sum of thousands of masses is no more exact than this.
    assert found == pytest.approx(gamma_by_poisson(terms * mean, terms), rel=1e-9, abs=1e-11)


@given(st.integers(1, 2000), st.floats(0, 1), st.sampled_from([0.05, 0.25, 0.5, 0.9]))
@settings(deadline=None, max_examples=60)
def test_a_binomial_tail_is_the_sum_of_its_masses(
    trials: int, share: float, fraction: float
) -> None:
    successes = round(share * trials)
    found = log_binomial_tail([successes], [trials], fraction)[0]
    expected = binomial_by_masses(successes, trials, fraction)
    assert found == pytest.approx(min(expected, 0.0), rel=1e-8, abs=1e-9)


def test_half_of_the_observed_value_counts_for_a_mid_p() -> None:
    whole = np.exp(log_binomial_tail([7], [10], 0.5))[0]
    above = np.exp(log_binomial_tail([8], [10], 0.5))[0]
    found = np.exp(log_binomial_tail([7], [10], 0.5, is_mid=True))[0]
    assert found == pytest.approx((whole + above) / 2, rel=1e-12)


@pytest.mark.parametrize("alpha", [0.1, 0.3, 0.49])
@pytest.mark.parametrize("terms", [1, 5, 25, 50, 200])
def test_two_keys_have_the_right_tail_within_a_twentieth_of_a_decade(
    terms: int, alpha: float
) -> None:
    def tail(total: float) -> float:
        return log_exponential_sum_tail([total], [1 - alpha, alpha], [[terms, terms]])[0]

    for log10_p in (-0.5, -3, -6, -10, -30):
        total = total_at(log10_p, tail, 40 * terms + 80)
        truth = dual_by_mixture(total, terms, alpha)
        assert abs(tail(total) - truth) / LN10 < (0.025 if terms < 5 else 0.004), log10_p


@pytest.mark.parametrize("terms", [1, 10, 100, 1000])
def test_a_tail_of_one_weight_is_the_gamma_tail_down_to_1e_300(terms: int) -> None:
    for log10_p in (-1, -10, -100, -300):
        total = total_at(log10_p, lambda s: log_gamma_tail([s], [terms])[0], 1e5)
        found = log_exponential_sum_tail([total], [1.0], [[terms]])[0] / LN10
        assert abs(found - log10_p) < 0.03


def test_weights_by_entropy_agree_with_importance_sampling() -> None:
    # 70 % of the tokens at weight 0.1: what a moment-matched Gamma misses by 147 times at 1e-10.
    rng = np.random.default_rng(7)
    weights = np.where(np.arange(50) < 35, 0.1, 1.0)
    tilt = 0.7  # draws fall about where the tail is 1e-10
    draws = rng.exponential(1.0, (100_000, 50)) * (weights / (1 - tilt * weights))
    sums = draws.sum(axis=1)
    log_cumulant = -np.log1p(-tilt * weights).sum()
    total = 59.0
    ratio = np.where(sums >= total, np.exp(log_cumulant - tilt * sums), 0.0)
    truth = np.log10(ratio.mean())
    error = ratio.std() / ratio.mean() / np.sqrt(len(ratio))
    assert -12 < truth < -8
    assert error < 0.02
    found = log_exponential_sum_tail([total], [0.1, 1.0], [[35, 15]])[0] / LN10
    assert abs(found - truth) < 0.03


@pytest.mark.parametrize("fraction", [0.25, 0.5])
@pytest.mark.parametrize("tokens", [1, 5, 20])
def test_weighted_layers_have_the_right_tail(tokens: int, fraction: float) -> None:
    # SynthID's weights, 10 down to 1 over 30 layers, in steps of 1 / 29.
    steps = [290 - 9 * layer for layer in range(30)] * tokens
    layers = np.linspace(10, 1, 30)
    for z in (-2, 0, 1, 3, 5):
        mean, variance = fraction * sum(steps), fraction * (1 - fraction) * sum(s**2 for s in steps)
        total = round(mean + z * variance**0.5)
        if not 0 < total < sum(steps):
            continue
        weighted = WeightedSum(np.tile(layers, tokens), BernoulliLaw(fraction))
        found = weighted.tail((total - mean) / 29).log10_p * LN10
        truth = bernoulli_by_convolution(steps, total, fraction)
        assert abs(found - truth) / LN10 < 0.02, (z, found / LN10, truth / LN10)


def test_what_cannot_be_rarer_is_exact() -> None:
    layers = np.linspace(10, 1, 30)
    weighted = WeightedSum(layers, BernoulliLaw(0.5))
    half = layers.sum() / 2
    found = [weighted.tail(total).log10_p for total in (half, -half)]
    assert found == pytest.approx([30 * np.log10(0.5), 0.0], abs=1e-8)
    assert log_gamma_tail([0.0, 0.0], [0, 5]) == pytest.approx([0.0, 0.0])
    assert log_binomial_tail([0, 0], [0, 9], 0.25) == pytest.approx([0.0, 0.0])


@given(st.lists(st.floats(0, 400), min_size=2, max_size=8), st.floats(0.01, 0.5))
@settings(deadline=None)
def test_larger_sums_are_rarer(sums: list[float], alpha: float) -> None:
    ordered = np.sort(sums)
    tails = log_exponential_sum_tail(ordered, [1 - alpha, alpha], np.full((len(sums), 2), 40))
    assert (np.diff(tails) <= 1e-9).all()
    assert (tails <= 0).all()


def test_what_is_no_sum_is_refused() -> None:
    with pytest.raises(DataError, match="more successes"):
        log_binomial_tail([3], [2], 0.5)
    with pytest.raises(DataError, match="whole numbers"):
        log_gamma_tail([1.0], [1.5])
    with pytest.raises(DataError, match="finite"):
        log_gamma_tail([np.nan], [1])
    with pytest.raises(DataError, match="no terms"):
        log_exponential_sum_tail([1.0], [1.0], [[0]])
    with pytest.raises(DataError, match="not positive"):
        log_exponential_sum_tail([1.0], [1.0, 0.0], [[1, 1]])
    with pytest.raises(ShapeError, match="do not fit"):
        log_exponential_sum_tail([1.0, 2.0], [1.0, 2.0], [[1, 1, 1]])
