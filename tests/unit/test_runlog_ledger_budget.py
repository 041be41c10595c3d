"""A limit on what a ledger's calls may cost: held in `claim`, whoever asks and however it ends."""

import random
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_cases import a_failure, a_request, an_answer, request_in

from stillhouse.errors import ConfigError
from stillhouse.records import Request, Usage
from stillhouse.runlog import Answer, Claim, Ledger
from stillhouse.runlog._ledger import _sums
from stillhouse.runlog._ledger._money import limit_of, picos_of

SEEDS = [range(120), pytest.param(range(120, 600), marks=pytest.mark.slow)]


def a_cost(usd: float | None) -> Usage:
    return Usage(prompt_tokens=1, completion_tokens=1, cost_usd=usd)


class Market:
    """Workers of one ledger that claim, pay and end in a random order.

    Attributes:
        paid_usd: What the provider has charged, whether anybody knows or not.
    """

    def __init__(self, path: Path, draw: random.Random) -> None:
        self.path = path
        self.draw = draw
        self.cap_usd = draw.choice([0.0, 0.01, 0.3, 1.0, 3.0])
        self.paid_usd = Fraction(0)
        self.num_asked = 0
        self.ledgers = [self.open() for _ in range(draw.choice([1, 2, 3]))]
        self.under_way: list[tuple[Ledger, Request, float]] = []
        self.batches: list[tuple[str, list[tuple[Request, float]]]] = []
        self.again: list[Request] = []

    def open(self) -> Ledger:
        """One more worker, which does not wait for the disk: it does not crash here."""
        ledger = Ledger(self.path)
        ledger._db.rows("PRAGMA synchronous = OFF")
        return ledger

    def step(self) -> None:
        """One thing that may happen."""
        steps = [self.claim, self.claim, self.settle, self.settle, self.settle_batch, self.die]
        self.draw.choice(steps)()
        assert self.paid_usd <= Fraction(self.cap_usd)

    def claim(self) -> None:
        """Ask some, new ones and earlier ones, online or in a batch."""
        ledger = self.draw.choice(self.ledgers)
        new = [a_request(f"q{self.num_asked + i}") for i in range(self.draw.randint(1, 6))]
        wanted = self.again + new
        worst = [self.draw.choice([0.0, 0.001, 0.0371, 0.25, 1e-13]) for _ in wanted]
        worst_of = {request.id: usd for request, usd in zip(wanted, worst, strict=True)}
        in_batch = self.draw.random() < 0.3
        claim: Claim
        if in_batch:
            claim = ledger.open_batch("p", wanted, reserved_usd=worst, cap_usd=self.cap_usd)
        else:
            claim = ledger.claim(wanted, reserved_usd=worst, cap_usd=self.cap_usd)
        short = [] if claim.shortage is None else claim.shortage.requests
        assert claim.requests + short == wanted  # what fits is what comes first
        self.num_asked += len(new)
        self.again = short[:8]
        asked = [
            (request, worst_of[request.id] * self.draw.choice([0.0, 0.3, 1.0]))
            for request in claim.requests
        ]
        self.paid_usd += sum(Fraction(usd) for _, usd in asked)  # the provider may charge from now
        if claim.batch is not None:
            self.batches.append((claim.batch.id, asked))
        else:
            self.under_way += [(ledger, *one) for one in asked]

    def settle(self) -> None:
        """Calls end: their cost is told, or is not."""
        self.draw.shuffle(self.under_way)
        for _ in range(min(len(self.under_way), self.draw.randint(1, 4))):
            ledger, request, usd = self.under_way.pop()
            ledger.record_answers([self.an_end(request, usd)])

    def settle_batch(self) -> None:
        """A batch ends with some answers; the rest is lost."""
        if not self.batches:
            return
        batch_id, asked = self.batches.pop()
        ledger = self.draw.choice(self.ledgers)
        told = asked[: self.draw.randint(0, len(asked))]
        ledger.record_answers([self.an_end(request, usd) for request, usd in told])
        ledger.set_batch_state(batch_id, "settled")

    def die(self) -> None:
        """A worker ends without a word; another one gives up what it had under way."""
        if self.draw.random() < 0.7:
            return
        gone = self.ledgers.pop(self.draw.randrange(len(self.ledgers)))
        gone.close()
        self.ledgers.append(self.open())
        self.again += [one[1] for one in self.under_way if one[0] is gone]
        self.under_way = [one for one in self.under_way if one[0] is not gone]
        if self.draw.random() < 0.5:
            self.ledgers[-1].settle_orphans()

    def an_end(self, request: Request, usd: float) -> Answer:
        """How a call that cost `usd` ends; a failure does not tell the cost."""
        if self.draw.random() < 0.2:
            return a_failure(request)
        return an_answer(request, usage=a_cost(usd))

    def close(self) -> None:
        for ledger in self.ledgers:
            ledger.close()


