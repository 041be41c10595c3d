"""Intervals where a bootstrap has nothing to vary."""

import pytest

from stillhouse.evaluate._config import EvaluateConfig
from stillhouse.evaluate._estimates import Estimator

GROUPS = ["a", "a", "b", "c", "d"]
LOOP = "over and over and over and over and over and over"


@pytest.mark.parametrize(
    ("texts", "value", "low", "high"),
    [(["once"] * 5, 0.0, 0.0, 0.6024), ([LOOP] * 5, 1.0, 0.3976, 1.0)],
    ids=["none loops", "all loop"],
)
def test_the_interval_of_a_constant_fraction_is_exact_over_groups(
    texts: list[str], value: float, low: float, high: float
) -> None:
    # Clopper-Pearson for 0 of 4 groups: 1 - 0.025 ** (1 / 4).
    estimate = Estimator(GROUPS, EvaluateConfig(num_resamples=100))._looping(texts)
    assert (estimate.value, estimate.n, estimate.num_clusters) == (value, 5, 4)
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=1e-4)


def test_a_fraction_that_varies_is_resampled_by_group() -> None:
    texts = [LOOP, LOOP, "once", "once", "once"]
    estimate = Estimator(GROUPS, EvaluateConfig(num_resamples=200))._looping(texts)
    assert estimate.value == pytest.approx(0.4)
    assert estimate.low < 0.4 < estimate.high
