"""Rows and power: the figures that users are told, and simulation."""

import math

import numpy as np
import pytest
import scipy.stats

from stillhouse.errors import ConfigError, DataError
from stillhouse.statistics import (
    PairedCounts,
    binary_non_inferiority_test,
    detectable_difference,
    paired_power,
    rows_for_difference,
    rows_for_non_inferiority,
)


def test_published_figures_are_met() -> None:
    assert rows_for_non_inferiority(0.02, 0.1) == 1_546
    assert rows_for_non_inferiority(0.03, 0.1) == 687
    points = [round(100 * detectable_difference(n, 0.1), 1) for n in (200, 1_000, 3_000)]
    assert points == [6.3, 2.8, 1.6]


def test_a_two_sided_interval_needs_more_rows_than_the_one_sided_test() -> None:
    z = scipy.stats.norm.ppf([0.975, 0.8]).sum()
    assert rows_for_non_inferiority(0.02, 0.1, error=0.025) == math.ceil(z**2 * 0.1 / 0.02**2)


@pytest.mark.parametrize("difference", [-0.01, 0.0, 0.01])
def test_the_named_rows_have_the_named_power(difference: float) -> None:
    n = rows_for_non_inferiority(0.03, 0.1, difference)
    tables = np.random.default_rng(0).multinomial(
        n, [(0.1 + difference) / 2, (0.1 - difference) / 2, 0.9], size=2_000
    )
    passed = [
        binary_non_inferiority_test(PairedCounts(int(same), int(b), int(c), 0), margin=0.03) < 0.05
        for b, c, same in tables
    ]
    assert 0.77 <= np.mean(passed) <= 0.84


def test_rows_without_discordance_are_those_of_no_difference_at_all() -> None:
    n = rows_for_non_inferiority(0.02, 0.0)
    assert binary_non_inferiority_test(PairedCounts(n, 0, 0, 0), margin=0.02) < 0.05
    assert binary_non_inferiority_test(PairedCounts(n - 10, 0, 0, 0), margin=0.02) > 0.05


def test_power_difference_and_rows_invert_each_other() -> None:
    difference = detectable_difference(700, 0.15, power=0.9)
    assert paired_power(700, 0.15, difference) == pytest.approx(0.9, abs=1e-6)
    assert rows_for_difference(difference, 0.15, power=0.9) == pytest.approx(700, abs=1)
    assert rows_for_difference(-difference, 0.15, power=0.9) == pytest.approx(700, abs=1)


def test_power_is_what_mcnemar_has() -> None:
    n, discordance, difference = 400, 0.2, 0.06
    tables = np.random.default_rng(1).multinomial(n, [0.13, 0.07, 0.8], size=4_000)
    z = (tables[:, 0] - tables[:, 1]) / np.sqrt(tables[:, 0] + tables[:, 1])
    simulated = np.mean(np.abs(z) > scipy.stats.norm.ppf(0.975))
    assert paired_power(n, discordance, difference) == pytest.approx(simulated, abs=0.03)


def test_no_difference_is_seen_as_often_as_the_test_errs() -> None:
    assert paired_power(500, 0.1, 0.0) == pytest.approx(0.05)


def test_few_rows_see_only_what_is_consistent_with_itself() -> None:
    # sqrt(0.1 / 20) would be a difference of 20 points at a discordance of 10.
    difference = detectable_difference(20, 0.1)
    assert paired_power(20, difference, difference) == pytest.approx(0.8, abs=1e-6)
    with pytest.raises(DataError, match="at least 8 rows"):
        detectable_difference(3, 0.1)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(DataError, match="at least one row"):
        paired_power(0, 0.1, 0.05)
    with pytest.raises(ConfigError, match="cannot exceed"):
        paired_power(100, 0.1, 0.2)
    with pytest.raises(ConfigError, match="no number of rows"):
        rows_for_non_inferiority(0.02, 0.1, -0.02)
    with pytest.raises(ConfigError, match=r"2 points are 0\.02"):
        rows_for_non_inferiority(2.0, 0.1)
    with pytest.raises(ConfigError, match="discordance"):
        detectable_difference(100, 0.0)
    with pytest.raises(ConfigError, match="discordance"):
        rows_for_non_inferiority(0.02, 10)
    with pytest.raises(ConfigError, match="Give one between"):
        rows_for_difference(0.0, 0.1)
    with pytest.raises(ConfigError, match="power"):
        rows_for_non_inferiority(0.02, 0.1, power=1.0)
    with pytest.raises(ConfigError, match="error"):
        rows_for_non_inferiority(0.02, 0.1, error=0.0)
    with pytest.raises(ConfigError, match="difference"):
        paired_power(100, 0.1, float("nan"))