def recounted(ledger: Ledger) -> list[tuple[object, ...]]:
    """What `sums` would hold if it was made of the rows."""
    added = ledger._db.rows(_sums.CALLS_ADDED_UP, (0, 1 << 60))
    money = [(row[0], row[1], row[2], row[7], row[9]) for row in added]
    reserves: dict[int, list[float]] = {}
    for teacher, reserved_usd in ledger._db.rows("SELECT teacher, reserved_usd FROM open_calls"):
        reserves.setdefault(teacher, []).append(reserved_usd)
    opened = [(one, "open", len(all_), 0, sum(picos_of(all_))) for one, all_ in reserves.items()]
    return sorted(money + opened)


def summed(ledger: Ledger) -> list[tuple[object, ...]]:
    columns = "teacher, finish_reason, num_calls, cost_pico, unsettled_pico"
    return sorted(ledger._db.rows(f"SELECT {columns} FROM sums WHERE num_calls"))


@pytest.mark.parametrize("seeds", SEEDS, ids=["some", "many"])
def test_the_cap_is_never_crossed_in_random_runs_of_several_workers(
    tmp_path: Path, seeds: range
) -> None:
    num_short = 0
    for seed in seeds:
        path = tmp_path / f"{seed}.sqlite"
        market = Market(path, random.Random(seed))
        for _ in range(10):
            market.step()
        assert summed(market.ledgers[0]) == recounted(market.ledgers[0])
        num_short += bool(market.again)
        market.close()
        path.unlink()
    assert num_short > len(seeds) / 4  # the limit was felt


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "l.sqlite") as book:
        yield book


REQUESTS = [a_request(f"q{i}") for i in range(6)]


@settings(max_examples=60, deadline=None)
@given(
    cap=st.floats(0.0, 2.0),
    worst=st.lists(st.floats(0.0, 1.0), min_size=6, max_size=6),
    known=st.sets(st.integers(0, 5), max_size=3),
)
def test_what_is_claimed_is_all_before_the_first_that_does_not_fit(
    tmp_path_factory: pytest.TempPathFactory, cap: float, worst: list[float], known: set[int]
) -> None:
    with Ledger(tmp_path_factory.mktemp("l") / "l.sqlite") as ledger:
        ledger.claim([REQUESTS[i] for i in known])
        ledger.record_answers([an_answer(REQUESTS[i], usage=a_cost(0.0)) for i in known])
        claim = ledger.claim(REQUESTS, reserved_usd=worst, cap_usd=cap)
    wanted = [i for i in range(6) if i not in known]
    left, fits = limit_of(cap), []
    for i, pico in zip(wanted, picos_of([worst[i] for i in wanted]), strict=True):
        left -= pico
        if left < 0 and pico:
            break
        fits.append(REQUESTS[i])
    assert claim.requests == fits
    short = [] if claim.shortage is None else claim.shortage.requests
    assert fits + short == [REQUESTS[i] for i in wanted]


