"""Confident learning on hand-worked cases and known noise."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.errors import ConfigError, DataError, ShapeError
from stillhouse.statistics import confident_joint, fraction_interval, label_issues

# Three labels: the bars are the mean own probabilities 0.7 (0.9, 0.5), 0.6 (0.8, 0.4), 0.5 (0.5).
LABELS = [0, 0, 1, 1, 2]
PROBABILITIES = [
    [0.9, 0.05, 0.05],  # seems 0
    [0.5, 0.45, 0.05],  # reaches no bar
    [0.1, 0.8, 0.1],  # seems 1
    [0.1, 0.4, 0.5],  # seems 2, is labelled 1
    [0.2, 0.3, 0.5],  # seems 2
]


def noisy(
    n: int, *, noise: float, num_labels: int = 5, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Given labels, true ones, and probabilities of a good model that does not know the noise."""
    generator = np.random.default_rng(seed)
    true = generator.integers(0, num_labels, n)
    wrong = generator.random(n) < noise
    given = np.where(wrong, (true + generator.integers(1, num_labels, n)) % num_labels, true)
    logits = generator.normal(0, 1, (n, num_labels))
    logits[np.arange(n), true] += 5
    probabilities = np.exp(logits)
    return given, true, probabilities / probabilities.sum(axis=1, keepdims=True)


def test_the_joint_is_that_of_the_hand_worked_case() -> None:
    expected = [[1, 0, 0], [0, 1, 1], [0, 0, 1]]
    np.testing.assert_array_equal(confident_joint(LABELS, PROBABILITIES), expected)


def test_issues_are_those_of_the_hand_worked_case() -> None:
    issues = label_issues(LABELS, PROBABILITIES)
    assert list(issues.rows_I) == [3]
    assert list(issues.suggested_I) == [2]
    assert issues.quality_I == pytest.approx([0.4 - 0.5])
    by_confidence = label_issues(LABELS, PROBABILITIES, rank_by="self_confidence")
    assert by_confidence.quality_I == pytest.approx([0.4])
    # Of label 1, one of two counted rows is off; it has two of five rows.
    assert issues.noise_fraction.value == pytest.approx(2 / 5 * 1 / 2)
    assert issues.noise_fraction.n == 5


