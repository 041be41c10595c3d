"""How much noise is found, against data whose noise is known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

from stillhouse.classifiers import folds_of
from stillhouse.errors import ConfigError, DataError, ShapeError
from stillhouse.fit import estimate_noise
from stillhouse.fit._crossfit import (
    Judged,
    best_cross_fit,
    corrected_cross_fit,
    softened,
)
from stillhouse.fit._noise import soundness
from stillhouse.fit._panel import settled_panel

LOGITS = np.array([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]])


def noisy_answers(
    num_rows: int, rate: float, *, num_labels: int = 5, temperature: float = 1.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits, right labels that are drawn from them, and answers that are partly others."""
    draws = np.random.default_rng(seed)
    logits = 3.0 * draws.normal(size=(num_rows, num_labels))
    chances = softmax(logits / temperature, axis=1)
    right = (draws.random((num_rows, 1)) > chances.cumsum(axis=1)).sum(axis=1)
    right = np.minimum(right, num_labels - 1)
    is_wrong = draws.random(num_rows) < rate
    others = draws.integers(1, num_labels, num_rows)
    return logits, right, np.where(is_wrong, (right + others) % num_labels, right)


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_rate_and_temperature_are_recovered(rate: float, temperature: float) -> None:
    logits, _, answers = noisy_answers(4_000, rate, temperature=temperature)
    found = estimate_noise(logits, answers)
    assert found.rate.low <= rate <= found.rate.high
    assert found.rate.high - found.rate.low < 0.1
    assert found.temperature == pytest.approx(temperature, rel=0.3)
    assert (found.rate.n, found.rate.num_clusters) == (4_000, 4_000)


def test_the_interval_covers_at_its_level() -> None:
    num_covered = 0
    for seed in range(200):
        logits, _, answers = noisy_answers(300, 0.3, seed=seed)
        rate = estimate_noise(logits, answers).rate
        num_covered += rate.low <= 0.3 <= rate.high
    assert 0.91 <= num_covered / 200 <= 0.99


def test_answers_without_noise_show_none() -> None:
    logits, right, _ = noisy_answers(3_000, 0.0)
    rate = estimate_noise(logits, right).rate
    assert rate.low == 0.0
    assert rate.high < 0.02


def test_the_likelihood_is_that_of_a_naive_loop() -> None:
    logits, _, answers = noisy_answers(40, 0.2, num_labels=3)
    found = estimate_noise(logits, answers)
    total = 0.0
    for row, answer in zip(logits, answers, strict=True):
        own = softmax(row / found.temperature)[answer]
        total -= np.log((1 - found.rate.value) * own + found.rate.value * (1 - own) / 2)
    assert found.nats == pytest.approx(total / 40)


def test_the_posterior_of_a_hand_worked_case() -> None:
    # Prior 0.7, 0.2, 0.1; answer 1; a fifth of the answers wrong: 0.7 x 0.1, 0.2 x 0.8, 0.1 x 0.1.
    found = soundness(np.array([[0.7, 0.2, 0.1]]), np.array([1]), 0.2)
    np.testing.assert_allclose(found, np.array([[0.07, 0.16, 0.01]]) / 0.24)


def test_without_noise_the_answer_is_right_whatever_the_student_thought() -> None:
    found = soundness(np.array([[1.0, 0.0], [0.3, 0.7]]), np.array([1, 0]), 0.0)
    np.testing.assert_array_equal(found, [[0.0, 1.0], [1.0, 0.0]])


def test_a_sound_answer_keeps_what_its_teacher_said_beside_it() -> None:
    targets = np.array([[0.6, 0.4, 0.0]])
    sound = softened(targets, np.array([[1.0, 0.0, 0.0]]), np.array([0]))
    np.testing.assert_allclose(sound, targets)
    doubtful = softened(targets, np.array([[0.5, 0.1, 0.4]]), np.array([0]))
    np.testing.assert_allclose(doubtful, [[0.3, 0.1 + 0.2, 0.4]])
    np.testing.assert_allclose(doubtful.sum(axis=1), 1.0)


def clouds(num_rows: int, rate: float, seed: int = 0) -> tuple[Judged, np.ndarray]:
    """Points around four centres, answered with noise, and their right labels."""
    draws = np.random.default_rng(seed)
    centres = 2.0 * draws.normal(size=(4, 12))
    right = draws.integers(4, size=num_rows)
    features = (centres[right] + draws.normal(size=(num_rows, 12))).astype(np.float32)
    is_wrong = draws.random(num_rows) < rate
    answers = np.where(is_wrong, (right + draws.integers(1, 4, num_rows)) % 4, right)
    targets = np.eye(4)[answers]
    return Judged(features, targets, answers, folds_of(targets, 5, seed=0)), right