def test_a_call_of_another_process_holds_its_reserve_until_its_cost_is_known(
    tmp_path: Path,
) -> None:
    first, second, third, *_ = REQUESTS
    with Ledger(tmp_path / "l.sqlite") as one, Ledger(tmp_path / "l.sqlite") as two:
        one.claim([first], reserved_usd=[0.75], cap_usd=1.0)
        shortage = two.claim([second, third], reserved_usd=[0.5, 0.1], cap_usd=1.0).shortage
        assert shortage is not None
        assert shortage.requests == [second, third]
        assert (shortage.worst_usd, shortage.spent_usd, shortage.held_usd) == (0.5, 0.0, 0.75)
        assert (shortage.short_usd, shortage.room_from) == (0.25, {"elsewhere"})
        one.record_answers([an_answer(first, usage=a_cost(0.25))])
        claim = two.claim([second, third], reserved_usd=[0.5, 0.1], cap_usd=1.0)
        assert claim == Claim([second, third])


def test_where_room_may_come_from_is_told(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"

    def room_from(ledger: Ledger, worst_usd: float) -> frozenset[str]:
        claim = ledger.claim([REQUESTS[5]], reserved_usd=[worst_usd], cap_usd=1.0)
        assert claim.requests == []
        assert claim.shortage is not None
        return claim.shortage.room_from

    with Ledger(path) as one, Ledger(path) as two:
        one.claim(REQUESTS[:1], reserved_usd=[0.4], cap_usd=1.0)
        assert room_from(one, 0.7) == {"here"}
        assert room_from(two, 0.7) == {"elsewhere"}
        assert room_from(two, 1.1) == set()  # whatever comes back
        two.open_batch("p", REQUESTS[1:2], reserved_usd=[0.4], cap_usd=1.0)
        assert room_from(two, 0.7) == {"elsewhere", "batches"}
        one.close()
        assert room_from(two, 0.7) == {"batches"}  # what the gone one had is lost, or will be
        claim = two.claim(REQUESTS[2:4], reserved_usd=[0.1, 0.2], cap_usd=1.0)
        assert claim.requests == REQUESTS[2:3]
        assert claim.shortage is not None
        assert claim.shortage.room_from == {"here", "batches"}


def test_a_batch_that_failed_holds_nothing_and_a_settled_one_what_was_not_told(
    ledger: Ledger,
) -> None:
    for state, held_usd in (("failed", 0.0), ("settled", 0.5)):
        batch = ledger.open_batch("p", REQUESTS[:1], reserved_usd=[0.5], cap_usd=1.0).batch
        assert batch is not None
        ledger.set_batch_state(batch.id, state)  # type: ignore[arg-type]
        totals = ledger.totals()
        assert (totals.cost_usd, totals.unsettled_usd, totals.num_open) == (0.0, held_usd, 0)


def test_a_lost_call_holds_its_reserve_until_it_turns_up(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    late, other, *_ = REQUESTS
    with Ledger(path) as slow, Ledger(path) as quick:
        slow.claim([late], reserved_usd=[0.75], cap_usd=1.0)
        slow._db.rows("UPDATE workers SET pid = -1 WHERE number = 1")
        quick.settle_orphans()
        shortage = quick.claim([other], reserved_usd=[0.5], cap_usd=1.0).shortage
        assert shortage is not None
        assert shortage.room_from == set()
        slow.record_answers([an_answer(late, usage=a_cost(0.25))])
        assert quick.claim([other], reserved_usd=[0.5], cap_usd=1.0).requests == [other]


def test_a_call_that_cost_more_than_its_reserve_counts_in_full(ledger: Ledger) -> None:
    first, second, *_ = REQUESTS
    ledger.claim([first], reserved_usd=[0.1], cap_usd=1.0)
    ledger.record_answers([an_answer(first, usage=a_cost(0.9))])
    assert ledger.totals().cost_usd == 0.9
    assert ledger.claim([second], reserved_usd=[0.2], cap_usd=1.0).requests == []


def test_an_exchange_gives_back_before_it_claims(ledger: Ledger) -> None:
    first, second, *_ = REQUESTS
    ledger.claim([first], reserved_usd=[0.75], cap_usd=1.0)
    answers = [an_answer(first, usage=a_cost(0.25))]
    claim = ledger.exchange(answers, [second], reserved_usd=[0.75], cap_usd=1.0)
    assert claim == Claim([second])


def test_what_costs_nothing_has_room_under_any_limit(ledger: Ledger) -> None:
    first, second, *_ = REQUESTS
    ledger.claim([first], reserved_usd=[0.5], cap_usd=1.0)
    assert ledger.claim([second], reserved_usd=[0.0], cap_usd=0.1).requests == [second]


def test_a_request_without_room_leaves_no_trace(ledger: Ledger) -> None:
    assert ledger.claim(REQUESTS, reserved_usd=[1.0] * 6, cap_usd=0.5, run_key="r").requests == []
    assert (ledger.totals().num_requests, ledger.totals().num_calls) == (0, 0)
    assert list(ledger.unanswered("r")) == []
    assert request_in(ledger, REQUESTS[0].id) is None


def test_a_request_that_another_run_holds_stays_noted_while_there_is_no_room(
    tmp_path: Path,
) -> None:
    path = tmp_path / "l.sqlite"
    wanted = REQUESTS[0]
    with Ledger(path) as one, Ledger(path) as two:
        one.claim([wanted], reserved_usd=[0.1], run_key="one")
        two.claim([wanted], reserved_usd=[0.1], run_key="two")
        one.record_answers([replace(a_failure(wanted), usage=a_cost(0.0))])
        claim = two.claim([wanted], reserved_usd=[0.1], cap_usd=0.0, run_key="two")
        assert claim.requests == []
        assert list(two.unanswered("two")) == [wanted.id]


@pytest.mark.parametrize("usd", [-1.0, float("nan"), float("inf")])
def test_a_limit_is_an_amount_of_money(ledger: Ledger, usd: float) -> None:
    with pytest.raises(ConfigError, match="must be 0 or more"):
        ledger.claim(REQUESTS, reserved_usd=[0.1] * 6, cap_usd=usd)
    assert ledger.totals().num_calls == 0


def test_a_limit_needs_to_know_what_was_spent(ledger: Ledger) -> None:
    ledger.claim(REQUESTS[:1])
    ledger.record_answers([an_answer(REQUESTS[0], usage=a_cost(None))])
    with pytest.raises(ConfigError, match="holds answers whose price is not known"):
        ledger.claim(REQUESTS[1:], reserved_usd=[0.1] * 5, cap_usd=1.0)
    with pytest.raises(ConfigError, match="holds answers whose price is not known"):
        ledger.check_budget(1.0)


def test_sums_of_money_are_exact(ledger: Ledger) -> None:
    requests = [a_request(f"x{i}") for i in range(1_000)]
    ledger.claim(requests, reserved_usd=[0.1] * 1_000, cap_usd=100.0)
    assert ledger.totals().unsettled_usd == 100.0
    assert ledger.claim([REQUESTS[0]], reserved_usd=[1e-12], cap_usd=100.0).requests == []
    ledger.record_answers([an_answer(one, usage=a_cost(0.1)) for one in requests])
    assert (ledger.totals().cost_usd, ledger.totals().unsettled_usd) == (100.0, 0.0)


def test_a_hostile_price_overflows_nothing(ledger: Ledger) -> None:
    for i, request in enumerate(REQUESTS):
        ledger.claim([request], reserved_usd=[10.0**i])
        ledger.record_answers([an_answer(request, usage=a_cost(1e300))])
    assert ledger.totals().cost_usd == pytest.approx(60_000.0)
    assert ledger.claim([a_request("z")], reserved_usd=[1.0], cap_usd=50.0).requests == []
