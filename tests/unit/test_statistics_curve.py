"""Yield curves against a general optimiser and curves that are known."""

import math
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from stillhouse.errors import ConfigError, DataError, ShapeError
from stillhouse.statistics import YieldCurve, fit_yield_curve
from stillhouse.statistics._curve_profile import chi_square_limit

CALLS = np.array([100, 200, 400, 800, 1600, 3200])


def power(calls: Any, floor: float = 0.08, scale: float = 2.0, rate: float = 0.6) -> Any:
    return floor + scale * np.asarray(calls, dtype=float) ** -rate


def measured(
    *, seed: int, error: float = 0.004, calls: np.ndarray = CALLS, floor: float = 0.08
) -> YieldCurve:
    noise = np.random.default_rng(seed).normal(0, error, len(calls))
    return fit_yield_curve(calls, power(calls, floor) + noise, np.full(len(calls), error))


def test_an_exact_power_law_is_recovered() -> None:
    curve = fit_yield_curve(CALLS, power(CALLS), np.full(6, 1e-3))
    assert curve.family == "power"
    assert curve.rate == pytest.approx(0.6, rel=0.03)
    assert curve.floor.value == pytest.approx(0.08, abs=2e-3)
    assert curve.predict(6400).value == pytest.approx(power(6400), abs=1e-3)
    assert curve.misfit is not None
    assert curve.misfit < 0.2


def test_an_exact_exponential_is_recovered() -> None:
    errors = 0.1 + 0.3 * np.exp(-CALLS / 500)
    curve = fit_yield_curve(CALLS, errors, np.full(6, 1e-3))
    assert curve.family == "exponential"
    assert curve.rate == pytest.approx(1 / 500, rel=0.05)
    assert curve.scale == pytest.approx(0.3, rel=0.05)
    assert curve.predict(300).value == pytest.approx(0.1 + 0.3 * math.exp(-0.6), abs=2e-3)


def test_chi_square_is_that_of_a_general_optimiser() -> None:
    errors = power(CALLS) + np.random.default_rng(1).normal(0, 0.01, 6)
    curve = fit_yield_curve(CALLS, errors, np.full(6, 0.01))
    best = math.inf
    for falling in (lambda n, r: n**-r, lambda n, r: np.exp(-n * r)):
        for start in ((0.05, 1.0, 0.5), (0.1, 0.3, 1e-3)):
            found = scipy.optimize.least_squares(
                lambda p, falling=falling: (p[0] + p[1] * falling(CALLS, p[2]) - errors) / 0.01,
                start,
                bounds=([0, 0, 1e-5], [1, 100, 3]),
                x_scale=start,
            )
            best = min(best, 2 * found.cost)
    assert curve.misfit is not None
    assert 3 * curve.misfit == pytest.approx(best, abs=0.05)


def test_the_interval_is_what_chi_square_allows() -> None:
    curve = measured(seed=2)
    calls = 6400.0
    interval = curve.predict(calls)
    assert interval.low < interval.value < interval.high
    profile, limit = curve._profile, curve._limit
    for end, further in ((interval.low, -1e-5), (interval.high, 1e-5)):
        assert profile.chi_squares(calls, np.array([end]))[0] <= limit + 1e-6
        assert profile.chi_squares(calls, np.array([end + further]))[0] > limit
    # Naive: for each shape of a grid, the constrained fit by a general optimiser.
    shapes, errors = profile.shapes, profile.errors_N
    best = math.inf
    for place in range(len(shapes.rates_S)):
        g, there = profile.falling_SN[place], shapes.at(calls)[place]
        found = scipy.optimize.minimize_scalar(
            lambda a, g=g, there=there: (
                (errors - interval.low - a * (g - there)) ** 2 * profile.weights_N
            ).sum(),
            bounds=(0, interval.low / max(there, 1e-9)),
            method="bounded",
            options={"xatol": 1e-12},
        )
        best = min(best, found.fun)
    assert profile.chi_squares(calls, np.array([interval.low]))[0] == pytest.approx(best, abs=0.02)


def test_predictions_are_sure_between_budgets_and_unsure_beyond() -> None:
    curve = measured(seed=3)
    widths = [
        curve.predict(calls).high - curve.predict(calls).low for calls in (1_000, 10_000, 10**6)
    ]
    assert widths[0] < widths[1] < widths[2]
    assert curve.predict(10**12).low == pytest.approx(curve.floor.low, abs=0.02)


def test_a_measurement_to_come_lies_in_a_wider_interval() -> None:
    curve = measured(seed=4)
    true, seen = curve.predict(6400), curve.predict(6400, standard_error=0.02)
    assert seen.low < true.low
    assert seen.high > true.high
    assert curve.misfit is not None
    reach = 0.02 * math.sqrt(chi_square_limit(0.95) * max(1.0, curve.misfit))
    assert reach < (seen.high - seen.low) / 2 < math.hypot(reach, true.high - true.low)


def test_held_back_points_fall_into_their_interval_as_often_as_it_says() -> None:
    inside = 0
    for seed in range(60):
        curve = measured(seed=seed, calls=CALLS[:5])
        point = power(3200) + np.random.default_rng(10_000 + seed).normal(0, 0.004)
        interval = curve.predict(3200, standard_error=0.004)
        inside += interval.low <= point <= interval.high
    assert inside >= scipy.stats.binom(60, 0.95).ppf(0.001)


# Calls for a target


