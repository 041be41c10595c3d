"""One budget for many ledgers, without Ray."""

import random
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_cases import a_request, an_answer

from stillhouse.collect._ray._leased_purse import LeasedPurse
from stillhouse.collect._ray._treasury import Lease, Treasury
from stillhouse.records import Usage
from stillhouse.runlog import Ledger

EPSILON = 1e-11  # a picodollar for each of some leases


class Spender:
    """A worker as the treasury sees it: claims calls within its cap, and settles them."""

    def __init__(self, name: str, treasury: Treasury) -> None:
        self.name = name
        self.spent = self.cap_usd = 0.0
        self.open: list[float] = []
        self._treasury = treasury

    def used(self) -> float:
        return self.spent + sum(self.open)

    def claim(self, worst_usd: float) -> bool:
        if self.used() + worst_usd <= self.cap_usd:
            self.open.append(worst_usd)
            return True
        return False

    def ask(self, want_usd: float, at_least_usd: float = 0.0) -> None:
        lease = self._treasury.lease(self.name, want_usd, self.used(), at_least_usd)
        self.cap_usd = lease.cap_usd


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 5), st.floats(0.0, 3.0))
def test_all_workers_together_never_hold_more_than_the_budget(
    seed: int, num_workers: int, spent_before: float
) -> None:
    rng = random.Random(seed)
    treasury = Treasury(2.0, spent_usd=spent_before)
    workers = [Spender(f"w{number}", treasury) for number in range(num_workers)]
    closed = spent_before
    for step in range(120):
        worker = rng.choice(workers)
        worst_usd = rng.choice([0.01, 0.1, 0.4])
        if worker.open and rng.random() < 0.4:
            reserve = worker.open.pop(rng.randrange(len(worker.open)))
            worker.spent += rng.uniform(0.0, reserve)
        elif rng.random() < 0.05:  # it dies; its ledger is read, and another takes its place
            closed += treasury.close(worker.name, worker.used())
            workers[workers.index(worker)] = Spender(f"n{step}", treasury)
        elif rng.random() < 0.05:
            worker.ask(0.0)
        elif not worker.claim(worst_usd):
            worker.ask(64 * worst_usd, rng.choice([0.0, worst_usd]))
            worker.claim(worst_usd)
        if closed <= 2.0:
            assert closed + sum(one.used() for one in workers) <= 2.0 + EPSILON
        else:
            assert not any(one.open for one in workers)


def test_what_one_worker_gives_back_another_gets() -> None:
    treasury = Treasury(1.0, spent_usd=0.0)
    assert treasury.lease("a", 5.0, 0.0, 0.0).cap_usd == 1.0
    assert treasury.lease("b", 0.5, 0.0, 0.1) == Lease(0.0, True)
    assert treasury.lease("a", 0.0, 0.25, 0.0).cap_usd == 0.25
    assert treasury.lease("b", 0.75, 0.0, 0.1).cap_usd == 0.75


def test_a_lost_ledger_counts_with_all_that_it_may_have_spent() -> None:
    treasury = Treasury(1.0, spent_usd=0.0)
    treasury.lease("a", 0.6, 0.0, 0.0)
    assert treasury.close("a", None) == 0.6
    assert treasury.lease("b", 1.0, 0.0, 0.0).cap_usd == 0.4


def test_the_last_money_is_waited_for_only_while_somebody_is_at_work() -> None:
    treasury = Treasury(1.0, spent_usd=0.9)
    assert treasury.lease("a", 1.0, 0.0, 0.2).may_grow is False
    treasury.lease("b", 0.05, 0.0, 0.0)
    assert treasury.lease("a", 1.0, 0.0, 0.2).may_grow is True
    treasury.lease("b", 0.0, 0.05, 0.0)
    assert treasury.lease("a", 1.0, 0.0, 0.2).may_grow is False


def test_a_ledger_claims_up_to_the_last_call_that_its_lease_has_room_for(tmp_path: Path) -> None:
    treasury = Treasury(1.0, spent_usd=0.0)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:

        def used_usd() -> float:
            totals = ledger.totals()
            return (totals.cost_usd or 0.0) + totals.unsettled_usd

        purse = LeasedPurse(lambda *asked: treasury.lease("a", *asked), used_usd, lambda: False)
        requests = [a_request(f"question {number}") for number in range(20)]
        num_answered = 0
        for request in requests:
            claim = ledger.claim([request], reserved_usd=[0.1], cap_usd=purse.cap_usd)
            if claim.shortage is not None:
                if not purse.grow(claim.shortage.short_usd):
                    break
                claim = ledger.claim([request], reserved_usd=[0.1], cap_usd=purse.cap_usd)
            assert claim.requests == [request]
            ledger.record_answers([an_answer(request, usage=Usage(cost_usd=0.09))])
            num_answered += 1
        assert num_answered == 11  # 0.9 + 0.09 are spent, and 0.1 do not fit any more
        assert used_usd() <= 1.0
