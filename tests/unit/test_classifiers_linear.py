"""Logistic regression on soft targets, against scipy's minimiser and hand-worked cases."""

from typing import Any

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
import scipy.special

from stillhouse.classifiers._curves import Ray, expected, row_losses
from stillhouse.classifiers._linear import LinearHead, fit_linear

# N rows, F features, L labels.

NUM_ROWS, NUM_FEATURES, NUM_LABELS = 60, 7, 4


def problem(*, is_multiple: bool, seed: int = 0) -> tuple[Any, Any, Any]:
    """Features of very different frequency, soft targets and uneven weights."""
    generator = np.random.default_rng(seed)
    scales = 10.0 ** -np.arange(NUM_FEATURES)
    features = (generator.normal(size=(NUM_ROWS, NUM_FEATURES)) * scales * 10).astype(np.float32)
    if is_multiple:
        targets = generator.uniform(size=(NUM_ROWS, NUM_LABELS)).round(1)
    else:
        targets = generator.dirichlet(np.full(NUM_LABELS, 0.3), size=NUM_ROWS)
    return features, targets, generator.uniform(0.2, 2, NUM_ROWS)


def objective(
    theta: Any, features: Any, targets: Any, weights: Any, *, l2: float, is_multiple: bool
) -> float:
    """The penalised loss, row by row."""
    theta = theta.reshape(NUM_FEATURES + 1, NUM_LABELS)
    total = l2 / 2 * (theta[:-1] ** 2).sum()
    for x, target, weight in zip(features.astype(float), targets, weights, strict=True):
        logits = x @ theta[:-1] + theta[-1]
        if is_multiple:
            p = scipy.special.expit(logits)
            loss = -(target * np.log(p) + (1 - target) * np.log1p(-p)).sum()
        else:
            loss = -(target * scipy.special.log_softmax(logits)).sum()
        total += weight * loss
    return float(total)


@pytest.mark.parametrize("is_multiple", [False, True])
@pytest.mark.parametrize("l2", [10.0, 0.1])
def test_the_head_is_the_one_that_scipy_finds(is_multiple: bool, l2: float) -> None:
    features, targets, weights = problem(is_multiple=is_multiple)
    head = fit_linear(features, targets, weights, is_multiple=is_multiple, l2=l2, tolerance=1e-6)
    arguments = (features, targets, weights)
    found = scipy.optimize.minimize(
        lambda theta: objective(theta, *arguments, l2=l2, is_multiple=is_multiple),
        np.zeros((NUM_FEATURES + 1) * NUM_LABELS),
        method="BFGS",
        options={"gtol": 1e-4},
    )
    theta = np.vstack([head.weights_FL, head.bias_L]).astype(float)
    reached = objective(theta, *arguments, l2=l2, is_multiple=is_multiple)
    assert reached == pytest.approx(found.fun, rel=1e-6)
    best = LinearHead(*np.split(found.x.reshape(-1, NUM_LABELS), [NUM_FEATURES]))
    ours = expected(head.logits(features), is_multiple=is_multiple)
    theirs = expected(best.logits(features), is_multiple=is_multiple)
    np.testing.assert_allclose(ours, theirs, atol=2e-3)


@pytest.mark.parametrize("is_multiple", [False, True])
def test_sparse_features_give_what_dense_ones_give(is_multiple: bool) -> None:
    features, targets, weights = problem(is_multiple=is_multiple)
    features[np.abs(features) < 0.5] = 0
    dense = fit_linear(features, targets, weights, is_multiple=is_multiple, l2=0.5)
    sparse = fit_linear(
        scipy.sparse.csr_array(features), targets, weights, is_multiple=is_multiple, l2=0.5
    )
    np.testing.assert_allclose(sparse.weights_FL, dense.weights_FL, rtol=1e-3, atol=1e-4)


def test_a_row_that_weighs_two_is_as_good_as_two_rows() -> None:
    features, targets, _ = problem(is_multiple=False)
    weights = np.ones(NUM_ROWS)
    weights[:10] = 2
    once = fit_linear(features, targets, weights, is_multiple=False, l2=1.0, tolerance=1e-5)
    twice = fit_linear(
        np.vstack([features, features[:10]]),
        np.vstack([targets, targets[:10]]),
        np.ones(NUM_ROWS + 10),
        is_multiple=False,
        l2=1.0,
        tolerance=1e-5,
    )
    np.testing.assert_allclose(once.weights_FL, twice.weights_FL, atol=2e-3)


