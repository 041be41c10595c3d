"""Rules that decide, and a watch that notices when they no longer hold."""

import math

import numpy as np
import pytest
from cascade_cases import rule

from stillhouse.cascade import CascadeWatch, WatchConfig, WatchSnapshot, answer_confidence
from stillhouse.errors import ConfigError, DataError

SOON = WatchConfig(drift_run_length=2_000.0, breach_run_length=500.0)


def calibration(number: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.beta(5, 1, number), rng.beta(1, 8, number)


def watch(config: WatchConfig = SOON) -> CascadeWatch:
    return CascadeWatch(rule(), *calibration(), config=config)


def serve(watched: CascadeWatch, confidences: np.ndarray, novelties: np.ndarray) -> int:
    """How many requests until it no longer serves; one more than there are where it goes on."""
    for number, (confidence, novelty) in enumerate(
        zip(confidences.tolist(), novelties.tolist(), strict=True), 1
    ):
        decision = watched.decide(confidence, novelty)
        if watched.observe_request(confidence, decision.route, novelty=novelty) != "serving":
            return number
    return len(confidences) + 1


@pytest.mark.parametrize(
    ("confidence", "novelty", "route", "reason"),
    [
        (0.6, 0.3, "student", "confident"),
        (0.599, 0.3, "teacher", "unsure"),
        (0.99, 0.301, "teacher", "unfamiliar"),
        (0.1, 0.9, "teacher", "unfamiliar"),
        (None, 0.0, "teacher", "no_answer"),
    ],
)
def test_the_student_answers_what_is_sure_and_familiar(
    confidence: float | None, novelty: float, route: str, reason: str
) -> None:
    decision = rule().decide(confidence, novelty)
    assert (decision.route, decision.reason) == (route, reason)


@pytest.mark.parametrize(("confidence", "novelty"), [(1.1, 0.0), (math.nan, 0.0), (0.5, -0.1)])
def test_what_is_no_confidence_is_an_error_and_no_answer(confidence: float, novelty: float) -> None:
    with pytest.raises(DataError, match="not in"):
        rule().decide(confidence, novelty)


def test_the_confidence_of_a_text_is_its_mean_probability() -> None:
    assert answer_confidence([math.log(0.5), math.log(0.125)]) == pytest.approx(0.25)
    assert answer_confidence([1e-9]) == 1.0
    for logprobs in ([], [math.nan]):
        with pytest.raises(DataError, match="no confidence"):
            answer_confidence(logprobs)


def test_requests_like_the_calibration_rows_are_served_on() -> None:
    watched = watch()
    assert serve(watched, *calibration(1_000, seed=1)) == 1_001
    status = watched.status()
    assert (status.state, status.cause) == ("serving", None)
    assert status.counts.requests == 1_000
    expected = sum(
        rule().decide(*pair).route == "teacher"
        for pair in zip(*calibration(1_000, seed=1), strict=True)
    )
    assert status.escalation == pytest.approx(expected / 1_000)
    assert 0 <= status.drift_evidence < 1


def test_drift_sends_everything_to_the_teacher_until_a_reset() -> None:
    watched = watch()
    rng = np.random.default_rng(2)
    serve(watched, *calibration(200, seed=3))
    assert serve(watched, rng.beta(2, 2, 300), rng.beta(2, 5, 300)) < 60
    assert (watched.state, watched.status().cause) == ("fallen_back", "drift")
    assert watched.decide(1.0, 0.0).reason == "fallen_back"
    assert watched.observe_request(1.0, "teacher") == "fallen_back"
    watched.reset()
    assert watched.decide(1.0, 0.0).route == "student"
    assert watched.status().counts.requests == 0
    assert serve(watched, *calibration(300, seed=4)) == 301


def test_drift_may_only_raise_an_alarm_and_more_audits() -> None:
    watched = watch(SOON.model_copy(update={"on_drift": "alarm"}))
    ids = [f"request {number}" for number in range(4_000)]
    before = {name for name in ids if watched.is_audited(name)}
    serve(watched, np.full(300, 0.3), np.full(300, 0.5))
    assert watched.state == "alarm"
    assert watched.decide(1.0, 0.0).route == "student"
    during = {name for name in ids if watched.is_audited(name)}
    assert before < during
    assert len(before) / 4_000 == pytest.approx(0.02, abs=0.008)
    assert len(during) / 4_000 == pytest.approx(0.2, abs=0.02)


def test_audits_above_the_target_are_a_breach_and_below_it_none() -> None:
    rng = np.random.default_rng(5)
    watched = watch()
    for loss in (rng.random(500) < 0.03).astype(float).tolist():
        assert watched.observe_audit(loss) == "serving"
    losses = (rng.random(200) < 0.3).astype(float).tolist()
    moved = next(n for n, loss in enumerate(losses, 1) if watched.observe_audit(loss) != "serving")
    assert moved < 60
    status = watched.status()
    assert (status.state, status.cause, status.breach_evidence) == ("fallen_back", "breach", 1.0)
    assert status.audited_loss == pytest.approx(status.counts.loss / status.counts.audits)
    assert status.tolerated_loss == pytest.approx(0.05)


def test_the_audited_slice_is_the_same_in_every_process_and_depends_on_the_seed() -> None:
    ids = [f"id-{number}" for number in range(2_000)]
    first = [watch().is_audited(name) for name in ids]
    assert first == [watch().is_audited(name) for name in ids]
    other = watch(SOON.model_copy(update={"seed": 1}))
    assert first != [other.is_audited(name) for name in ids]


def test_a_restarted_watch_goes_on_as_if_nothing_had_happened() -> None:
    confidences, novelties = calibration(300, seed=6)
    losses = (np.random.default_rng(7).random(100) < 0.05).astype(float).tolist()
    whole, first = watch(), watch()
    serve(whole, confidences, novelties)
    serve(first, confidences[:120], novelties[:120])
    for loss in losses:
        whole.observe_audit(loss)
        first.observe_audit(loss)
    text = first.snapshot().model_dump_json()
    second = watch()
    second.restore(WatchSnapshot.model_validate_json(text))
    serve(second, confidences[120:], novelties[120:])
    assert second.snapshot() == whole.snapshot()


def test_a_snapshot_of_another_rule_or_a_damaged_one_is_refused() -> None:
    snapshot = watch().snapshot()
    other = CascadeWatch(rule(threshold=0.7), *calibration(), config=SOON)
    with pytest.raises(ConfigError, match="another rule"):
        other.restore(snapshot)
    with pytest.raises(ConfigError, match="other settings"):
        watch(WatchConfig()).restore(snapshot)
    damaged = snapshot.model_copy(update={"state": "fallen_back"})
    with pytest.raises(DataError, match="damaged"):
        watch().restore(damaged)


def test_a_watch_without_calibration_rows_is_refused() -> None:
    with pytest.raises(DataError, match="calibration is empty"):
        CascadeWatch(rule(), [], [])
