"""The tail of weighted sums: against exact laws, and against importance sampling where none is."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import gammaln, logsumexp

from stillhouse.errors import ConfigError, DataError, ShapeError
from stillhouse.statistics import (
    BernoulliLaw,
    BinomialMeanLaw,
    ExponentialLaw,
    ScoreLaw,
    WeightedSum,
)

LAWS: dict[str, ScoreLaw] = {
    "green": BernoulliLaw(0.25),
    "gumbel": ExponentialLaw(),
    "dual": ExponentialLaw((0.7, 0.3)),
    "tournament": BinomialMeanLaw((1 / 12,) * 12),
    "weighted tournament": BinomialMeanLaw(tuple(np.linspace(10, 1, 8) / 44)),
}


def exact_gamma_log10(n: int, total: float) -> float:
    """Of a centred sum of n exponentials: Q(n, x) as a sum of n terms."""
    x = total + n
    terms = np.arange(n) * math.log(x) - x - gammaln(np.arange(n) + 1)
    return float(logsumexp(terms)) / math.log(10)


def exact_binomial_log10(n: int, greens: int, fraction: float) -> float:
    k = np.arange(greens, n + 1)
    ways = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    terms = ways + k * math.log(fraction) + (n - k) * math.log1p(-fraction)
    return float(logsumexp(terms)) / math.log(10)


@pytest.mark.parametrize("n", [25, 200, 5_000])
@pytest.mark.parametrize("z", [-2.0, 0.0, 1.0, 3.0, 8.0, 25.0])
def test_equal_exponentials_have_the_gamma_tail(n: int, z: float) -> None:
    total = z * math.sqrt(n)
    if total + n <= 0:
        return
    tail = WeightedSum(np.ones(n), ExponentialLaw()).tail(total)
    assert tail.z == pytest.approx(z, abs=1e-9)
    assert tail.log10_p == pytest.approx(exact_gamma_log10(n, total), abs=0.003)


@pytest.mark.parametrize(("n", "fraction"), [(25, 0.25), (200, 0.5), (4_000, 0.25)])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.95, 1.0])
def test_equal_green_scores_have_the_binomial_tail(n: int, fraction: float, share: float) -> None:
    greens = round(share * n)
    tail = WeightedSum(np.ones(n), BernoulliLaw(fraction)).tail(greens - n * fraction)
    assert tail.log10_p == pytest.approx(exact_binomial_log10(n, greens, fraction), abs=0.05)
    assert tail.log10_bound >= tail.log10_p - 1e-9


def test_a_normal_tail_would_be_wrong_by_orders_of_magnitude() -> None:
    tail = WeightedSum(np.ones(100), ExponentialLaw()).tail(100.0)
    assert tail.z == pytest.approx(10.0)
    assert tail.log10_p > stats.norm.logsf(10.0) / math.log(10) + 5


def importance_log10(weights: np.ndarray, law: ScoreLaw, total: float, draws: int = 6_000) -> float:
    """ln P by drawing from the tilted law, with every weight as it is."""
    t = WeightedSum(weights, law).tilt(total)
    generator = np.random.default_rng(5)
    log_mgf = float(np.sum(law.cumulants(t * weights).value))
    logs = []
    for _ in range(draws // 500):
        scores = law.draw_tilted(generator, np.broadcast_to(t * weights, (500, len(weights))))
        sums = scores @ weights
        logs.append((log_mgf - t * sums)[sums >= total])
    return float(logsumexp(np.concatenate(logs)) - math.log(draws)) / math.log(10)


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("z", [2.0, 5.0, 9.0])
def test_signed_unequal_weights_have_the_tail_that_importance_sampling_gives(
    name: str, z: float
) -> None:
    generator = np.random.default_rng(1)
    weights = generator.standard_normal(300)
    weights *= np.abs(weights)  # heavy: some count ten times as much as most
    total_sum = WeightedSum(weights, LAWS[name])
    total = z * total_sum.sd
    tail = total_sum.tail(total)
    assert tail.log10_p == pytest.approx(importance_log10(weights, LAWS[name], total), abs=0.05)
    assert tail.log10_bound >= tail.log10_p


def test_plain_draws_agree_with_the_tail() -> None:
    generator = np.random.default_rng(2)
    weights = generator.uniform(-1, 1, 60)
    law = ExponentialLaw((0.5, 0.5))
    total_sum = WeightedSum(weights, law)
    sums = law.draw(generator, (40_000, 60)) @ weights
    for level in (0.8, 0.5, 0.1, 0.01):
        at = float(np.quantile(sums, 1 - level))
        assert 10 ** total_sum.tail(at).log10_p == pytest.approx(level, rel=0.15)


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize(("n", "within"), [(40, 3e-3), (300_000, 1e-5)])
def test_rounding_shows_nowhere_near_the_mean(n: int, within: float, name: str) -> None:
    # With many weights an exponent of 1e-8 was once mostly rounding: p was told as 0.02 there.
    total_sum = WeightedSum(np.random.default_rng(0).standard_normal(n), LAWS[name])
    middle = 10 ** total_sum.tail(0.0).log10_p
    for z in np.geomspace(1e-6, 1e-2, 25):
        for sign in (1, -1):
            p = 10 ** total_sum.tail(sign * z * total_sum.sd).log10_p
            assert p == pytest.approx(middle - sign * z / math.sqrt(2 * math.pi), abs=within)


def test_few_weights_are_told_by_the_bound() -> None:
    weights = np.array([1.0, *[0.01] * 500])
    tail = WeightedSum(weights, BernoulliLaw(0.5)).tail(0.6)
    assert tail.effective < 2
    assert tail.log10_p == tail.log10_bound


@settings(max_examples=150, deadline=None)
@given(
    weights=st.lists(
        st.floats(-5, 5).filter(lambda weight: weight == 0 or abs(weight) > 1e-6),
        min_size=1,
        max_size=40,
    ).filter(any),
    name=st.sampled_from(sorted(LAWS)),
    z=st.floats(-6, 12),
)
def test_a_tail_is_a_probability_and_keeps_below_its_bound(
    weights: list[float], name: str, z: float
) -> None:
    total_sum = WeightedSum(weights, LAWS[name])
    try:
        tail = total_sum.tail(z * total_sum.sd)
    except DataError:
        return  # beyond what the scores can give
    assert tail.log10_p <= 0
    assert tail.log10_p <= tail.log10_bound + 1e-9 or tail.z < 0.1
    assert 1 - 1e-9 <= tail.effective <= len(weights) + 1e-9


def test_larger_sums_are_never_likelier() -> None:
    total_sum = WeightedSum(np.random.default_rng(3).standard_normal(200), ExponentialLaw())
    tails = [total_sum.tail(total_sum.sd * z).log10_p for z in np.linspace(-4, 30, 400)]
    assert (np.diff(tails) < 1e-12).all()


def test_more_of_the_same_is_as_if_it_had_been_measured() -> None:
    weights = np.random.default_rng(4).uniform(0.1, 1, 100)
    law = ExponentialLaw()
    once = WeightedSum(weights, law).tail(9.0, times=7)
    told = WeightedSum(np.tile(weights, 7), law).tail(63.0)
    assert once.z == pytest.approx(told.z)
    assert once.log10_p == pytest.approx(told.log10_p, abs=1e-6)


def test_scale_and_order_do_not_count() -> None:
    weights = np.random.default_rng(6).standard_normal(80)
    law = BernoulliLaw(0.25)
    one = WeightedSum(weights, law).tail(6.0)
    other = WeightedSum(weights[::-1] * 1e-7, law).tail(6.0e-7)
    assert other.log10_p == pytest.approx(one.log10_p, abs=1e-6)


@pytest.mark.parametrize(
    ("weights", "error"),
    [([], ShapeError), ([1.0, math.nan], DataError), ([0.0, 0.0], DataError)],
)
def test_weights_that_test_nothing_are_refused(weights: list[float], error: type) -> None:
    with pytest.raises(error):
        WeightedSum(weights, ExponentialLaw())


def test_a_sum_that_cannot_be_reached_is_refused() -> None:
    with pytest.raises(DataError, match="cannot be reached"):
        WeightedSum(np.ones(30), BernoulliLaw(0.5)).tail(16.0)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.2, math.nan])
def test_a_green_share_is_between_none_and_all(fraction: float) -> None:
    with pytest.raises(ConfigError, match="green share"):
        BernoulliLaw(fraction)


@pytest.mark.parametrize("name", LAWS)
def test_cumulants_are_those_of_the_draws(name: str) -> None:
    law = LAWS[name]
    drawn = law.draw(np.random.default_rng(8), (200_000,))
    assert drawn.mean() == pytest.approx(0, abs=4 * math.sqrt(law.variance / 200_000))
    assert drawn.var() == pytest.approx(law.variance, rel=0.03)
    assert (drawn**3).mean() == pytest.approx(law.third_moment, abs=0.1 * law.variance**1.5)
    told = law.cumulants(np.array([0.4]))
    assert told.value[0] == pytest.approx(math.log(np.exp(0.4 * drawn).mean()), abs=0.01)
    step = 1e-5
    above, below = (law.cumulants(np.array([0.4 + sign * step])) for sign in (1, -1))
    slopes = [(above[place] - below[place])[0] / (2 * step) for place in (0, 1)]
    assert slopes == pytest.approx([told.first[0], told.second[0]], rel=1e-4)