def test_without_features_the_bias_gives_the_mean_target() -> None:
    targets = np.array([[0.5, 0.5, 0.0], [0.0, 0.25, 0.75]])
    head = fit_linear(
        np.zeros((2, 1), dtype=np.float32),
        targets,
        np.array([1.0, 3.0]),
        is_multiple=False,
        l2=1.0,
        tolerance=1e-6,
    )
    given = expected(head.bias_L[None].astype(float), is_multiple=False)
    np.testing.assert_allclose(given, [[0.125, 0.3125, 0.5625]], atol=1e-5)


def test_a_warm_start_reaches_the_same_head() -> None:
    features, targets, weights = problem(is_multiple=False)
    options: dict[str, Any] = {"is_multiple": False, "tolerance": 1e-5}
    first = fit_linear(features, targets, weights, l2=10.0, **options)
    warm = fit_linear(features, targets, weights, l2=0.5, start=first, **options)
    cold = fit_linear(features, targets, weights, l2=0.5, **options)
    np.testing.assert_allclose(
        expected(warm.logits(features), is_multiple=False),
        expected(cold.logits(features), is_multiple=False),
        atol=2e-3,
    )


def test_a_base_is_part_of_the_logits_that_are_fitted() -> None:
    features, targets, weights = problem(is_multiple=False)
    base = np.log(targets + 1e-9)  # already right: nothing is left to learn
    head = fit_linear(features, targets, weights, is_multiple=False, l2=1.0, base_NL=base)
    np.testing.assert_allclose(head.weights_FL, 0, atol=1e-3)


def test_rows_that_can_be_separated_give_finite_weights() -> None:
    features = np.array([[1.0], [-1.0]], dtype=np.float32)
    head = fit_linear(features, np.eye(2), np.ones(2), is_multiple=False, l2=1e-6)
    assert np.isfinite(head.weights_FL).all()
    assert (head.logits(features).argmax(axis=1) == [0, 1]).all()


# The line


def ray(change: Any, *, is_multiple: bool = False, **penalty: float) -> Ray:
    _, targets, weights = problem(is_multiple=is_multiple)
    logits = np.random.default_rng(3).normal(size=targets.shape)
    return Ray(logits, change, targets, weights, is_multiple, **penalty)


@pytest.mark.parametrize("is_multiple", [False, True])
@pytest.mark.parametrize("length", [0.01, 1.0, 1000.0])
def test_the_best_step_is_the_one_that_scipy_finds(is_multiple: bool, length: float) -> None:
    _, targets, weights = problem(is_multiple=is_multiple)
    line = ray((targets - 0.3) * length, is_multiple=is_multiple, slope=-0.1, curvature=0.5)

    def loss(step: float) -> float:
        logits = line.logits_NL + step * line.change_NL
        rows = row_losses(logits, targets, is_multiple=is_multiple)
        return float(weights @ rows - 0.1 * step + 0.25 * step**2)

    best = scipy.optimize.minimize_scalar(loss, bounds=(0, 2000), method="bounded")
    found = line.best_step(tolerance=1e-8)
    assert loss(found) <= best.fun * (1 + 1e-9)


def test_a_ray_that_leads_up_has_no_step() -> None:
    _, targets, _ = problem(is_multiple=False)
    assert ray(-(targets - 0.3)).best_step(tolerance=1e-3) == 0


@pytest.mark.parametrize("is_multiple", [False, True])
def test_losses_are_those_of_a_naive_loop_and_finite_where_probabilities_vanish(
    is_multiple: bool,
) -> None:
    logits = np.array([[0.3, -2.0, 1.0], [900.0, 0.0, -900.0]])
    targets = np.array([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]])
    given = row_losses(logits, targets, is_multiple=is_multiple)
    if is_multiple:
        p = 1 / (1 + np.exp(-logits[0]))
        first = -(targets[0] * np.log(p) + (1 - targets[0]) * np.log(1 - p)).sum()
        assert given[1] == pytest.approx(np.log(2))
    else:
        p = np.exp(logits[0]) / np.exp(logits[0]).sum()
        first = -(targets[0] * np.log(p)).sum()
        assert given[1] == 0
    assert given[0] == pytest.approx(first)
