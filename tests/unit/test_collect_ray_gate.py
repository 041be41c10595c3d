"""Many workers at one gate, without Ray: the desk is called as its actor would be."""

import asyncio
import pickle

import pytest
from simulated_account import Account, ask_for
from virtual_clock import run_virtually

from stillhouse.collect._ray._gate_desk import Exchange, GateDesk
from stillhouse.collect._ray._remote_gate import RemoteGate
from stillhouse.errors import TeacherUnavailableError
from stillhouse.records import Usage
from stillhouse.teachers._gate import Admission, Gate, Limits, Need, Settled

NEED = Need(prompt_tokens=100, max_tokens=100)
DONE = Settled(200, Usage(prompt_tokens=100, completion_tokens=50))
WAY_S = 0.002


class CountedDesk(GateDesk):
    """A desk that counts the messages to it."""

    num_exchanges = 0

    async def exchange(self, worker: str, said: Exchange) -> list[int]:
        self.num_exchanges += 1
        return await super().exchange(worker, said)


def gate_at(desk: GateDesk, worker: str) -> RemoteGate:
    """A gate of a worker that is 2 ms away; what it says is pickled, as on its way elsewhere."""

    async def carry(news: Exchange) -> list[int]:
        sent = pickle.loads(pickle.dumps(news))
        await asyncio.sleep(WAY_S)
        granted = await desk.exchange(worker, sent)
        await asyncio.sleep(WAY_S)
        return granted

    return RemoteGate(carry)


async def admitted_within(gate: RemoteGate, seconds: float) -> Admission | None:
    try:
        async with asyncio.timeout(seconds):
            return await gate.admit(NEED)
    except TimeoutError:
        return None


def test_four_workers_use_one_limit_in_full_and_hardly_ever_hit_it() -> None:
    async def run() -> tuple[float, float]:
        account = Account(rpm=600, tpm=200_000, seed=1)
        desk = GateDesk(Gate(Limits(), seed=1))
        began_s = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            for worker in range(4):
                gate = gate_at(desk, f"w{worker}")
                group.create_task(ask_for(360, account, gate, num_workers=16, mean_tokens=250))
        served = [at for at in account.arrived_s if at > began_s + 120]
        refused = sum(at > began_s + 120 for at in account.refused_s)
        share = (len(served) - refused) / (600 * 4)
        return share, len(account.refused_s) / len(account.arrived_s)

    used, refused = run_virtually(run())
    assert used >= 0.97
    assert refused <= 0.005


def test_the_window_is_one_for_all_workers() -> None:
    async def run() -> None:
        shared = Gate(Limits(concurrency=2))
        desk = GateDesk(shared)
        one, two = gate_at(desk, "one"), gate_at(desk, "two")
        first = await admitted_within(one, 1.0)
        assert first is not None
        assert await admitted_within(two, 1.0) is not None
        assert await admitted_within(two, 1.0) is None
        assert await admitted_within(one, 1.0) is None
        one.settle(first, DONE)
        assert await admitted_within(two, 1.0) is not None
        assert shared.state().num_under_way == 2

    run_virtually(run())


def test_a_dead_workers_calls_free_the_window_and_keep_their_part_of_the_limits() -> None:
    async def run() -> None:
        limits = Limits(concurrency=2, requests_per_minute=60.0)
        shared = Gate(limits)
        desk = GateDesk(shared)
        dead, living = gate_at(desk, "dead"), gate_at(desk, "living")
        for _ in range(2):
            assert await admitted_within(dead, 5.0) is not None
        waits = asyncio.create_task(dead.admit(NEED))
        await asyncio.sleep(1.0)
        desk.give_up("dead")
        assert (shared.state().num_under_way, shared.state().num_waiting) == (0, 0)
        assert await admitted_within(living, 5.0) is not None
        # What it says after that is from the grave.
        assert await desk.exchange("dead", Exchange(needs=[(99, NEED)])) == []
        assert shared.state().num_under_way == 1
        waits.cancel()

    run_virtually(run())


def test_a_caller_that_gives_up_leaves_nothing_behind() -> None:
    async def run() -> None:
        shared = Gate(Limits(concurrency=1))
        desk = GateDesk(shared)
        gate = gate_at(desk, "one")
        held = await admitted_within(gate, 1.0)
        assert held is not None
        for after_s in (0.001, 0.008, 0.02):  # before it is sent, on its way, waiting there
            assert await admitted_within(gate, after_s) is None
        await asyncio.sleep(0.1)
        assert shared.state().num_waiting == 0
        gate.cancel(held)
        assert await admitted_within(gate, 1.0) is not None
        await asyncio.sleep(0.1)
        assert shared.state().num_under_way == 1

    run_virtually(run())


def test_a_grant_that_crosses_with_a_withdrawal_is_given_back() -> None:
    async def run() -> None:
        shared = Gate(Limits(concurrency=1))
        desk = GateDesk(shared)
        gate = gate_at(desk, "one")
        # Admitted at the desk after 7 ms, known here after 9: it is given up in between.
        assert await admitted_within(gate, 0.008) is None
        await asyncio.sleep(0.1)
        assert shared.state().num_under_way == 0

    run_virtually(run())


def test_what_happens_at_the_same_time_goes_in_one_message() -> None:
    async def run() -> None:
        desk = CountedDesk(Gate(Limits(concurrency=64)))
        gate = gate_at(desk, "one")
        admissions = await asyncio.gather(*(gate.admit(NEED) for _ in range(4)))
        before = desk.num_exchanges
        for admission in admissions:
            gate.settle(admission, DONE)
        await asyncio.gather(*(gate.admit(NEED) for _ in range(4)))
        assert desk.num_exchanges == before + 1

    run_virtually(run())


def test_a_withdrawal_that_overtakes_its_call_holds() -> None:
    async def run() -> None:
        desk = GateDesk(Gate(Limits(concurrency=1)))
        assert await desk.exchange("one", Exchange(withdrawn=[1])) == []
        assert await desk.exchange("one", Exchange(needs=[(1, NEED)])) == []
        assert await desk.exchange("one", Exchange(needs=[(2, NEED)])) == [2]

    run_virtually(run())


def test_nobody_waits_at_a_desk_that_is_gone() -> None:
    async def nowhere(news: Exchange) -> list[int]:
        raise TeacherUnavailableError("the process is gone")

    async def run() -> None:
        gate = RemoteGate(nowhere)
        with pytest.raises(TeacherUnavailableError, match="the process is gone"):
            await gate.admit(NEED)

    run_virtually(run())


def test_refusals_are_counted_where_they_happened() -> None:
    async def run() -> None:
        shared = Gate(Limits(concurrency=4))
        desk = GateDesk(shared)
        one, two = gate_at(desk, "one"), gate_at(desk, "two")
        one.settle(await one.admit(NEED), Settled(429, is_rate_limited=True, wait_s=0.0))
        await asyncio.sleep(0.1)
        assert (one.num_rate_limited, two.num_rate_limited) == (1, 0)
        assert shared.state().num_rate_limited == 1

    run_virtually(run())
