"""Calibration error and reliability against naive computations and known truth."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import scipy.stats

from stillhouse.errors import ConfigError, DataError, ShapeError
from stillhouse.statistics import expected_calibration_error, fraction_interval, reliability


def answers(n: int, *, seed: int, power: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Confidences, whether right, and the true chance of that, their `power`."""
    generator = np.random.default_rng(seed)
    confidences = generator.beta(5, 1, n)
    chances = confidences**power
    return confidences, (generator.random(n) < chances).astype(int), chances


def test_the_plug_in_is_that_of_a_naive_loop() -> None:
    confidences, correct, _ = answers(1_003, seed=0, power=1.5)
    order = np.argsort(confidences)
    total = 0.0
    for rows in np.split(order, [k * 1_003 // 15 for k in range(1, 15)]):
        total += len(rows) / 1_003 * abs(confidences[rows].mean() - correct[rows].mean())
    found = expected_calibration_error(confidences, correct)
    assert found.plug_in == pytest.approx(total, rel=1e-12)
    assert found.num_bins == 15


def test_the_interval_holds_the_truth_and_chance_is_taken_off() -> None:
    n = 4_000
    for power in (1.0, 1.2, 2.0):
        confidences, correct, chances = answers(n, seed=2, power=power)
        order = np.argsort(confidences)
        truth = sum(
            len(rows) / n * abs((confidences[rows] - chances[rows]).mean())
            for rows in np.array_split(order, 15)
        )
        found = expected_calibration_error(confidences, correct)
        assert found.error.low <= truth <= found.error.high
        assert found.error.low <= found.error.value <= found.error.high
        assert found.error.value <= found.plug_in + 0.001  # no more than simulation is off
        assert abs(found.error.value - truth) < 0.01


def test_perfect_calibration_is_not_refuted_though_the_plug_in_is_positive() -> None:
    confidences, correct, _ = answers(500, seed=2)
    found = expected_calibration_error(confidences, correct)
    assert found.plug_in > 0.02
    assert found.error.low == 0.0


@pytest.mark.parametrize("n", [1, 3, 100])
def test_certainty_that_was_never_wrong_has_an_honest_width(n: int) -> None:
    found = expected_calibration_error([1.0] * n, [1] * n)
    assert (found.plug_in, found.error.low, found.num_bins) == (0.0, 0.0, 1)
    # Wrong as often as is not refuted: the exact upper bound of 0 in n.
    unseen = 1 - 0.025 ** (1 / n)
    assert found.error.high == pytest.approx(unseen, rel=0.15)


def test_certainty_that_is_always_wrong_is_seen() -> None:
    found = expected_calibration_error([1.0] * 200, [0] * 200)
    assert found.plug_in == 1.0
    assert found.error.low > 0.97


def test_the_seed_alone_decides() -> None:
    confidences, correct, _ = answers(300, seed=3, power=2)
    first, again, other = (
        expected_calibration_error(confidences, correct, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again
    assert first.error.low != other.error.low


# Bins


def test_bins_hold_equally_many_rows_and_exact_intervals() -> None:
    confidences, correct, _ = answers(300, seed=4)
    bins = reliability(confidences, correct, num_bins=10)
    assert [each.accuracy.n for each in bins] == [30] * 10
    assert all(one.high <= other.low for one, other in itertools.pairwise(bins))
    order = np.argsort(confidences)[:30]
    assert bins[0].mean_confidence == pytest.approx(confidences[order].mean())
    assert bins[0].accuracy == fraction_interval(int(correct[order].sum()), 30)
    assert (bins[0].low, bins[0].high) == (confidences[order].min(), confidences[order].max())


def test_equal_confidences_share_a_bin_whatever_their_order() -> None:
    confidences = np.array([0.5] * 40 + [0.9] * 35 + [1.0] * 25)
    correct = (np.arange(100) % 3 > 0).astype(int)
    bins = reliability(confidences, correct, num_bins=10)
    assert [(each.low, each.high, each.accuracy.n) for each in bins] == [
        (0.5, 0.5, 40),
        (0.9, 0.9, 35),
        (1.0, 1.0, 25),
    ]
    order = np.random.default_rng(0).permutation(100)
    assert reliability(confidences[order], correct[order], num_bins=10) == bins


def test_few_rows_have_few_bins() -> None:
    assert len(reliability([0.1, 0.5, 0.9], [0, 1, 1])) == 1
    confidences, correct, _ = answers(47, seed=5)
    bins = reliability(confidences, correct, num_bins=15)
    assert min(each.accuracy.n for each in bins) >= 10
    assert sum(each.accuracy.n for each in bins) == 47


def test_a_straggler_does_not_make_a_bin_of_its_own() -> None:
    confidences = np.array([0.2] * 3 + [0.7] * 60 + [0.99] * 4)
    bins = reliability(confidences, np.ones(67), num_bins=5)
    assert min(each.accuracy.n for each in bins) >= 10


@pytest.mark.parametrize(
    ("confidences", "correct", "error", "words"),
    [
        ([], [], DataError, "nothing was measured"),
        ([0.5, math.nan], [1, 0], DataError, "not finite"),
        ([0.5, 1.2], [1, 0], DataError, r"\[0, 1\]"),
        ([0.5, 0.2], [1, 0.5], DataError, "Give 0 or 1"),
        ([0.5], [1, 0], ShapeError, "same rows"),
    ],
)
def test_what_bears_no_calibration_is_refused(
    confidences: Any, correct: Any, error: type[Exception], words: str
) -> None:
    for measure in (reliability, expected_calibration_error):
        with pytest.raises(error, match=words):
            measure(confidences, correct)
        with pytest.raises(ConfigError, match="num_bins"):
            measure([0.5], [1], num_bins=0)
        with pytest.raises(ConfigError, match="confidence"):
            measure([0.5], [1], confidence=0)


def test_chance_alone_covers_zero_as_often_as_it_says() -> None:
    covered = 0
    for trial in range(20):
        confidences, correct, _ = answers(300, seed=trial)
        covered += expected_calibration_error(confidences, correct).error.low == 0
    # One-sided: 97.5 % of 20, and what a binomial leaves.
    assert covered >= scipy.stats.binom(20, 0.975).ppf(0.001)
