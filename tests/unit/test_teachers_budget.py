"""Money is reserved before a call and refunded after; the cap holds whatever happens."""

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_clock import run_virtually

from stillhouse.errors import BudgetExceededError, ConfigError
from stillhouse.teachers._budget import Budget


async def spend(budget: Budget, draw: random.Random, *, num_calls: int, at_once: int) -> None:
    """Make calls of random cost; some are cancelled, some end with an unknown cost."""
    calls = iter(range(num_calls))

    async def work() -> None:
        for _ in calls:
            worst = draw.choice([0.001, 0.0371, 0.25])
            try:
                reservation = await budget.reserve(worst)
            except BudgetExceededError:
                return
            assert_within_cap(budget)
            try:
                await asyncio.sleep(draw.expovariate(1.0))
            except asyncio.CancelledError:
                budget.settle(reservation, None)
                raise
            fate = draw.random()
            if fate < 0.05:
                budget.cancel(reservation)
            else:
                budget.settle(reservation, None if fate < 0.15 else worst * draw.random())
            assert_within_cap(budget)

    async with asyncio.TaskGroup() as group:
        workers = [group.create_task(work()) for _ in range(at_once)]
        await asyncio.sleep(draw.random())
        for worker in workers[: at_once // 8]:
            await asyncio.sleep(draw.random())
            worker.cancel()


def assert_within_cap(budget: Budget) -> None:
    # Sums of picodollars as floats: their own rounding, 1e-15 of a dollar, is let through.
    committed = budget.spent_usd + budget.unknown_usd + budget.reserved_usd
    assert committed <= budget.cap_usd + 1e-15 * max(1.0, budget.cap_usd)


def test_the_cap_is_never_crossed_in_a_thousand_random_runs() -> None:
    async def run(seed: int) -> float:
        draw = random.Random(seed)
        cap = draw.choice([0.0, 0.01, 0.3, 1.0, 3.0])
        budget = Budget(cap, spent_usd=cap * draw.random() * 0.5)
        await spend(budget, draw, num_calls=150, at_once=draw.choice([1, 3, 16, 64]))
        assert budget.reserved_usd == 0.0
        return budget.spent_usd + budget.unknown_usd - cap

    assert max(run_virtually(run(seed)) for seed in range(1_000)) <= 1e-15


@settings(max_examples=100, deadline=None)
@given(
    cap=st.floats(0.0, 2.0),
    calls=st.lists(
        st.tuples(st.floats(0.0, 0.5), st.none() | st.floats(0.0, 1.0)), min_size=1, max_size=40
    ),
    at_once=st.integers(1, 8),
)
def test_the_cap_holds_for_any_costs(
    cap: float, calls: list[tuple[float, float | None]], at_once: int
) -> None:
    async def run() -> None:
        budget = Budget(cap)
        left = list(calls)

        async def work() -> None:
            while left:
                worst, share = left.pop()
                try:
                    reservation = await budget.reserve(worst)
                except BudgetExceededError:
                    continue
                await asyncio.sleep(worst)
                budget.settle(reservation, None if share is None else worst * share)
                assert_within_cap(budget)

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(work())
        assert budget.reserved_usd == 0.0

    run_virtually(run())


def test_a_call_near_the_cap_waits_for_refunds_before_it_is_refused() -> None:
    async def run() -> tuple[bool, float]:
        budget = Budget(1.0)
        first = await budget.reserve(0.9)
        second = asyncio.create_task(budget.reserve(0.5))
        await asyncio.sleep(10.0)
        waited = not second.done()
        budget.settle(first, 0.1)
        await second
        third = asyncio.create_task(budget.reserve(0.5))
        await asyncio.sleep(1.0)
        budget.settle(await second, 0.5)
        with pytest.raises(BudgetExceededError):
            await third
        return waited, budget.spent_usd

    assert run_virtually(run()) == (True, pytest.approx(0.6))


def test_a_call_that_no_refund_can_make_room_for_is_refused_at_once() -> None:
    async def run() -> None:
        budget = Budget(1.0, spent_usd=0.4, unknown_usd=0.3)
        await budget.reserve(0.2)
        with pytest.raises(BudgetExceededError, match=r"budget of 1\.0+ USD 0\.4.*0\.5.*Raise"):
            await budget.reserve(0.31)

    run_virtually(run())


def test_a_cheap_call_does_not_overtake_a_dear_one_but_survives_its_refusal() -> None:
    async def run() -> None:
        budget = Budget(1.0)
        first = await budget.reserve(0.9)
        dear = asyncio.create_task(budget.reserve(0.8))
        cheap = asyncio.create_task(budget.reserve(0.05))
        await asyncio.sleep(1.0)
        assert not cheap.done()
        budget.settle(first, None)
        with pytest.raises(BudgetExceededError):
            await dear
        await cheap

    run_virtually(run())


def test_a_caller_that_gives_up_leaves_nothing_reserved_and_lets_the_next_one_go() -> None:
    async def run() -> None:
        budget = Budget(1.0)
        await budget.reserve(0.9)
        dear = asyncio.create_task(budget.reserve(0.8))
        cheap = asyncio.create_task(budget.reserve(0.05))
        await asyncio.sleep(1.0)
        dear.cancel()
        await cheap
        assert budget.reserved_usd == pytest.approx(0.95)

    run_virtually(run())


def test_a_call_that_cost_more_than_was_reserved_is_counted_in_full() -> None:
    async def run() -> None:
        budget = Budget(1.0)
        budget.settle(await budget.reserve(0.1), 0.2)
        assert budget.spent_usd == 0.2
        assert budget.num_above_reserve == 1

    run_virtually(run())


@pytest.mark.parametrize("usd", [-1.0, float("nan"), float("inf")])
def test_a_budget_is_an_amount_of_money(usd: float) -> None:
    with pytest.raises(ConfigError, match="must be 0 or more"):
        Budget(usd)
