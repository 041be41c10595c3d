"""What may be promised of a student: thresholds chosen on some rows, certified on others."""

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from stillhouse.pipeline._scan_choice import (
    Answered,
    certify,
    grid_of,
    least_prompts,
    prompts_needed,
)

GOAL = {"target": 0.97, "confidence": 0.95}


def answered(confidence_N: npt.ArrayLike, agrees_N: npt.ArrayLike) -> Answered:
    return Answered(np.asarray(confidence_N, dtype=float), np.asarray(agrees_N, dtype=bool))


def simulated(generator: np.random.Generator, n: int, *, worst: float) -> Answered:
    """Rows whose error grows evenly as confidence falls, from none to `worst`."""
    confidence_N = generator.uniform(size=n)
    return answered(confidence_N, generator.uniform(size=n) >= worst * (1 - confidence_N))


def test_rows_that_all_agree_are_promised_whole_with_the_exact_bounds() -> None:
    rows = answered(np.linspace(0.5, 1.0, 150), np.ones(150))
    found = certify(rows, [0.9, 0.0], **GOAL)
    assert found is not None
    assert found.threshold == 0.0
    assert found.share.value == 1.0
    # 0 errors of 150 leave an error of 1 - 0.05 ** (1 / 150) possible.
    assert found.agreement.low == pytest.approx(0.05 ** (1 / 150))
    # Two thresholds, and half of the error is left to a price: 0.0125 in all, two-sided.
    assert found.share.low == pytest.approx((0.0125 / 2) ** (1 / 150))


def test_the_last_threshold_before_the_first_failure_is_certified() -> None:
    # 200 sure rows are right; of the next 100 ten are wrong, and the last 100 are right again.
    agrees_N = np.concatenate([np.ones(200), np.arange(100) % 10 != 0, np.ones(100)])
    rows = answered(np.repeat([0.9, 0.6, 0.3], [200, 100, 100]), agrees_N)
    found = certify(rows, [0.9, 0.6, 0.3], **GOAL)
    assert found is not None
    assert (found.threshold, found.share.value) == (0.9, 0.5)


def test_too_few_rows_promise_nothing_even_if_all_agree() -> None:
    assert certify(answered(np.ones(98), np.ones(98)), [0.5], **GOAL) is None
    assert certify(answered(np.ones(99), np.ones(99)), [0.5], **GOAL) is not None


def test_rows_without_an_answer_are_never_let_through() -> None:
    rows = answered([-1.0] * 300, np.zeros(300))
    assert rows.through(-5.0) == (0, 0)
    assert len(grid_of(rows, 300, **GOAL)) == 0
    assert certify(rows, [], **GOAL) is None


def test_a_promise_is_broken_in_at_most_one_case_of_twenty() -> None:
    # The errors above a confidence of c are 0.08 * (1 - c) / 2: beyond the surest three quarters
    # of the rows each promise is wrong.
    generator = np.random.default_rng(0)
    broken, made = 0, 0
    for _ in range(120):
        chosen_on = simulated(generator, 500, worst=0.08)
        tested_on = simulated(generator, 500, worst=0.08)
        found = certify(tested_on, grid_of(chosen_on, 500, **GOAL).tolist(), **GOAL)
        if found is not None:
            made += 1
            broken += 0.08 * (1 - found.threshold) / 2 > 0.03
    assert made > 20
    assert broken <= stats.binom.ppf(0.99, 120, 0.05)


def test_answers_by_chance_are_promised_in_at_most_one_case_of_twenty() -> None:
    generator = np.random.default_rng(1)
    made = 0
    for _ in range(60):
        halves = [
            answered(generator.uniform(size=300), generator.uniform(size=300) < 0.25)
            for _ in range(2)
        ]
        grid = grid_of(halves[0], 300, **GOAL)
        made += certify(halves[1], grid.tolist(), **GOAL) is not None
    assert made == 0


def test_the_grid_begins_where_the_test_is_most_likely_passed_and_only_opens_up() -> None:
    # 200 rows are right; of the others one in five is wrong.
    agrees_N = np.concatenate([np.ones(200), np.arange(200) % 5 != 0])
    chosen_on = answered(np.linspace(1.0, 0.0, 400), agrees_N)
    grid = grid_of(chosen_on, 400, **GOAL)
    assert list(grid) == sorted(grid, reverse=True)
    total, errors = chosen_on.through(float(grid[0]))
    # Many of the rows that are right, since few would not do, and none of the others.
    assert 99 < total <= 200
    assert errors == 0
    assert chosen_on.through(float(grid[-1])) == (400, 40)


def test_the_prompts_that_would_do_follow_from_what_was_seen() -> None:
    assert least_prompts(**GOAL, certify_fraction=0.5) == 198  # 99 without an error, twice
    right = answered(np.ones(500), np.ones(500))
    assert prompts_needed(right, **GOAL, certify_fraction=0.5) == 198
    few = answered(np.ones(10), np.ones(10))  # leave room for more errors than the target does
    assert prompts_needed(few, **GOAL, certify_fraction=0.5) is None
    half = answered(np.repeat([1.0, 0.2], 250), np.repeat([1.0, 0.0], 250))
    of_half = prompts_needed(half, **GOAL, certify_fraction=0.5)
    assert of_half is not None
    assert of_half == 2 * 198  # half of the prompts do not count


def test_no_number_of_prompts_helps_where_the_student_errs_too_often() -> None:
    generator = np.random.default_rng(2)
    rows = answered(generator.uniform(size=400), generator.uniform(size=400) < 0.5)
    assert prompts_needed(rows, **GOAL, certify_fraction=0.5) is None