def test_half_of_the_answers_wrong_are_corrected_better_with_each_round() -> None:
    judged, right = clouds(600, 0.5, seed=1)
    first = best_cross_fit(judged)
    corrected = corrected_cross_fit(judged, first)
    settled = settled_panel([judged], [corrected])
    assert first.noise.rate.low <= 0.5 <= first.noise.rate.high
    assert settled.fits[0].noise == corrected.noise
    given, *rounds = (
        float((labels == right).mean())
        for labels in (
            judged.answers_N,
            *(
                found.posterior(found.logits_NL, judged.answers_N).argmax(axis=1)
                for found in (first, corrected)
            ),
            settled.posterior(judged.answers_N).argmax(axis=1),
        )
    )
    assert given < 0.55
    assert rounds == sorted(rounds)
    assert rounds[0] > 0.93
    assert rounds[-1] > 0.98


def test_right_answers_are_left_alone() -> None:
    judged, right = clouds(1_000, 0.0)
    first = best_cross_fit(judged)
    found = settled_panel([judged], [corrected_cross_fit(judged, first)])
    assert first.noise.rate.high < 0.02
    settled = found.posterior(judged.answers_N).argmax(axis=1)
    np.testing.assert_array_equal(settled, right)


def test_two_kinds_of_students_correct_what_neither_does_alone() -> None:
    whole, right = clouds(600, 0.5, seed=2)
    # Each kind sees half of the dimensions.
    halves = [replace(whole, features=whole.features[:, part::2]) for part in (0, 1)]
    corrected = [corrected_cross_fit(half, best_cross_fit(half)) for half in halves]

    def num_right(kinds: list[int]) -> int:
        panel = settled_panel([halves[kind] for kind in kinds], [corrected[kind] for kind in kinds])
        return int((panel.posterior(whole.answers_N).argmax(axis=1) == right).sum())

    assert num_right([0, 1]) > max(num_right([0]), num_right([1]))


def test_a_kind_that_tells_nothing_has_no_share() -> None:
    judged, _ = clouds(400, 0.5, seed=3)
    blank = replace(judged, features=np.zeros_like(judged.features))
    both = [corrected_cross_fit(one, best_cross_fit(one)) for one in (judged, blank)]

    panel = settled_panel([judged, blank], both)

    alone = settled_panel([judged], both[:1])
    assert panel.share == 0.0
    np.testing.assert_array_equal(
        panel.posterior_aside([judged.features, blank.features], judged.answers_N),
        alone.posterior_aside([judged.features], judged.answers_N),
    )


def test_an_answer_has_no_part_in_its_own_judgement() -> None:
    judged, _ = clouds(200, 0.4)
    first = best_cross_fit(judged)
    row = int(np.flatnonzero(judged.folds_N == 0)[0])
    other = (judged.answers_N[row] + 1) % 4
    answers, targets = judged.answers_N.copy(), judged.targets_NL.copy()
    answers[row], targets[row] = other, np.eye(4)[other]
    # The rate and temperature are of all rows together, so those of the first fit are kept.
    changed = Judged(judged.features, targets, answers, judged.folds_N)
    ours, theirs = (
        corrected_cross_fit(one, first).heads[0].logits(judged.features[[row]])
        for one in (judged, changed)
    )
    np.testing.assert_array_equal(ours, theirs)


def test_what_shows_no_noise_is_refused() -> None:
    with pytest.raises(ShapeError, match="one answer for each row"):
        estimate_noise(LOGITS, np.array([0]))
    with pytest.raises(DataError, match="0 rows"):
        estimate_noise(np.zeros((0, 3)), np.zeros(0, dtype=np.int64))
    with pytest.raises(DataError, match="1 labels"):
        estimate_noise(np.zeros((2, 1)), np.array([0, 0]))
    with pytest.raises(DataError, match="not finite"):
        estimate_noise(np.array([[np.nan, 0.0]]), np.array([0]))
    with pytest.raises(DataError, match="from 0 to 2"):
        estimate_noise(LOGITS, np.array([0, 3]))
    with pytest.raises(ConfigError, match=r"confidence=1\.0"):
        estimate_noise(LOGITS, np.array([0, 1]), confidence=1.0)
