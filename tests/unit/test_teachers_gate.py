"""The gate against a simulated account, on a virtual clock."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from simulated_account import Account, ask_for
from virtual_clock import run_virtually

from stillhouse.records import Usage
from stillhouse.teachers._dialects._protocol import LimitReading
from stillhouse.teachers._gate import Admission, Gate, GateState, Limits, Need, Settled

OWN = Limits(requests_per_minute=600, tokens_per_minute=200_000)
NEED = Need(prompt_tokens=100, max_tokens=100)
DONE = Settled(200, Usage(prompt_tokens=100, completion_tokens=50))
REFUSED = Settled(429, is_rate_limited=True)


def now_s() -> float:
    return asyncio.get_running_loop().time()


async def collect_from(
    account: Account, limits: Limits | None, *, seconds: float, mean_tokens: int = 250
) -> float:
    """The time at which it began."""
    began_s = now_s()
    gate = Gate(limits, seed=account.seed)
    await ask_for(seconds, account, gate, num_workers=64, mean_tokens=mean_tokens)
    return began_s


async def steady_share(
    limits: Limits | None, seed: int, mean_tokens: int, **behaviour: Any
) -> tuple[float, float]:
    """The share of the binding limit that was used once the first burst was over, and of 429s."""
    account = Account(rpm=600, tpm=200_000, seed=seed, **behaviour)
    began_s = await collect_from(account, limits, seconds=360, mean_tokens=mean_tokens)
    steady_s = began_s + 120
    num_requests = sum(at > steady_s for at in account.arrived_s)
    num_requests -= sum(at > steady_s for at in account.refused_s)
    num_tokens = sum(tokens for at, tokens in account.tokens_at if at > steady_s)
    used = max(num_requests / (600 * 4), num_tokens / (200_000 * 4))
    return used, len(account.refused_s) / len(account.arrived_s)


@pytest.mark.parametrize("limits", [OWN, None], ids=["limits configured", "limits from headers"])
@pytest.mark.parametrize(
    "behaviour",
    [{}, {"reads_late": True}, {"counts_max_tokens": True}, {"latency_s": 4.0}],
    ids=["plain", "headers as the answer leaves", "longest completion counted", "slow"],
)
@pytest.mark.parametrize(("seed", "mean_tokens"), [(1, 250), (2, 450)])
def test_an_advertised_limit_is_used_in_full_and_hardly_ever_hit(
    limits: Limits | None, behaviour: dict[str, Any], seed: int, mean_tokens: int
) -> None:
    used, refused = run_virtually(steady_share(limits, seed, mean_tokens, **behaviour))
    assert used >= 0.97
    assert refused <= 0.005


def test_configured_limits_are_enough_for_a_provider_without_headers() -> None:
    used, refused = run_virtually(steady_share(OWN, 3, 250, has_headers=False))
    assert used >= 0.97
    assert refused <= 0.005


def test_a_provider_that_tells_nothing_and_names_no_wait_is_still_used_nearly_in_full() -> None:
    silent = {"has_headers": False, "names_wait": False}
    used, refused = run_virtually(steady_share(None, 4, 250, **silent))
    assert used >= 0.95
    assert refused <= 0.02


def test_counters_that_are_set_back_each_minute_are_used_nearly_in_full() -> None:
    used, refused = run_virtually(steady_share(None, 5, 250, is_whole_minutes=True))
    assert used >= 0.95
    assert refused <= 0.01


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_halved_limit_settles_in_ten_seconds_and_is_won_back_within_a_minute(seed: int) -> None:
    async def run() -> tuple[Account, float]:
        account = Account(rpm=600, tpm=200_000, seed=seed)

        async def change_limits() -> None:
            await asyncio.sleep(180)
            account.set_limits(0.5)
            await asyncio.sleep(180)
            account.set_limits(1.0)

        changing = asyncio.create_task(change_limits())
        began_s = await collect_from(account, OWN, seconds=540)
        await changing
        return account, began_s

    account, began_s = run_virtually(run())

    def per_second(first_s: float, last_s: float) -> float:
        return len(within(account.served_s, first_s, last_s)) / (last_s - first_s)

    def within(times_s: list[float], first_s: float, last_s: float) -> list[float]:
        return [at for at in times_s if began_s + first_s < at <= began_s + last_s]

    assert not within(account.refused_s, 190, 540)
    assert 0.97 * 5 <= per_second(200, 360) <= 1.05 * 5
    assert per_second(420, 540) >= 0.97 * 10


@pytest.mark.parametrize("has_headers", [True, False])
def test_nothing_is_sent_before_a_wait_that_was_asked_for_is_over(has_headers: bool) -> None:
    async def run() -> Account:
        account = Account(rpm=300, tpm=100_000, seed=6, has_headers=has_headers)
        await collect_from(account, Limits(), seconds=300)
        return account

    account = run_virtually(run())
    assert account.refused_s or has_headers
    assert account.num_early == 0


async def admit_now(gate: Gate, need: Need = NEED) -> Admission:
    async with asyncio.timeout(0.0005):
        return await gate.admit(need)


async def waits_for_s(gate: Gate, need: Need = NEED) -> float:
    began_s = now_s()
    gate.cancel(await gate.admit(need))
    return now_s() - began_s


def virtual(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def run() -> None:
        run_virtually(test())

    run.__name__ = test.__name__
    return run


@virtual
async def test_a_wait_that_one_answer_asks_for_holds_every_other_call() -> None:
    gate = Gate(seed=1)
    admission = await admit_now(gate)
    gate.settle(admission, Settled(503, wait_s=30.0, is_server_trouble=True))
    assert 30.0 <= await waits_for_s(gate) <= 31.0


@virtual
async def test_refusals_that_name_no_wait_hold_for_longer_each_time() -> None:
    gate = Gate(seed=1)
    held_s = []
    for _ in range(6):
        gate.settle(await gate.admit(NEED), REFUSED)
        held_s.append(gate.state().held_for_s)
    assert held_s[0] <= 1.1
    assert 8.0 <= held_s[-1] <= 17.0


@virtual
async def test_calls_go_in_the_order_in_which_they_came() -> None:
    gate = Gate(Limits(concurrency=1))
    first = await admit_now(gate)
    order: list[int] = []

    async def call(number: int) -> None:
        admission = await gate.admit(NEED)
        order.append(number)
        gate.settle(admission, DONE)

    tasks = [asyncio.create_task(call(number)) for number in range(20)]
    await asyncio.sleep(0)
    gate.settle(first, DONE)
    await asyncio.gather(*tasks)
    assert order == list(range(20))


@virtual
async def test_a_small_call_does_not_overtake_a_large_one() -> None:
    gate = Gate(Limits(tokens_per_minute=6_000))
    gate.settle(await admit_now(gate, Need(5_800, 1)), Settled(200))
    large = asyncio.create_task(gate.admit(Need(3_000, 1)))
    await asyncio.sleep(0)
    assert await waits_for_s(gate, Need(1, 1)) > 20.0
    assert large.done()


@virtual
async def test_a_prompt_over_the_whole_limit_goes_once_the_bucket_is_full() -> None:
    gate = Gate(Limits(tokens_per_minute=6_000))
    gate.settle(await admit_now(gate, Need(3_000, 0)), Settled(200))
    began_s = now_s()
    await gate.admit(Need(50_000, 100))
    assert now_s() - began_s == pytest.approx(30.0, abs=1.0)


@virtual
async def test_what_a_call_did_not_use_is_given_back() -> None:
    gate = Gate(Limits(tokens_per_minute=6_000))
    need = Need(100, 5_000)
    for _ in range(5):
        gate.settle(await admit_now(gate, need), DONE)
    assert await waits_for_s(gate, Need(4_900, 50)) == 0.0


@virtual
async def test_the_longest_completion_is_assumed_until_answers_tell_better() -> None:
    gate = Gate(Limits(tokens_per_minute=1_000_000))
    assert (await admit_now(gate, Need(1, 4_000))).output_tokens == 4_000
    for length in range(1, 101):
        admission = await gate.admit(Need(1, 4_000))
        gate.settle(admission, Settled(200, Usage(prompt_tokens=1, completion_tokens=length)))
    assert (await gate.admit(Need(1, 4_000))).output_tokens == 95
    assert (await gate.admit(Need(1, 50))).output_tokens == 50


@virtual
async def test_tokens_read_from_the_cache_do_not_count_where_input_is_limited_by_itself() -> None:
    gate = Gate(Limits(input_tokens_per_minute=6_000))
    usage = Usage(prompt_tokens=5_000, cached_prompt_tokens=4_900, completion_tokens=1)
    gate.settle(await admit_now(gate, Need(5_000, 10)), Settled(200, usage))
    assert await waits_for_s(gate, Need(5_500, 10)) == 0.0


@virtual
async def test_the_window_doubles_until_the_first_refusal_and_is_cut_once_for_a_burst() -> None:
    gate = Gate(Limits(concurrency=64))
    for _ in range(5):
        under_way = [await admit_now(gate) for _ in range(gate.state().window)]
        for admission in under_way:
            gate.settle(admission, DONE)
    assert gate.state().window == 64
    under_way = [await admit_now(gate) for _ in range(64)]
    for admission in under_way:
        gate.settle(admission, REFUSED)
    assert gate.state().window == 48
    assert gate.state().num_rate_limited == 64


@virtual
async def test_trouble_of_the_server_stops_growth_but_cuts_nothing() -> None:
    gate = Gate()
    for status in (500, 502, None):
        under_way = [await admit_now(gate) for _ in range(4)]
        gate.settle(under_way[0], Settled(status, is_server_trouble=True))
        for admission in under_way[1:]:
            gate.settle(admission, DONE)
        gate.settle(await admit_now(gate), DONE)
    assert gate.state().window == 4


@virtual
async def test_an_overloaded_server_holds_everybody_back_and_cuts_nothing() -> None:
    gate = Gate(Limits(concurrency=64), seed=1)
    for _ in range(3):
        for admission in [await admit_now(gate) for _ in range(gate.state().window)]:
            gate.settle(admission, DONE)
    num_before = gate.state().window
    for admission in [await admit_now(gate) for _ in range(num_before)]:
        gate.settle(admission, Settled(529, is_overloaded=True))
    state = gate.state()
    assert (state.window, state.num_rate_limited) == (num_before, 0)
    assert state.num_server_trouble == num_before
    assert 0.5 <= await waits_for_s(gate, NEED) <= 1.1  # one episode, however many it met


def test_how_a_gate_stands_can_be_asked_from_another_thread_while_it_is_used() -> None:
    gate = Gate(Limits(concurrency=4), seed=1)
    assert gate.state().held_for_s == 0.0  # nobody has used it yet
    states: list[GateState] = []

    def watch(is_done: threading.Event) -> None:
        while not is_done.is_set():
            states.append(gate.state())

    async def call() -> None:
        admission = await gate.admit(NEED)
        await asyncio.sleep(0)  # so that the others queue up
        gate.settle(admission, DONE)

    async def run() -> None:
        is_done = threading.Event()
        watching = asyncio.create_task(asyncio.to_thread(watch, is_done))
        while not states:
            await asyncio.sleep(0.001)
        try:
            await asyncio.gather(*(call() for _ in range(3_000)))
        finally:
            is_done.set()
        await watching

    asyncio.run(run())
    assert all(state.num_under_way <= state.window <= 4 for state in states)
    assert gate.state().num_admitted == 3_000


@virtual
async def test_limits_per_second_and_per_day_are_read_off_their_resets() -> None:
    for window_s in (1.0, 86_400.0):
        gate = Gate()
        for _ in range(3):
            reading = LimitReading("requests", 10.0, 1.0, window_s * 0.9)
            gate.settle(await gate.admit(NEED), Settled(200, limits=(reading,)))
        began_s = now_s()
        for _ in range(10):
            await gate.admit(NEED)
            gate.settle(await gate.admit(NEED), DONE)
            if now_s() > began_s:
                break
        assert 0.02 * window_s < now_s() - began_s < 0.4 * window_s


@virtual
async def test_callers_that_give_up_while_waiting_leave_nothing_behind() -> None:
    gate = Gate(Limits(concurrency=4, requests_per_minute=60_000), seed=1)

    async def call(number: int) -> None:
        admission = await gate.admit(NEED)
        try:
            await asyncio.sleep(0.05)
        finally:
            gate.settle(admission, DONE)

    tasks = [asyncio.create_task(call(number)) for number in range(400)]
    await asyncio.sleep(0.2)
    for number, task in enumerate(tasks):
        if number % 3:
            task.cancel()
        if number % 50 == 0:
            await asyncio.sleep(0)
    await asyncio.gather(*tasks, return_exceptions=True)
    state = gate.state()
    assert (state.num_under_way, state.num_waiting) == (0, 0)
    assert 134 <= state.num_admitted < 200


@virtual
async def test_a_caller_that_gives_up_the_moment_it_is_let_through_gives_its_place_back() -> None:
    gate = Gate(Limits(concurrency=1))
    first = await admit_now(gate)
    waiting = asyncio.create_task(gate.admit(NEED))
    await asyncio.sleep(0)
    gate.settle(first, DONE)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert gate.state().num_under_way == 0
    await admit_now(gate)


@virtual
async def test_an_admission_ends_once() -> None:
    gate = Gate()
    admission = await admit_now(gate)
    gate.settle(admission, DONE)
    with pytest.raises(RuntimeError, match="twice"):
        gate.cancel(admission)


@pytest.mark.parametrize(
    ("outcome", "was_refused"),
    [
        (Settled(200), False),
        (REFUSED, True),
        (Settled(400), True),
        (Settled(429), True),
        (Settled(503, is_server_trouble=True), True),
        (Settled(529, is_server_trouble=True), True),
        (Settled(500, is_server_trouble=True), False),
        (Settled(408, is_server_trouble=True), False),
        (Settled(None, is_server_trouble=True), False),
    ],
)
def test_only_what_was_turned_away_before_any_work_is_surely_not_charged(
    outcome: Settled, was_refused: bool
) -> None:
    assert outcome.was_refused is was_refused


def test_a_call_costs_under_a_tenth_of_a_millisecond_to_let_through() -> None:
    # The goal is 15 us on a quiet machine; this only finds a change of the order.
    readings = (
        LimitReading("requests", 1e9, 1e9 - 5, 1e-6),
        LimitReading("tokens", 1e12, 1e12 - 900, 1e-6),
    )
    outcome = Settled(200, Usage(prompt_tokens=100, completion_tokens=50), readings)

    async def run() -> float:
        gate = Gate(Limits(requests_per_minute=1e9))
        need = Need(100, 100)
        fastest_s = 1.0
        for _ in range(5):
            began_s = time.process_time()
            for _ in range(1_000):
                gate.settle(await gate.admit(need), outcome)
            fastest_s = min(fastest_s, (time.process_time() - began_s) / 1_000)
        return fastest_s

    assert asyncio.run(run()) < 1e-4


@virtual
async def test_a_thousand_refusals_in_a_row_wait_no_longer_than_the_longest() -> None:
    gate = Gate(seed=1)
    for _ in range(1_100):
        gate.settle(await gate.admit(NEED), REFUSED)
    assert gate.state().held_for_s <= 17.0


@virtual
async def test_an_overloaded_server_says_nothing_about_the_accounts_counters() -> None:
    gate = Gate(Limits(tokens_per_minute=6_000), seed=1)
    outcome = Settled(529, is_overloaded=True, wait_s=0.5)
    gate.settle(await admit_now(gate, Need(100, 100)), outcome)
    assert await waits_for_s(gate, Need(5_000, 100)) < 1.0
    gate.settle(await gate.admit(Need(100, 100)), Settled(429, is_rate_limited=True, wait_s=0.5))
    assert await waits_for_s(gate, Need(5_000, 100)) > 40.0
