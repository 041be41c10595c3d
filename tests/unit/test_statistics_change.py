"""Detectors of change against their definition, and their promises by simulation."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest

from stillhouse.errors import ConfigError, DataError, ShapeError
from stillhouse.statistics import (
    BreachDetector,
    BreachState,
    DriftDetector,
    DriftState,
    EDetector,
    expected_breach_delay,
)


def audits_to_alarm(detector: BreachDetector, losses: np.ndarray) -> int:
    """How many losses until the first alarm; one more than there are where none comes."""
    return next(
        (time for time, loss in enumerate(losses.tolist(), 1) if detector.observe(loss)),
        len(losses) + 1,
    )


def requests_to_alarm(detector: DriftDetector, *streams: np.ndarray) -> int:
    for time, values in enumerate(zip(*(one.tolist() for one in streams), strict=True), 1):
        if detector.observe(*values):
            return time
    return len(streams[0]) + 1


def test_the_sum_stakes_one_new_unit_with_every_observation() -> None:
    e_values = np.array([[0.5, 2.0], [3.0, 1.0], [0.1, 4.0], [2.0, 0.5]])
    detector = EDetector(2, average_run_length=100.0)
    sums = np.zeros(2)
    assert detector.log_evidence == -math.inf
    for e_K in e_values:
        detector.observe(np.log(e_K))
        sums = (sums + 1) * e_K
        assert detector.log_evidence == pytest.approx(math.log(sums.mean()))
    # By definition: the sum over all starts of the product of what came since.
    starts = [e_values[start:].prod(axis=0) for start in range(4)]
    assert sums == pytest.approx(np.sum(starts, axis=0))


def test_an_alarm_stands_where_the_evidence_reaches_the_run_length() -> None:
    detector = EDetector(1, average_run_length=2.9)
    for number in (1, 2, 3):
        detector.observe(np.zeros(1))  # e-values of 1: the sum counts observations
        assert detector.is_alarm is (number == 3)


def test_breach_e_values_are_worth_one_where_the_mean_loss_is_the_target() -> None:
    target = 0.03
    fair = BreachDetector(target, average_run_length=1e9)
    wins, losses = BreachDetector(target, average_run_length=1e9), fair
    wins.observe(1.0)
    losses.observe(0.0)
    expected = target * math.exp(wins.log_evidence) + (1 - target) * math.exp(losses.log_evidence)
    assert expected == pytest.approx(1.0)


def test_false_alarms_of_a_breach_are_no_more_frequent_than_promised() -> None:
    rng = np.random.default_rng(0)
    promised, longest = 200.0, 3_000
    lengths = [
        audits_to_alarm(
            BreachDetector(0.05, average_run_length=promised),
            (rng.random(longest) < 0.05).astype(float),
        )
        for _ in range(150)
    ]
    # Cut at `longest`, the mean is a lower bound, so it is the stricter test of the promise.
    assert np.mean(lengths) >= promised
    assert np.mean(lengths) < 8 * promised  # and not bought by never speaking up


def test_graded_losses_make_no_more_false_alarms() -> None:
    rng = np.random.default_rng(1)
    lengths = [
        audits_to_alarm(BreachDetector(0.1, average_run_length=200.0), rng.beta(0.2, 1.8, 2_000))
        for _ in range(100)
    ]
    assert np.mean(lengths) >= 200.0


@pytest.mark.parametrize("risk", [0.1, 0.3, 1.0])
def test_a_breach_is_noticed_about_as_fast_as_can_be(risk: float) -> None:
    rng = np.random.default_rng(2)
    target, run_length = 0.03, 10_000.0
    delays = [
        audits_to_alarm(
            BreachDetector(target, average_run_length=run_length),
            (rng.random(3_000) < risk).astype(float),
        )
        for _ in range(60)
    ]
    about = expected_breach_delay(target, risk, average_run_length=run_length)
    assert about / 2 < np.mean(delays) < 2 * about + 2


def test_a_breach_detector_goes_on_where_it_stopped() -> None:
    losses = (np.random.default_rng(3).random(400) < 0.1).astype(float).tolist()
    whole = BreachDetector(0.05, average_run_length=1e6)
    first = BreachDetector(0.05, average_run_length=1e6)
    for loss in losses:
        whole.observe(loss)
    for loss in losses[:150]:
        first.observe(loss)
    kept = json.loads(json.dumps(asdict(first.state()), allow_nan=False))
    second = BreachDetector(0.05, average_run_length=1e6)
    second.resume(BreachState(**{**kept, "log_sums": tuple(kept["log_sums"])}))
    for loss in losses[150:]:
        second.observe(loss)
    assert second.state() == whole.state()


def test_what_is_no_loss_and_no_state_is_refused() -> None:
    detector = BreachDetector(0.05, average_run_length=100.0)
    for loss in (-0.1, 1.1, math.nan):
        with pytest.raises(DataError, match="not in"):
            detector.observe(loss)
    with pytest.raises(ConfigError, match="target"):
        BreachDetector(0.0, average_run_length=100.0)
    with pytest.raises(ConfigError, match="average_run_length"):
        BreachDetector(0.1, average_run_length=1.0)
    with pytest.raises(DataError, match="2 sums"):
        detector.resume(BreachState((0.0, 0.0), 0, 0.0))
    with pytest.raises(DataError, match="cannot be"):
        detector.resume(BreachState(detector.state().log_sums, 1, 2.0))
    with pytest.raises(ConfigError, match="no breach"):
        expected_breach_delay(0.1, 0.1, average_run_length=100.0)


def test_false_alarms_of_drift_are_no_more_frequent_than_promised() -> None:
    rng = np.random.default_rng(4)
    promised, longest = 200.0, 1_500
    lengths = []
    for seed in range(100):
        # A small calibration set, confidences with ties, and two streams that hang together.
        values = np.round(rng.beta(5, 1, 60 + longest), 2)
        novelty = np.clip(1 - values + rng.normal(0, 0.05, len(values)), 0, 1)
        detector = DriftDetector(
            [values[:60], novelty[:60]], average_run_length=promised, seed=seed
        )
        lengths.append(requests_to_alarm(detector, values[60:], novelty[60:]))
    assert np.mean(lengths) >= promised


def test_ranks_of_exchangeable_values_are_uniform_and_independent() -> None:
    rng = np.random.default_rng(5)
    p_values = []
    for seed in range(400):
        values = np.round(rng.beta(2, 1, 25), 1)  # ten distinct values: ties everywhere
        detector = DriftDetector([values[:20]], average_run_length=1e9, seed=seed)
        for value in values[20:].tolist():
            detector.observe(value)
            p_values.extend(detector.p_values)
    ranks = np.array(p_values).reshape(400, 5)
    assert abs(ranks.mean() - 0.5) < 0.02
    assert np.abs(np.sort(ranks.ravel()) - np.linspace(0, 1, ranks.size)).max() < 0.03
    correlations = np.corrcoef(ranks.T)[np.triu_indices(5, 1)]
    assert np.abs(correlations).max() < 0.15


@pytest.mark.parametrize("factor", [0.6, 1.6])
def test_a_shift_is_noticed_soon_whichever_way_it_goes(factor: float) -> None:
    rng = np.random.default_rng(6)
    delays = []
    for seed in range(20):
        calibration = rng.beta(4, 2, 500)
        detector = DriftDetector([calibration], average_run_length=10_000.0, seed=seed)
        before = rng.beta(4, 2, 300)
        assert requests_to_alarm(detector, before) == 301
        shifted = rng.beta(4 * factor, 2 / factor, 400)
        delays.append(requests_to_alarm(detector, shifted))
    assert np.median(delays) < 80
    assert max(delays) < 250


def test_the_same_values_give_the_same_evidence_and_a_drift_detector_resumes() -> None:
    rng = np.random.default_rng(7)
    calibration, values = rng.random(100), rng.random(60).tolist()
    whole = DriftDetector([calibration], average_run_length=1e6, seed=3)
    first = DriftDetector([calibration], average_run_length=1e6, seed=3)
    for value in values:
        whole.observe(value)
    for value in values[:20]:
        first.observe(value)
    kept = json.loads(json.dumps(asdict(first.state()), allow_nan=False))
    second = DriftDetector([calibration], average_run_length=1e6, seed=3)
    second.resume(
        DriftState(
            tuple(kept["log_sums"]), kept["num_observed"], tuple(map(tuple, kept["counts_SC"]))
        )
    )
    for value in values[20:]:
        second.observe(value)
    assert second.state() == whole.state()


def test_ends_of_the_range_are_values_like_others() -> None:
    detector = DriftDetector([[0.0, 1.0, 1.0, 0.5]], average_run_length=100.0)
    for value in (0.0, 1.0, 0.5):
        detector.observe(value)
    assert math.isfinite(detector.log_evidence)


def test_values_and_streams_that_cannot_be_are_refused() -> None:
    with pytest.raises(DataError, match="no stream"):
        DriftDetector([], average_run_length=100.0)
    with pytest.raises(DataError, match="calibration run from"):
        DriftDetector([[0.5, 1.5]], average_run_length=100.0)
    detector = DriftDetector([[0.5, 0.6]], average_run_length=100.0)
    with pytest.raises(ShapeError, match="2 values for 1 streams"):
        detector.observe(0.1, 0.2)
    with pytest.raises(DataError, match="values"):
        detector.observe(1.2)
    with pytest.raises(DataError, match="cells"):
        detector.resume(DriftState((None,) * 8, 0, ((1, 2),)))
