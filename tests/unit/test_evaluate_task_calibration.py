"""What confidence is worth: bins, what is left without the unsure, and one message of a group."""

import evaluate_task_cases as cases
import numpy as np
import pytest

from stillhouse.evaluate._task._measure._calibration import (
    Confident,
    calibration_of,
    one_of_each,
)
from stillhouse.evaluate._task._measure._estimates import Estimator


def confident(
    confidence_N: np.ndarray, score_N: np.ndarray, *, is_binary: bool = True
) -> Confident:
    return Confident(confidence_N, score_N.astype(np.float64), is_binary, is_probability=is_binary)


def alone(number: int) -> Estimator:
    return Estimator(np.array([f"message {n}" for n in range(number)]), 200, 0)


def simulated(number: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    confidence_N = generator.uniform(0.2, 1.0, number)
    return confidence_N, generator.random(number) < confidence_N


def test_a_calibrated_student_has_bins_on_the_diagonal_and_an_error_near_zero() -> None:
    confidence_N, right_N = simulated(4_000)
    found = calibration_of(confident(confidence_N, right_N), alone(4_000), num_bins=10)
    assert found is not None
    assert len(found.bins) == 10
    assert all(
        b.agreement.low - 0.02 <= b.confidence <= b.agreement.high + 0.02 for b in found.bins
    )
    assert found.calibration_error is not None
    assert found.calibration_error.low == 0.0
    assert found.calibration_error.value < 0.02


def test_the_area_and_the_risk_are_those_of_a_naive_count() -> None:
    confidence_N, right_N = simulated(300)
    found = calibration_of(confident(confidence_N, right_N), alone(300), num_bins=5)
    assert found is not None
    pairs = [
        (a > b) + 0.5 * (a == b) for a in confidence_N[right_N] for b in confidence_N[~right_N]
    ]
    assert found.auroc is not None
    assert found.auroc.value == pytest.approx(np.mean(pairs))
    for point in found.risk_coverage:
        kept_N = confidence_N >= point.threshold
        assert point.coverage == pytest.approx(kept_N.mean())
        assert point.risk.value == pytest.approx(1 - right_N[kept_N].mean())
        assert point.risk.n == kept_N.sum() >= 10
    assert found.risk_coverage[-1].coverage == 1.0


def test_of_each_group_one_message_counts() -> None:
    confidence_N, right_N = simulated(400)
    grouped = Estimator(np.array([f"group {n // 4}" for n in range(400)]), 200, 0)
    found = calibration_of(confident(confidence_N, right_N), grouped, num_bins=5)
    assert found is not None
    assert sum(one.agreement.n for one in found.bins) == 100
    assert one_of_each(np.array(["b", "a", "b", "c"])).tolist() == [0, 1, 3]


def test_confidences_that_do_not_vary_or_are_few_have_no_curve() -> None:
    constant = confident(np.full(100, 0.7), np.arange(100) % 2)
    assert calibration_of(constant, alone(100), num_bins=5) is None
    few = confident(*simulated(10))
    assert calibration_of(few, alone(10), num_bins=5) is None


def test_answers_of_one_kind_have_no_area_but_a_risk() -> None:
    confidence_N, _ = simulated(100)
    found = calibration_of(confident(confidence_N, np.ones(100)), alone(100), num_bins=5)
    assert found is not None
    assert found.auroc is None
    assert found.risk_coverage[-1].risk.value == 0.0
    assert found.risk_coverage[-1].risk.high > 0.02


def test_graded_scores_have_a_risk_and_no_claim_of_calibration() -> None:
    generator = np.random.default_rng(1)
    confidence_N = generator.uniform(0.2, 1.0, 400)
    score_N = np.clip(confidence_N + generator.normal(0, 0.1, 400), 0, 1)
    graded = confident(confidence_N, score_N, is_binary=False)
    found = calibration_of(graded, alone(400), num_bins=5)
    assert found is not None
    assert found.calibration_error is None
    assert found.auroc is None
    risks = [point.risk.value for point in found.risk_coverage]
    assert risks[0] < risks[-1] == pytest.approx(1 - score_N.mean())
    surest = np.sort(confidence_N)[::-1]
    for point in found.risk_coverage:
        assert point.threshold == surest[round(point.coverage * 400) - 1]


def test_an_extraction_is_right_where_all_of_it_is() -> None:
    held_out = cases.extraction_held_out()
    given = cases.extractions(held_out, 0.05, seed=1)
    systems = [cases.measured(held_out, given, name="s", answered_by="json")]
    results = cases.conclusions(held_out, systems)
    calibration = results.student.calibration
    document = results.student.document
    assert calibration is not None
    assert document is not None
    assert document.agreement is not None
    assert 1 - calibration.risk_coverage[-1].risk.value == pytest.approx(document.agreement.value)
