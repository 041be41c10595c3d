"""Probabilities fitted to held-out rows."""

from typing import Any

import numpy as np
import pytest
import scipy.optimize
import scipy.special
from pydantic import ValidationError

from stillhouse.classifiers import Calibration, calibrated, fit_ngram, probabilities
from stillhouse.classifiers._calibration import fit_calibration
from stillhouse.errors import DataError, ShapeError

# N rows, S labels.


def drawn(true_temperature: float, *, num_rows: int = 4000, seed: int = 0) -> tuple[Any, Any]:
    """Logits, and labels drawn from what they say at a temperature."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(scale=3, size=(num_rows, 4))
    noise = generator.gumbel(size=logits.shape)
    return logits, np.eye(4)[(logits / true_temperature + noise).argmax(axis=1)]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_the_labels_is_found(temperature: float) -> None:
    logits, targets = drawn(temperature)
    found = fit_calibration(logits, targets, is_multiple=False)
    assert found.temperature == pytest.approx(temperature, rel=0.06)
    assert found.num_rows == 4000


def test_the_temperature_has_the_lowest_cross_entropy_that_scipy_finds() -> None:
    logits, targets = drawn(2.0, num_rows=50)

    def nats(temperature: float) -> float:
        return -float((targets * scipy.special.log_softmax(logits / temperature, axis=1)).sum())

    best = scipy.optimize.minimize_scalar(nats, bounds=(0.05, 20), method="bounded")
    found = fit_calibration(logits, targets, is_multiple=False)
    assert found.temperature == pytest.approx(best.x, rel=1e-3)


def test_logits_that_are_always_right_or_never_give_a_finite_temperature() -> None:
    logits = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert 0.02 <= fit_calibration(logits, np.eye(2), is_multiple=False).temperature < 0.1
    wrong = fit_calibration(logits, np.eye(2)[::-1], is_multiple=False)
    assert wrong.temperature == pytest.approx(50)


def test_slopes_and_offsets_of_several_labels_are_found() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(scale=3, size=(6000, 2))
    true = scipy.special.expit(logits * [0.5, 2.0] + [1.0, -1.0])
    targets = (generator.uniform(size=true.shape) < true).astype(float)
    found = fit_calibration(logits, targets, is_multiple=True)
    np.testing.assert_allclose(found.slopes, [0.5, 2.0], rtol=0.1)
    np.testing.assert_allclose(found.offsets, [1.0, -1.0], atol=0.15)
    given = found.probabilities(logits, is_multiple=True)
    np.testing.assert_allclose(given, true, atol=0.05)


def test_few_rows_change_little() -> None:
    found = fit_calibration(np.array([[4.0]]), np.array([[1.0]]), is_multiple=True)
    assert 0.9 < found.slopes[0] < 2


@pytest.mark.parametrize(
    "given",
    [
        {"temperature": 0.0},
        {"temperature": float("nan")},
        {"slopes": (1.0,), "offsets": ()},
        {"slopes": (float("inf"),), "offsets": (0.0,)},
    ],
)
def test_an_impossible_calibration_is_refused(given: Any) -> None:
    with pytest.raises(ValidationError):
        Calibration(**given)


# Of a student

TEXTS = ["red", "red", "blue", "blue", "green", "green"] * 4
LABELS = ("r", "b", "g", "never")
TARGETS = np.eye(4)[[0, 0, 1, 1, 2, 2] * 4]


def test_a_calibrated_student_answers_the_same_with_other_probabilities() -> None:
    student = fit_ngram(TEXTS, TARGETS, labels=LABELS)
    noisy = TARGETS.copy()
    noisy[::3] = np.roll(TARGETS[:, :3], 1, axis=1)[::3] @ np.eye(3, 4)
    after = calibrated(student, TEXTS, noisy)
    assert after.calibration.num_rows == len(TEXTS)
    assert after.calibration.temperature > student.calibration.temperature
    np.testing.assert_array_equal(after.logits(TEXTS), student.logits(TEXTS))
    given = probabilities(after, TEXTS)
    np.testing.assert_allclose(given.max(axis=1).mean(), 2 / 3, atol=0.04)
    np.testing.assert_allclose(given[:, 3], 0.5 / 26)
    np.testing.assert_allclose(given.sum(axis=1), 1)


def test_blank_texts_and_labels_never_learnt_have_no_say() -> None:
    student = fit_ngram(TEXTS, TARGETS, labels=LABELS)
    more = np.vstack([TARGETS, np.eye(4)[[1, 3]]])
    some = calibrated(student, TEXTS, TARGETS)
    all_ = calibrated(student, [*TEXTS, " ", "red"], more)
    assert all_.calibration == some.calibration


@pytest.mark.parametrize(
    ("texts", "targets", "error", "message"),
    [
        ([], np.zeros((0, 4)), DataError, "no rows"),
        (["red"], np.eye(4), ShapeError, "for 1 texts"),
        (["red"], np.full((1, 4), np.nan), DataError, "no probabilities"),
        ([" "], np.eye(4)[:1], DataError, "None of 1 rows"),
        (["red"], np.eye(4)[3:], DataError, "None of 1 rows"),
    ],
)
def test_rows_that_say_nothing_are_refused(
    texts: Any, targets: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        calibrated(fit_ngram(TEXTS, TARGETS, labels=LABELS), texts, targets)
