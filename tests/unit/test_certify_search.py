"""Rules that calibration rows certify: what is tested, how often it is wrong, how it refuses."""

import numpy as np
import pytest

from stillhouse.cascade import CascadeRule
from stillhouse.certify import (
    Calibration,
    CertifyConfig,
    certified_rule,
    fixed_grid,
    quantile_grid,
)
from stillhouse.errors import DataError, NotCertifiedError, ShapeError
from stillhouse.statistics import betting_upper_bound, fraction_upper_bound


def population(number: int, seed: int, *, graded: bool = False) -> Calibration:
    """A student whose confidence is right, on average: a third of its answers differ below 0.5."""
    rng = np.random.default_rng(seed)
    confidences = rng.beta(4, 1, number)
    differs = rng.random(number) > confidences
    losses = np.where(differs, rng.random(number) if graded else 1.0, 0.0)
    is_familiar = rng.random(number) < 0.98
    return Calibration(confidences, is_familiar, losses, is_binary=not graded)


def rule_of(calibration: Calibration, **settings: float) -> CascadeRule:
    config = CertifyConfig.model_validate(settings)
    return certified_rule(calibration, fixed_grid(200), novelty_threshold=0.3, config=config)


def true_risk(threshold: float, *, graded: bool) -> float:
    """The integral of 1 - c over confidences of Beta(4, 1) from the threshold on."""
    loss = (1 - threshold**4) - 0.8 * (1 - threshold**5)
    return 0.98 * loss * (0.5 if graded else 1.0)


@pytest.mark.parametrize("graded", [False, True])
def test_certified_rules_exceed_their_target_as_seldom_as_was_said(graded: bool) -> None:
    breaches, runs = 0, 150 if graded else 400
    config = CertifyConfig(target=0.96 if graded else 0.93)
    grid = np.linspace(0.9, 0.3, 120)  # fine enough for a certified risk next to the target
    for seed in range(runs):
        calibration = population(800, seed, graded=graded)
        rule = certified_rule(calibration, grid, novelty_threshold=0.3, config=config)
        breaches += true_risk(rule.threshold, graded=graded) > 1 - rule.target
    assert 0 < breaches / runs <= 0.05  # and not bought by certifying nothing


def test_the_threshold_is_the_lowest_before_the_first_that_fails() -> None:
    calibration, config = population(2_000, 0), CertifyConfig(target=0.93)
    grid = fixed_grid(200)
    rule = certified_rule(calibration, grid, novelty_threshold=0.3, config=config)
    place = grid.tolist().index(rule.threshold)
    errors = [int(calibration.lost_N(threshold).sum()) for threshold in grid]
    assert (
        fraction_upper_bound(errors[place], 2_000)
        <= 0.07
        < fraction_upper_bound(errors[place + 1], 2_000)
    )
    found = rule.certificate
    assert found.bound == fraction_upper_bound(errors[place], 2_000)
    assert found.loss == errors[place]
    assert found.answered == calibration.answered_N(rule.threshold).sum()
    assert found.coverage.low < found.coverage.value < found.coverage.high
    assert found.escalation == pytest.approx(1 - found.answered / 2_000)
    assert found.refused_unfamiliar == (~calibration.is_familiar_N).sum()
    assert found.method == "clopper_pearson"


def test_graded_losses_get_a_betting_bound() -> None:
    calibration = population(2_000, 1, graded=True)
    rule = rule_of(calibration, target=0.95)
    lost = calibration.lost_N(rule.threshold)
    assert rule.certificate.method == "betting"
    assert rule.certificate.bound == betting_upper_bound(lost) <= 0.05
    assert rule.certificate.loss == pytest.approx(lost.sum())


def test_answers_that_are_missing_or_unfamiliar_cost_nothing_and_are_never_given() -> None:
    confidences = np.array([np.nan, 0.9, 0.9] * 200)
    is_familiar = np.array([True, False, True] * 200)
    losses = np.array([1.0, 1.0, 0.0] * 200)
    rule = rule_of(Calibration(confidences, is_familiar, losses, is_binary=True))
    assert rule.threshold == 0.0
    assert rule.certificate.answered == 200
    assert rule.certificate.loss == 0


