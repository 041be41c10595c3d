"""Separation of right from wrong answers against scipy and naive loops."""

import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.errors import ConfigError, DataError, ShapeError
from stillhouse.statistics import auroc, fraction_interval, risk_coverage


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 1)), min_size=2, max_size=40))
def test_the_area_is_the_mann_whitney_statistic(rows: list[tuple[int, int]]) -> None:
    scores, positive = np.array(rows).T
    if positive.min() == positive.max():
        with pytest.raises(DataError, match="both kinds"):
            auroc(scores, positive)
        return
    high, low = scores[positive == 1], scores[positive == 0]
    expected = scipy.stats.mannwhitneyu(high, low).statistic / (len(high) * len(low))
    interval = auroc(scores, positive)
    assert interval.value == pytest.approx(expected)
    assert 0 <= interval.low <= interval.value <= interval.high <= 1
    mirrored = auroc(-scores, positive)
    assert (mirrored.low, mirrored.high) == pytest.approx((1 - interval.high, 1 - interval.low))


def naive_win(high: float, low: float) -> float:
    return 1.0 if high > low else 0.5 if high == low else 0.0


def test_the_interval_is_that_of_delong_on_the_scale_of_odds() -> None:
    generator = np.random.default_rng(0)
    high = np.round(generator.normal(1, 1, 20), 1)
    low = np.round(generator.normal(0, 2, 60), 1)
    wins = np.array([[naive_win(a, b) for b in low] for a in high])
    area = wins.mean()
    # DeLong's structural components, their sums with the degrees of freedom of the rarer kind.
    variance = ((wins.mean(axis=1) - area) ** 2).sum() / 20**2
    variance += ((wins.mean(axis=0) - area) ** 2).sum() / 60**2
    error = math.sqrt(variance * 20 / 19) / (area * (1 - area))
    reach = scipy.stats.t(19).ppf(0.975) * error
    interval = auroc([*high, *low], [1] * 20 + [0] * 60)
    assert interval.value == pytest.approx(area)
    expected = [1 / (1 + math.exp(-math.log(area / (1 - area)) - side)) for side in (-reach, reach)]
    assert [interval.low, interval.high] == pytest.approx(expected)


def test_copies_of_rows_do_not_separate_better() -> None:
    generator = np.random.default_rng(1)
    positive = np.arange(80) < 30
    scores = generator.normal(positive * 1.0, 1)
    once = auroc(scores, positive)
    copied = auroc(
        np.repeat(scores, 7), np.repeat(positive, 7), clusters=np.repeat(np.arange(80), 7)
    )
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high))
    assert (copied.n, copied.num_clusters) == (560, 80)


def test_kinds_that_are_perfectly_apart_have_newcombes_lower_end() -> None:
    interval = auroc([0.1, 0.2, 0.9], [0, 0, 1])
    assert (interval.value, interval.high) == (1.0, 1.0)
    assert interval.low < 0.5
    low = auroc(np.arange(60), np.arange(60) >= 40).low
    q1, q2 = low / (2 - low), 2 * low**2 / (1 + low)
    variance = low * (1 - low) + (60 / 2 - 1) * (q1 - low**2 + q2 - low**2)
    assert (1 - low) / math.sqrt(variance / (20 * 40)) == pytest.approx(1.959964, rel=1e-5)


def naive_aurc(confidences: np.ndarray, wrong: np.ndarray, *, seed: int) -> float:
    """Mean risk over coverages, equal confidences in random order."""
    generator = np.random.default_rng(seed)
    order = np.lexsort([generator.random(len(wrong)), -confidences])
    errors = np.cumsum(wrong[order])
    return float(np.mean(errors / np.arange(1, len(wrong) + 1)))


def test_the_curve_is_that_of_a_naive_loop() -> None:
    generator = np.random.default_rng(1)
    confidences = np.round(generator.random(200), 2)
    wrong = (generator.random(200) > confidences).astype(int)
    curve = risk_coverage(confidences, wrong)
    assert (np.diff(curve.threshold_K) < 0).all()
    assert (curve.coverage_K[-1], curve.kept_K[-1]) == (1.0, 200)
    for place, threshold in enumerate(curve.threshold_K):
        kept = confidences >= threshold
        expected = fraction_interval(int(wrong[kept].sum()), int(kept.sum()))
        assert curve.coverage_K[place] == pytest.approx(kept.mean())
        assert curve.risk_K[place] == pytest.approx(expected.value)
        assert curve.low_K[place] == pytest.approx(expected.low)
        assert curve.high_K[place] == pytest.approx(expected.high)


def test_the_area_is_the_mean_risk_with_equal_confidences_in_random_order() -> None:
    generator = np.random.default_rng(2)
    for decimals in (8, 1):
        confidences = np.round(generator.random(100), decimals)
        wrong = (generator.random(100) > confidences).astype(int)
        expected = np.mean([naive_aurc(confidences, wrong, seed=seed) for seed in range(3_000)])
        assert risk_coverage(confidences, wrong).aurc.value == pytest.approx(expected, rel=5e-3)


def test_the_areas_standard_error_is_that_of_a_jackknife() -> None:
    generator = np.random.default_rng(3)
    confidences = generator.random(400)
    wrong = (generator.random(400) > confidences).astype(int)
    area = risk_coverage(confidences, wrong).aurc
    left_out = np.array(
        [naive_aurc(np.delete(confidences, i), np.delete(wrong, i), seed=0) for i in range(400)]
    )
    error = math.sqrt(399 / 400 * ((left_out - left_out.mean()) ** 2).sum())
    rarer = min(wrong.sum(), 400 - wrong.sum())
    reach = scipy.stats.t(rarer - 1).ppf(0.975)
    found = math.log(area.high / area.low) / 2 / reach * area.value
    assert found == pytest.approx(error, rel=0.05)


def test_nothing_or_everything_wrong_has_an_honest_width() -> None:
    right = risk_coverage(np.arange(300), np.zeros(300)).aurc
    share = fraction_interval(0, 300).high
    # All unseen errors in front: mean over coverages c of min(1, share / c).
    steps = (np.arange(1_000_000) + 0.5) / 1_000_000
    assert right.high == pytest.approx(np.minimum(1, share / steps).mean(), rel=1e-3)
    assert (right.value, right.low) == (0.0, 0.0)
    wrong = risk_coverage(np.arange(300), np.ones(300)).aurc
    assert (wrong.value, wrong.high) == (1.0, 1.0)
    assert wrong.low == pytest.approx(1 - right.high)


def test_one_row_says_next_to_nothing() -> None:
    curve = risk_coverage([0.9], [0])
    assert (curve.low_K[0], curve.high_K[0]) == pytest.approx((0.0, 0.975))
    assert curve.aurc.high > 0.99
    assert risk_coverage([0.9, 0.5, 0.4], [0, 1, 0]).aurc.high == 1.0


@pytest.mark.parametrize(
    ("scores", "labels", "error", "words"),
    [
        ([], [], DataError, "nothing was measured"),
        ([0.5, math.nan], [1, 0], DataError, "not finite"),
        ([0.5, 0.2], [1, 2], DataError, "Give 0 or 1"),
        ([0.5], [1, 0], ShapeError, "same rows"),
    ],
)
def test_what_bears_no_separation_is_refused(
    scores: Any, labels: Any, error: type[Exception], words: str
) -> None:
    for measure in (auroc, risk_coverage):
        with pytest.raises(error, match=words):
            measure(scores, labels)
        with pytest.raises(ConfigError, match="confidence"):
            measure([0.5, 0.1], [1, 0], confidence=0)
