"""Kappa and Holm against published examples and naive definitions."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.errors import ConfigError, DataError, ShapeError
from stillhouse.statistics import cohen_kappa, holm


def table_rows(table: list[list[int]]) -> tuple[list[str], list[str]]:
    """Labels of each row of a table of counts."""
    a, b = [], []
    for i, row in enumerate(table):
        for j, count in enumerate(row):
            a += [f"label {i}"] * count
            b += [f"label {j}"] * count
    return a, b


# Diagnoses of Fleiss, Cohen & Everitt 1969, Psychological Bulletin 72:323, table 1 (n = 200):
# kappa 0.429, standard error 0.054.
FLEISS = [[106, 10, 4], [22, 28, 10], [2, 12, 6]]


def test_a_published_kappa_is_met() -> None:
    a, b = table_rows(FLEISS)
    interval = cohen_kappa(a, b)
    assert interval.value == pytest.approx(0.429, abs=5e-4)
    # Half the width, of an interval that is not symmetric, is about 1.96 standard errors.
    assert (interval.high - interval.low) / 2 == pytest.approx(1.97 * 0.054, rel=0.02)
    assert (interval.n, interval.num_clusters) == (200, 200)


def test_the_standard_error_is_the_one_of_fleiss_cohen_and_everitt() -> None:
    a, b = table_rows(FLEISS)
    share = np.array(FLEISS) / 200
    rows, columns = share.sum(axis=1), share.sum(axis=0)
    agree, chance = np.trace(share), float(rows @ columns)
    kappa = (agree - chance) / (1 - chance)
    first = sum(share[i, i] * (1 - (rows[i] + columns[i]) * (1 - kappa)) ** 2 for i in range(3))
    second = (1 - kappa) ** 2 * sum(
        share[i, j] * (columns[i] + rows[j]) ** 2 for i in range(3) for j in range(3) if i != j
    )
    variance = first + second - (kappa - chance * (1 - kappa)) ** 2
    error = math.sqrt(variance / 200) / (1 - chance)
    interval = cohen_kappa(a, b)
    on_log_scale = math.log((1 - interval.low) / (1 - interval.high)) / 2
    reach = 1.9720  # of Student's t with 199 degrees of freedom
    assert on_log_scale == pytest.approx(
        reach * error / (1 - kappa) * math.sqrt(200 / 199), rel=1e-3
    )


def test_copies_of_rows_are_no_new_agreement() -> None:
    a, b = table_rows(FLEISS)
    once = cohen_kappa(a, b)
    copied = cohen_kappa(np.repeat(a, 5), np.repeat(b, 5), clusters=np.repeat(np.arange(200), 5))
    assert (copied.value, copied.low, copied.high) == pytest.approx(
        (once.value, once.low, once.high)
    )


def test_complete_agreement_has_an_honest_lower_end() -> None:
    labels = ["spam"] * 50 + ["ham"] * 50
    interval = cohen_kappa(labels, labels)
    unseen = 1 - 0.025 ** (1 / 100)
    assert (interval.value, interval.high) == (1.0, 1.0)
    assert interval.low == pytest.approx(1 - unseen / 0.5)


def test_complete_disagreement_has_an_honest_upper_end() -> None:
    a = ["spam"] * 50 + ["ham"] * 50
    interval = cohen_kappa(a, a[::-1])
    assert (interval.value, interval.low) == (-1.0, -1.0)
    assert -1 < interval.high < -0.9


def test_chance_gives_nothing() -> None:
    generator = np.random.default_rng(0)
    interval = cohen_kappa(generator.integers(0, 5, 4_000), generator.integers(0, 5, 4_000))
    assert interval.low < 0 < interval.high
    assert abs(interval.value) < 0.03


def test_few_clusters_claim_nothing() -> None:
    interval = cohen_kappa(["a", "b", "a"], ["a", "b", "b"])
    assert (interval.low, interval.high) == (-1.0, 1.0)


@pytest.mark.parametrize(
    ("a", "b", "error", "words"),
    [
        ([], [], DataError, "no labels of a"),
        (["x"] * 20, ["x"] * 20, DataError, "chance explains every agreement"),
        (["x", "y"], ["x"], ShapeError, "same rows"),
        (["x", None], ["x", "y"], DataError, "none missing"),
        ([0.5, 1.0], [1, 0], DataError, "whole numbers or text"),
        ([1, 0], ["1", "0"], DataError, "numbers and text"),
        ([["x"]], [["x"]], ShapeError, "one for each row"),
    ],
)
def test_labels_that_bear_no_kappa_are_refused(
    a: Any, b: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        cohen_kappa(a, b)
    with pytest.raises(ConfigError, match="confidence"):
        cohen_kappa([1, 0], [1, 0], confidence=2)


# Holm


def test_holm_is_the_hand_worked_example() -> None:
    # 0.005 x 4, 0.01 x 3, then 0.03 x 2 which 0.04 x 1 may not fall below
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.01, 0.5))
def test_holm_rejects_as_stepping_down_does(p_values: list[float], level: float) -> None:
    rejected = set()
    for step, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        if p_values[place] * (len(p_values) - step) > level:
            break
        rejected.add(place)
    adjusted = holm(p_values)
    assert set(np.flatnonzero(adjusted <= level)) == rejected
    assert (adjusted >= np.array(p_values)).all()
    assert (adjusted <= np.minimum(1, np.array(p_values) * len(p_values)) + 1e-12).all()


def test_what_is_no_p_value_is_refused() -> None:
    with pytest.raises(DataError, match="empty"):
        holm([])
    with pytest.raises(DataError, match=r"\[0, 1\]"):
        holm([0.5, 1.5])
    with pytest.raises(DataError, match="not finite"):
        holm([math.nan])
