"""False discovery rates: against plain definitions, and by what they promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.errors import DataError
from stillhouse.statistics import (
    benjamini_hochberg,
    benjamini_yekutieli,
    e_benjamini_hochberg,
    e_value,
)

P_VALUES = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30)


def rejected_by_definition(p_values: list[float], rate: float, factor: float = 1.0) -> set[int]:
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    last = 0
    for place, number in enumerate(order, start=1):
        if p_values[number] * factor * len(p_values) / place <= rate:
            last = place
    return set(order[:last])


@given(P_VALUES, st.sampled_from([0.01, 0.05, 0.1, 0.2, 0.5]))
def test_adjusted_values_reject_what_the_step_up_definition_rejects(
    p_values: list[float], rate: float
) -> None:
    harmonic = sum(1 / n for n in range(1, len(p_values) + 1))
    for adjusted, factor in (
        (benjamini_hochberg(p_values), 1.0),
        (benjamini_yekutieli(p_values), harmonic),
    ):
        least = {n for n, p in enumerate(p_values) if adjusted[n] <= rate}
        wanted = rejected_by_definition(p_values, rate, factor)
        # Equal p-values stand or fall together; the definition may cut between them.
        assert wanted <= least
        assert {p_values[n] for n in least} == {p_values[n] for n in wanted}


@given(P_VALUES)
def test_yekutieli_is_never_below_hochberg_and_both_keep_the_order(p_values: list[float]) -> None:
    one, other = benjamini_hochberg(p_values), benjamini_yekutieli(p_values)
    assert (one <= other).all()
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(one[order]) >= 0).all()


def test_the_false_discovery_rate_is_kept_and_nearly_used() -> None:
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(2_000):
        p_M = rng.random(100)
        p_M[:30] = p_M[:30] ** 8  # not true
        found = benjamini_hochberg(p_M) <= 0.2
        shares.append(found[30:].sum() / max(found.sum(), 1))
    assert 0.12 < np.mean(shares) < 0.155  # 0.2 times the 70 % that are true


def test_e_values_of_uniform_p_values_have_mean_one() -> None:
    # With p = exp(-t) the integrand falls as 1 / t ** 2, so that the rest beyond t is 1 / t.
    t_M = np.linspace(1e-3, 30, 300_001)
    p_M = np.exp(-t_M)
    assert np.trapezoid(e_value(p_M) * p_M, t_M) + 1 / 30 == pytest.approx(1.0, abs=1e-3)


@given(st.floats(1e-12, 1.0), st.floats(1e-12, 1.0))
def test_smaller_p_values_have_larger_e_values(one: float, other: float) -> None:
    low, high = sorted((one, other))
    first, second = e_value([low, high])
    assert first >= second * (1 - 1e-6)


def test_e_values_are_rejected_at_m_over_q_k() -> None:
    adjusted = e_benjamini_hochberg([100.0, 50.0, 1.0, 0.0])
    assert adjusted.tolist() == pytest.approx([0.04, 0.04, 1.0, 1.0])


@pytest.mark.parametrize(
    ("call", "values"),
    [
        (benjamini_hochberg, [0.1, 1.2]),
        (benjamini_yekutieli, [-0.1]),
        (e_benjamini_hochberg, [-1.0]),
        (e_value, [0.0]),
        (e_value, []),
    ],
)
def test_what_is_no_such_value_is_refused(call: object, values: list[float]) -> None:
    with pytest.raises(DataError):
        call(values)  # type: ignore[operator]