def test_quantiles_of_other_rows_are_a_grid_that_ends_with_everything() -> None:
    grid = quantile_grid([0.2, 0.9, 0.5], 5)
    assert grid[0] == 0.9
    assert grid[-2:].tolist() == [0.2, 0.0]
    assert (np.diff(grid) <= 0).all()
    assert (np.diff(fixed_grid(200)) < 0).all()
    assert fixed_grid(200)[0] > 0.999


def test_too_few_rows_are_refused_and_the_message_says_how_many_would_do() -> None:
    perfect = Calibration(np.full(60, 0.9), np.full(60, True), np.zeros(60), is_binary=True)
    with pytest.raises(NotCertifiedError, match=r"about 99 independent rows would do") as refused:
        rule_of(perfect, target=0.97)
    assert "60 rows do not certify 0.97 agreement at 0.95" in str(refused.value)
    assert "target=0.951" in str(refused.value)  # 1 - 0.05**(1 / 60), rounded down
    again = Calibration(np.full(99, 0.9), np.full(99, True), np.zeros(99), is_binary=True)
    assert rule_of(again, target=0.97).threshold == 0.0
    assert rule_of(perfect, target=0.951).certificate.bound <= 0.049


def test_a_student_that_is_surely_wrong_is_refused_whatever_the_number_of_rows() -> None:
    rng = np.random.default_rng(0)
    losses = (rng.random(1_000) < 0.2).astype(float)
    flat = Calibration(np.full(1_000, 0.9), np.full(1_000, True), losses, is_binary=True)
    with pytest.raises(NotCertifiedError, match="no number of rows would do") as refused:
        rule_of(flat, target=0.97)
    shown = str(refused.value)
    suggested = float(shown.split("target=")[1].split(" ")[0])
    assert rule_of(flat, target=suggested).threshold == 0.0
    with pytest.raises(NotCertifiedError):
        rule_of(flat, target=suggested + 0.002)


def test_graded_rows_that_are_too_few_are_told_how_many_would_do() -> None:
    rng = np.random.default_rng(1)
    losses = np.where(rng.random(4_000) < 0.03, 0.5, 0.0)
    few = Calibration(np.full(150, 0.9), np.full(150, True), losses[:150], is_binary=False)
    with pytest.raises(NotCertifiedError, match=r"about ([\d,]+) independent rows") as refused:
        rule_of(few, target=0.975)
    needed = int(str(refused.value).split("about ")[1].split(" ")[0].replace(",", ""))
    assert 150 < needed < 4_000
    more = Calibration(np.full(4_000, 0.9), np.full(4_000, True), losses, is_binary=False)
    assert rule_of(more, target=0.975).threshold == 0.0


def test_a_student_that_knows_none_of_the_texts_is_refused() -> None:
    strange = Calibration(np.full(500, 0.9), np.full(500, False), np.zeros(500), is_binary=True)
    with pytest.raises(NotCertifiedError, match="only 0 have a text like"):
        rule_of(strange)


def test_a_rule_that_answers_hardly_anything_is_refused() -> None:
    confidences = np.where(np.arange(1_000) < 50, 0.99, 0.2)
    losses = np.where(np.arange(1_000) < 50, 0.0, 1.0)
    calibration = Calibration(confidences, np.full(1_000, True), losses, is_binary=True)
    assert rule_of(calibration).certificate.answered == 50
    with pytest.raises(NotCertifiedError, match=r"surest 100\.0%"):
        rule_of(calibration, min_coverage=0.1)


def test_rows_that_are_none_are_refused() -> None:
    flags = np.full(2, True)
    with pytest.raises(ShapeError, match="shapes"):
        Calibration(np.ones(3), flags, np.zeros(2), is_binary=True)
    with pytest.raises(DataError, match="no rows"):
        Calibration(np.ones(0), np.full(0, True), np.zeros(0), is_binary=True)
    with pytest.raises(DataError, match="losses are not all"):
        Calibration(np.ones(2), flags, np.full(2, 1.5), is_binary=False)
    with pytest.raises(DataError, match="confidences are not all"):
        Calibration(np.full(2, -0.5), flags, np.zeros(2), is_binary=True)
    with pytest.raises(DataError, match="as graded"):
        Calibration(np.ones(2), flags, np.full(2, 0.5), is_binary=True)
    with pytest.raises(DataError, match="strictest first"):
        certified_rule(
            Calibration(np.ones(2), flags, np.zeros(2), is_binary=True),
            [0.1, 0.2],
            novelty_threshold=0.3,
            config=CertifyConfig(),
        )