def test_the_joint_is_that_of_a_naive_loop() -> None:
    given, _, probabilities = noisy(300, noise=0.3)
    bars = [probabilities[given == label, label].mean() for label in range(5)]
    expected = np.zeros((5, 5), dtype=int)
    for label, row in zip(given, probabilities, strict=True):
        reached = [k for k in range(5) if row[k] >= bars[k]]
        if reached:
            expected[label, max(reached, key=lambda k: row[k])] += 1
    np.testing.assert_array_equal(confident_joint(given, probabilities), expected)


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.5])
def test_wrong_labels_are_found_and_counted(noise: float) -> None:
    given, true, probabilities = noisy(2_000, noise=noise, seed=1)
    issues = label_issues(given, probabilities)
    is_wrong = given != true
    found = np.zeros(2_000, dtype=bool)
    found[issues.rows_I] = True
    if noise:
        assert found[is_wrong].mean() > 0.85
        assert is_wrong[found].mean() > 0.9
        assert (true[issues.rows_I] == issues.suggested_I)[: len(issues.rows_I) // 2].mean() > 0.95
    else:
        assert found.mean() < 0.02
    assert issues.noise_fraction.low - 0.01 <= is_wrong.mean() <= issues.noise_fraction.high + 0.01


def test_the_worst_come_first() -> None:
    given, true, probabilities = noisy(2_000, noise=0.2, seed=2)
    for rank_by in ("normalized_margin", "self_confidence"):
        issues = label_issues(given, probabilities, rank_by=rank_by)
        assert (np.diff(issues.quality_I) >= 0).all()
        is_wrong = (given != true)[issues.rows_I]
        assert is_wrong[:100].mean() >= is_wrong.mean()


def sure(counts: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Labels, of each so many rows of which so many surely are the next label's."""
    labels = np.repeat(np.arange(len(counts)), [rows for rows, _ in counts])
    seeming = np.concatenate(
        [(np.arange(rows) < wrong) + label for label, (rows, wrong) in enumerate(counts)]
    )
    return labels, np.eye(len(counts))[seeming % len(counts)]


def test_the_noise_of_a_sure_model_is_a_plain_fraction_with_its_exact_interval() -> None:
    # Both labels are wrong as often, so that weighting them changes nothing.
    noise = label_issues(*sure([(200, 10), (200, 10)])).noise_fraction
    exact = fraction_interval(20, 400)
    assert (noise.value, noise.low, noise.high) == pytest.approx(
        (exact.value, exact.low, exact.high)
    )
    none = label_issues(*sure([(200, 0), (200, 0)])).noise_fraction
    assert (none.low, none.high) == pytest.approx((0.0, fraction_interval(0, 400).high))


def test_labels_of_one_fate_each_scatter_less_than_mixed_ones() -> None:
    # Within each label all rows agree, but rows of a kind are never more than all rows.
    noise = label_issues(*sure([(100, 90), (100, 0), (100, 5)])).noise_fraction
    exact = fraction_interval(95, 300)
    assert noise.value == pytest.approx(exact.value)
    assert noise.high - noise.low <= exact.high - exact.low + 1e-12


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.integers(2, 30), st.integers(2, 5), st.integers(0, 10**6))
def test_each_label_that_rows_have_is_counted(n: int, num_labels: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels = np.append(generator.integers(0, num_labels, n - 1), 0)
    labels[0] = 1
    probabilities = generator.dirichlet(np.full(num_labels, 0.3), n)
    joint = confident_joint(labels, probabilities)
    assert (joint.sum(axis=1)[np.unique(labels)] > 0).all()
    noise = label_issues(labels, probabilities).noise_fraction
    assert 0 <= noise.low <= noise.value <= noise.high <= 1


def test_few_rows_leave_the_noise_open() -> None:
    noise = label_issues([0, 1, 0], [[0.9, 0.1], [0.2, 0.8], [0.8, 0.2]]).noise_fraction
    assert noise.high - noise.low > 0.4


def test_labels_without_rows_are_never_suggested() -> None:
    given, _, probabilities = noisy(200, noise=0.1, num_labels=3, seed=3)
    wider = np.hstack([probabilities * 0.5, np.full((200, 1), 0.5)])
    issues = label_issues(given, wider)
    assert 3 not in issues.suggested_I
    assert confident_joint(given, wider)[:, 3].sum() == 0


@pytest.mark.parametrize(
    ("labels", "probabilities", "error", "words"),
    [
        ([], np.zeros((0, 2)), DataError, "There is no row"),
        ([0, 1], [[0.5, 0.5]], ShapeError, "one row of probabilities"),
        ([[0, 1]], [[0.5, 0.5]], ShapeError, "Give one label"),
        ([0, 0], [[0.5, 0.5]] * 2, DataError, "All 2 rows have one label"),
        ([0, 2], [[0.5, 0.5]] * 2, DataError, "from 0 to 1"),
        ([0, -1], [[0.5, 0.5]] * 2, DataError, "from 0 to 1"),
        ([0.0, 1.0], [[0.5, 0.5]] * 2, DataError, "whole numbers"),
        ([0, 1], [[0.5, 0.6]] * 2, DataError, "do not sum to 1"),
        ([0, 1], [[-0.5, 1.5]] * 2, DataError, "negative"),
        ([0, 1], [[math.nan, 0.5]] * 2, DataError, "not finite"),
    ],
)
def test_what_is_no_labelled_set_is_refused(
    labels: Any, probabilities: Any, error: type[Exception], words: str
) -> None:
    for find in (confident_joint, label_issues):
        with pytest.raises(error, match=words):
            find(labels, probabilities)


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="rank_by='luck' is unknown"):
        label_issues(LABELS, PROBABILITIES, rank_by="luck")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="confidence"):
        label_issues(LABELS, PROBABILITIES, confidence=0)
