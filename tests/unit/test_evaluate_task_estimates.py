"""Figures with intervals that fit them, whatever the messages are like."""

import numpy as np
import pytest
from scipy.stats import binom

from stillhouse.errors import DataError
from stillhouse.evaluate._task._measure._estimates import Estimator, quantile


def estimator(clusters: list[str]) -> Estimator:
    return Estimator(np.array(clusters), num_resamples=500, seed=0)


def alone(number: int) -> Estimator:
    return estimator([f"message {place}" for place in range(number)])


def test_a_fraction_of_independent_messages_has_wilsons_interval() -> None:
    found = alone(50).mean(np.arange(50) < 40, is_binary=True)
    assert found is not None
    # (p + z2/2n -+ z sqrt(p(1-p)/n + z2/4n2)) / (1 + z2/n), z = 1.959964, worked by hand
    assert (found.value, found.n, found.method) == (0.8, 50, "wilson")
    assert (found.low, found.high) == pytest.approx((0.66963, 0.88756), abs=1e-5)


def test_groups_make_an_interval_as_wide_as_their_number_allows() -> None:
    scores_N = np.repeat(np.arange(40) % 4 > 0, 10)  # whole groups are right or wrong
    grouped = estimator([f"group {place // 10}" for place in range(400)])
    found = grouped.mean(scores_N, is_binary=True)
    as_if_alone = alone(400).mean(scores_N, is_binary=True)
    assert found is not None
    assert as_if_alone is not None
    assert (found.method, found.num_clusters, found.n) == ("bootstrap", 40, 400)
    width, narrow = found.high - found.low, as_if_alone.high - as_if_alone.low
    assert width == pytest.approx(narrow * np.sqrt(10), rel=0.15)


@pytest.mark.parametrize("is_right", [True, False])
def test_what_never_varies_is_not_certain(is_right: bool) -> None:
    scores_N = np.full(60, is_right)
    for one in (alone(60), estimator([f"group {place // 3}" for place in range(60)])):
        for is_binary in (True, False):
            found = one.mean(scores_N, is_binary=is_binary)
            assert found is not None
            assert found.high - found.low > 0.04
            assert found.low <= found.value <= found.high


def test_few_groups_claim_next_to_nothing() -> None:
    few = estimator([f"group {place % 3}" for place in range(300)])
    graded = few.mean(np.linspace(0.4, 0.6, 300), is_binary=False)
    binary = few.mean(np.arange(300) % 2, is_binary=True)
    assert graded is not None
    assert (graded.low, graded.high, graded.method) == (0.0, 1.0, "bounds")
    assert binary is not None
    assert binary.high - binary.low > 0.5


def test_messages_that_do_not_count_are_not_read() -> None:
    scores_N = np.array([1.0, np.nan, 0.0, 1.0, np.nan])
    found = alone(5).mean(scores_N, is_binary=True, of_N=np.isfinite(scores_N))
    assert found is not None
    assert (found.value, found.n) == (pytest.approx(2 / 3), 3)


def test_nothing_measured_is_none_and_not_zero() -> None:
    assert alone(5).mean(np.zeros(5), is_binary=True, of_N=np.zeros(5, dtype=bool)) is None
    assert alone(5).mean_of_counts(np.arange(5)) is None


@pytest.mark.parametrize(("number", "share"), [(25, 0.5), (200, 0.5), (200, 0.95), (72, 0.95)])
def test_the_interval_of_a_quantile_covers_by_the_binomial_distribution(
    number: int, share: float
) -> None:
    ordered = np.arange(1.0, number + 1)
    found = quantile(ordered[::-1], share)
    assert found is not None
    # P(low-th <= quantile < high-th) from the ranks, which are the values here
    low, high = int(found.low), int(found.high)
    covered = binom.cdf(high - 1, number, share) - binom.cdf(low - 1, number, share)
    assert 0.95 <= covered < 0.995
    assert found.low <= found.value <= found.high


def test_a_quantile_covers_the_true_one_in_simulation() -> None:
    generator = np.random.default_rng(0)
    true = float(np.exp(0.4 * 1.6448536))
    hits = 0
    for _ in range(1_000):
        found = quantile(generator.lognormal(0.0, 0.4, 200), 0.95)
        assert found is not None
        hits += found.low <= true <= found.high
    assert 945 <= hits <= 985


def test_a_quantile_that_the_slowest_time_does_not_bound_is_none() -> None:
    assert quantile(np.arange(71.0), 0.95) is None
    assert quantile(np.arange(5.0), 0.5) is None
    with pytest.raises(DataError, match="no times"):
        quantile([], 0.5)