def test_calls_for_a_target_invert_the_curve_and_its_band() -> None:
    curve = measured(seed=5)
    found = curve.calls_for(0.12)
    assert found.verdict == "reachable"
    assert found.low is not None
    assert found.value is not None
    assert found.high is not None
    assert found.low < found.value < found.high
    assert curve.predict(found.value).value == pytest.approx(0.12)
    assert curve.predict(found.low).low == pytest.approx(0.12, abs=1e-4)
    assert curve.predict(found.high).high == pytest.approx(0.12, abs=1e-4)
    assert found.low < (2.0 / 0.04) ** (1 / 0.6) < found.high


def test_a_target_below_the_floor_is_not_reachable() -> None:
    curve = measured(seed=6, error=0.001)
    assert curve.floor.low > 0.03
    found = curve.calls_for(0.02)
    assert (found.verdict, found.low, found.value, found.high) == (
        "not_reachable",
        None,
        None,
        None,
    )


def test_a_target_near_the_floor_stays_open() -> None:
    found = measured(seed=7).calls_for(0.085)
    assert found.verdict == "open"
    assert found.high is None
    assert found.low is not None


def test_a_target_that_one_call_reaches_takes_one() -> None:
    curve = fit_yield_curve(CALLS, [0.1] * 6, [0.01] * 6)
    assert curve.calls_for(0.9).value == 1.0


def test_errors_that_do_not_fall_promise_nothing() -> None:
    curve = fit_yield_curve(CALLS, 0.2 + 0.01 * np.arange(6), [0.01] * 6)
    assert curve.scale == 0.0
    assert curve.floor.value == pytest.approx(0.225)
    found = curve.calls_for(0.1)
    assert (found.value, found.high) == (None, None)


# Few and bad measurements


def test_errors_that_are_all_0_stay_unsure() -> None:
    curve = fit_yield_curve(CALLS, np.zeros(6), np.full(6, 0.01))
    at_least = curve.predict(100)
    assert (at_least.value, at_least.low) == (0.0, 0.0)
    assert 0.001 < at_least.high < 0.03
    assert curve.calls_for(0.05).verdict == "reachable"


def test_three_budgets_are_the_least() -> None:
    for calls in ([100], [100, 200], [100, 100, 200]):
        with pytest.raises(DataError, match="different numbers of calls do not show"):
            fit_yield_curve(calls, [0.1] * len(calls), [0.01] * len(calls))
    curve = fit_yield_curve([100, 200, 400], [0.3, 0.25, 0.22], [0.01] * 3)
    assert curve.misfit is None
    assert curve.floor.low == 0.0
    assert curve.predict(800).high > curve.predict(800).low + 0.02


def test_seeds_at_one_budget_count_each() -> None:
    calls = np.repeat(CALLS, 3)
    curve = fit_yield_curve(calls, power(calls), np.full(18, 0.01))
    assert (curve.n, curve.floor.n, curve.floor.num_clusters) == (18, 18, 6)


def test_a_curve_that_does_not_fit_has_wider_intervals() -> None:
    bumps = 0.03 * (-1.0) ** np.arange(6)
    smooth = fit_yield_curve(CALLS, power(CALLS), np.full(6, 0.004)).predict(6400)
    bumpy = fit_yield_curve(CALLS, power(CALLS) + bumps, np.full(6, 0.004))
    assert bumpy.misfit is not None
    assert bumpy.misfit > 10
    assert bumpy.predict(6400).high - bumpy.predict(6400).low > 2 * (smooth.high - smooth.low)


def test_scale_of_errors_does_not_matter() -> None:
    noise = np.random.default_rng(8).normal(0, 0.004, 6)
    plain = fit_yield_curve(CALLS, power(CALLS) + noise, np.full(6, 0.004))
    scaled = fit_yield_curve(CALLS, 100 * (power(CALLS) + noise), np.full(6, 0.4))
    assert scaled.predict(6400).low == pytest.approx(100 * plain.predict(6400).low, rel=1e-6)
    assert scaled.calls_for(12.0).value == pytest.approx(plain.calls_for(0.12).value, rel=1e-6)


def test_the_limit_is_between_one_and_two_degrees_of_freedom() -> None:
    limit = chi_square_limit(0.95)
    beyond = [scipy.stats.chi2(degrees).sf(limit) for degrees in (1, 2)]
    assert np.mean(beyond) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("calls", "errors", "standard_errors", "error", "words"),
    [
        ([], [], [], DataError, "nothing was measured"),
        ([1, 2, 4], [0.1, 0.2], [0.1] * 3, ShapeError, "same rows"),
        ([0, 2, 4], [0.1] * 3, [0.1] * 3, DataError, "more than 0"),
        ([1, 2, 4], [0.1, -0.1, 0.1], [0.1] * 3, DataError, "not negative"),
        ([1, 2, 4], [0.1] * 3, [0.1, 0.0, 0.1], DataError, "more than 0"),
        ([1, 2, 4], [0.1, math.nan, 0.1], [0.1] * 3, DataError, "errors are not finite"),
    ],
)
def test_what_is_no_measurement_is_refused(
    calls: Any, errors: Any, standard_errors: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        fit_yield_curve(calls, errors, standard_errors)


def test_settings_are_checked() -> None:
    curve = measured(seed=9)
    for calls in (0, -5, math.inf, math.nan):
        with pytest.raises(ConfigError, match="no number of calls"):
            curve.predict(calls)
    for target in (0, -0.1, math.nan):
        with pytest.raises(ConfigError, match="no error to aim at"):
            curve.calls_for(target)
    with pytest.raises(ConfigError, match="standard_error"):
        curve.predict(100, standard_error=-1)
    with pytest.raises(ConfigError, match="confidence"):
        fit_yield_curve(CALLS, power(CALLS), [0.01] * 6, confidence=1)
