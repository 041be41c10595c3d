"""Confident learning on hand-worked cases and known noise."""

import math
from typing import Any

import numpy as np
import pytest

from stillhouse.errors import ConfigError, DataError, ShapeError
from stillhouse.statistics import confident_joint, label_issues, wilson_interval

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


def test_the_noise_of_equal_labels_is_the_fraction_of_each_weighted() -> None:
    # Probabilities that are certain: every row is counted, so noise is a plain fraction.
    labels = np.repeat([0, 1], 200)
    seeming = labels.copy()
    seeming[:20] = 1
    issues = label_issues(labels, np.eye(2)[seeming])
    assert issues.noise_fraction.value == pytest.approx(0.05)
    first, second = wilson_interval(20, 200), wilson_interval(0, 200)
    above = math.hypot((first.high - 0.1) / 2, second.high / 2)
    below = math.hypot((0.1 - first.low) / 2, 0)
    assert issues.noise_fraction.high == pytest.approx(0.05 + above)
    assert issues.noise_fraction.low == pytest.approx(0.05 - below)


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
