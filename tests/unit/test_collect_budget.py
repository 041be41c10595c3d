"""A budget holds for all that is asked at once: by teachers, in batches, by other processes."""

import random
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from batch_cases import APIS, point_at
from budget_cases import Bill, CostlyTeacher, DiedError, attempt, open_quickly, some_prompts
from cli_process import start
from tests.mock_provider import MockProvider

from stillhouse.collect import CollectConfig, collect
from stillhouse.collect._purse import add_lost_usd
from stillhouse.errors import BudgetExceededError, ConfigError
from stillhouse.records import Request, Sampling, Usage
from stillhouse.runlog import Answer, Ledger

SEEDS = [range(120), pytest.param(range(120, 500), marks=pytest.mark.slow)]
PRICES = "".join(
    f"{name}/*: {{input: 2.0, output: 8.0, batch: 0.5}}\n"
    for name in ("openai", "anthropic", "google")
)


def run_at_random(path: Path, draw: random.Random) -> Bill:
    """Attempts at one collection until it is done, or out of money for good."""
    bill = Bill(draw.choice([0.0, 0.02, 0.1, 0.3]))
    num, at_once = draw.randint(1, 12), draw.choice([1, 3, 8])
    worst_usd = draw.sample([0.0, 1e-12, 0.0037, 0.01, 0.03], 2)
    for _ in range(4):
        teachers = [
            CostlyTeacher(
                name,
                bill,
                draw,
                worst_usd=worst_usd,
                at_once=at_once,
                pulls_again=draw.random() < 0.8,
                dies=True,
            )
            for name in "abc"[: draw.choice([1, 1, 2, 3])]
        ]
        with open_quickly(path) as ledger:
            try:
                attempt(ledger, teachers, some_prompts(num), bill.cap_usd)
                break
            except BudgetExceededError:
                assert ledger.totals().num_open == 0
            except DiedError:
                continue
    return bill


@pytest.mark.parametrize("seeds", SEEDS, ids=["some", "many"])
def test_the_cap_is_never_crossed_in_random_collections(tmp_path: Path, seeds: range) -> None:
    num_tight = 0
    for seed in seeds:
        path = tmp_path / f"{seed}.sqlite"
        bill = run_at_random(path, random.Random(seed))
        assert bill.most_usd <= 0
        num_tight += bill.paid_usd * 2 > bill.cap_usd
        path.unlink()
    assert num_tight > len(seeds) / 10


def test_a_run_ends_for_money_only_when_the_next_call_has_no_room(tmp_path: Path) -> None:
    for seed in range(20):
        bill = Bill(0.1)
        teacher = CostlyTeacher("a", bill, random.Random(seed), at_once=8)
        with (
            open_quickly(tmp_path / f"{seed}") as ledger,
            pytest.raises(BudgetExceededError, match=r"may cost 0\.010000 USD.* 0\.100000 USD"),
        ):
            attempt(ledger, [teacher], some_prompts(100), 0.1)
        totals = ledger_totals(tmp_path / f"{seed}")
        assert totals[0] + totals[1] > 0.09
        assert bill.most_usd <= 0


def ledger_totals(path: Path) -> tuple[float, float]:
    with Ledger(path) as ledger:
        totals = ledger.totals()
    assert totals.cost_usd is not None
    return totals.cost_usd, totals.unsettled_usd


def test_a_teacher_with_dear_calls_is_not_kept_waiting_by_one_with_cheap_ones(
    tmp_path: Path,
) -> None:
    bill, order = Bill(0.1), list[str]()
    cheap, dear = (
        CostlyTeacher(
            name, bill, random.Random(1), worst_usd=[usd], shares=[1e-3], failing=0.0, at_once=16
        )
        for name, usd in (("cheap", 0.005), ("dear", 0.097))
    )
    cheap.asked = dear.asked = order
    prompts = [
        *some_prompts(200, "c", teacher="costly:cheap"),
        *some_prompts(3, "d", teacher="costly:dear"),
    ]
    with open_quickly(tmp_path / "l") as ledger:
        attempt(ledger, [cheap, dear], prompts, 0.1)
    assert len(order) == 203
    assert bill.most_usd <= 0
    assert order.index("d0") <= 40
    assert order.index("d2") <= 120  # there is room for one of them at a time


@pytest.mark.parametrize("num_teachers", [1, 3])
def test_what_came_back_at_the_end_of_a_stream_is_spent_too(
    tmp_path: Path, num_teachers: int
) -> None:
    bill = Bill(0.05)
    teachers = [
        CostlyTeacher(f"{i}", bill, random.Random(i), shares=[0.01], failing=0.0, pulls_again=False)
        for i in range(num_teachers)
    ]
    with open_quickly(tmp_path / "l") as ledger:
        attempt(ledger, teachers, some_prompts(30), bill.cap_usd)
        assert ledger.totals().num_answered == 30 * num_teachers
    assert bill.most_usd <= 0


class GrowingPurse:
    """Gives `step_usd` more each time, so often.

    Attributes:
        asked_usd: What was lacking, each time.
    """

    def __init__(self, step_usd: float, times: int) -> None:
        self.cap_usd: float | None = 0.0
        self.asked_usd: list[float] = []
        self._step_usd = step_usd
        self._times = times

    def grow(self, short_usd: float) -> bool:
        assert self.cap_usd is not None
        self.asked_usd.append(short_usd)
        if len(self.asked_usd) > self._times:
            return False
        self.cap_usd += self._step_usd
        return True


@pytest.mark.parametrize("num_teachers", [1, 2])
def test_a_purse_is_asked_for_more_only_when_nothing_under_way_may_make_room(
    tmp_path: Path, num_teachers: int
) -> None:
    bill, purse = Bill(0.05), GrowingPurse(0.025, times=2)
    teachers = [
        CostlyTeacher(f"{i}", bill, random.Random(i), at_once=4) for i in range(num_teachers)
    ]
    with open_quickly(tmp_path / "l") as ledger:
        with pytest.raises(BudgetExceededError, match=r"budget of 0\.050000 USD"):
            attempt(ledger, teachers, some_prompts(100), None, purse)
        totals = ledger.totals()
    assert len(purse.asked_usd) == 3
    assert purse.asked_usd[0] == 0.01  # nothing is spent yet
    assert all(0.0 < usd <= 0.01 for usd in purse.asked_usd)
    assert totals.num_open == 0
    assert bill.most_usd <= 0


class CountedPurse:
    """A fixed budget that counts how often it is looked at."""

    def __init__(self, cap_usd: float) -> None:
        self.num_read = 0
        self._cap_usd = cap_usd

    @property
    def cap_usd(self) -> float:
        self.num_read += 1
        return self._cap_usd

    def grow(self, short_usd: float) -> bool:
        return False


def test_a_run_waits_for_what_another_process_may_give_back(tmp_path: Path) -> None:
    path = tmp_path / "l"
    bill = Bill(0.012)
    teacher = CostlyTeacher("a", bill, random.Random(3), at_once=2)
    prompts = some_prompts(1)
    other = Request.of(
        some_prompts(1, "other")[0], teacher=teacher.info.id, sampling=Sampling(), sample_index=0
    )
    answer = Answer(other.id, "completion", b"{}", "stop", "m", Usage(cost_usd=0.0))
    purse = CountedPurse(0.012)
    with open_quickly(path) as held:
        held.claim([other], reserved_usd=[0.01], cap_usd=0.012)

        def run() -> None:
            with open_quickly(path) as ledger:
                attempt(ledger, [teacher], prompts, None, purse)

        thread = threading.Thread(target=run)
        thread.start()
        time.sleep(1.3)
        assert (thread.is_alive(), teacher.asked) == (True, [])
        assert purse.num_read < 20  # it looks now and then
        held.record_answers([answer])
        thread.join(5)
    assert not thread.is_alive()
    assert teacher.asked.count("p0") >= 1


# ---- through providers


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[MockProvider]:
    with MockProvider(num_tokens=(20, 60)) as mock:
        for api in APIS.values():
            point_at(monkeypatch, api, mock)
        monkeypatch.setenv("XAI_BASE_URL", f"{mock.url}/v1")
        monkeypatch.setenv("XAI_API_KEY", "test-key")
        yield mock


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    path = tmp_path / "prices.yaml"
    path.write_text(PRICES)
    return path


def config(prices: Path | None, **access: Any) -> CollectConfig:
    if prices is not None:
        access["prices"] = str(prices)
    return CollectConfig.model_validate({"sampling": {"max_tokens": 60}, "access": access})


def paid_usd(provider: MockProvider) -> float:
    world = provider.world
    return (world.paid_prompt_tokens * 2.0 + world.paid_completion_tokens * 8.0) / 1e6


@pytest.mark.parametrize("name", sorted(APIS))
def test_every_api_keeps_to_the_budget_and_what_calls_did_not_cost_is_given_back(
    tmp_path: Path, provider: MockProvider, prices: Path, name: str
) -> None:
    cap_usd = 0.012  # 12 to 17 calls at their worst
    limited = config(prices, budget_usd=cap_usd, concurrency=8)
    with pytest.raises(BudgetExceededError, match="Raise the budget") as caught:
        collect(some_prompts(100), tmp_path / "o", teacher=APIS[name].spec, config=limited)
    assert "\n" not in str(caught.value)
    assert cap_usd - 0.001 <= paid_usd(provider) <= cap_usd
    assert provider.world.num_paid > 17
    assert ledger_totals(tmp_path / "ledger.sqlite") == (pytest.approx(paid_usd(provider)), 0.0)


def test_money_that_a_lost_ledger_may_have_spent_is_not_spent_again(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        add_lost_usd(ledger, 0.03)
        add_lost_usd(ledger, 0.015)
    bill = Bill(0.05)
    teacher = CostlyTeacher("a", bill, random.Random(1))  # a call may cost 0.01
    limited = config(None, budget_usd=0.05)
    with pytest.raises(BudgetExceededError):
        collect(some_prompts(3), tmp_path / "o", teacher=teacher, config=limited)
    assert teacher.asked == []


def test_a_budget_without_a_price_is_refused_before_anything_is_sent(
    tmp_path: Path, provider: MockProvider, prices: Path
) -> None:
    both = {"a": APIS["openai"].spec, "b": f"{provider.url}/v1#unpriced"}
    with pytest.raises(ConfigError, match="price of http:unpriced@localhost is unknown"):
        collect(
            some_prompts(9), tmp_path / "o", teacher=both, config=config(prices, budget_usd=1.0)
        )
    assert provider.count == 0
    assert not (tmp_path / "ledger.sqlite").exists()


def test_batches_and_calls_share_a_budget_and_give_back_to_each_other(
    tmp_path: Path, provider: MockProvider, prices: Path
) -> None:
    # A batch holds most of the budget while it is under way; what it did not cost goes to others.
    both = {"a": APIS["openai"].spec, "b": "xai:mock-small"}
    prices.write_text(PRICES + "xai/*: {input: 2.0, output: 8.0}\n")
    provider.change(num_tokens=(2, 3))
    tight = config(
        prices, budget_usd=0.004, tier="auto", batch_wait_s=0.1, batch_size=7, concurrency=4
    )
    artifact = collect(some_prompts(12), tmp_path / "o", teacher=both, config=tight)
    assert artifact.manifest.counts.kept == 24
    assert paid_usd(provider) <= 0.004
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert len(ledger.batches()) >= 2
        assert ledger.totals().unsettled_usd == 0.0


def start_collect(folder: Path, at: int, cap_usd: float, *more: str) -> "subprocess.Popen[str]":
    return start(
        "collect", f"prompts{at}.jsonl", "--teacher", APIS["openai"].spec, "--out", f"out{at}",
        "--budget", f"{cap_usd}", "--max-tokens", "60", "--set", "access.prices=prices.yaml",
        "--json", *more, cwd=folder,
    )  # fmt: skip


def wait_for_paid(
    provider: MockProvider, num: int, children: "list[subprocess.Popen[str]]"
) -> None:
    while provider.world.num_paid < num:
        assert all(child.poll() is None for child in children)
        time.sleep(0.01)


def write_prompts(folder: Path, at: int, num: int) -> None:
    rows = [{"prompt": f"River {at} {i} rises"} for i in range(num)]
    (folder / f"prompts{at}.jsonl").write_bytes(b"".join(orjson.dumps(r) + b"\n" for r in rows))


@pytest.mark.parametrize("num_processes", [pytest.param(2, marks=pytest.mark.slow), 3])
@pytest.mark.parametrize("is_one_collection", [True, False], ids=["one", "each its own"])
def test_processes_of_one_ledger_share_its_budget(
    tmp_path: Path,
    provider: MockProvider,
    prices: Path,
    num_processes: int,
    is_one_collection: bool,
) -> None:
    cap_usd = 0.05
    provider.change(latency={"first_s": 0.05})
    numbers = [0] * num_processes if is_one_collection else list(range(num_processes))
    for at in set(numbers):
        write_prompts(tmp_path, at, 400)
    children = [start_collect(tmp_path, at, cap_usd) for at in numbers]
    told = [child.communicate(timeout=60) for child in children]
    assert [child.returncode for child in children] == [2] * num_processes, told
    for _, err in told:
        assert "Raise the budget" in err
    # The last call had no room: less than its worst is left.
    assert cap_usd - 0.001 <= paid_usd(provider) <= cap_usd
    assert ledger_totals(tmp_path / "ledger.sqlite") == (pytest.approx(paid_usd(provider)), 0.0)


def test_what_a_killed_process_had_under_way_stays_counted(
    tmp_path: Path, provider: MockProvider, prices: Path
) -> None:
    cap_usd = 0.05
    provider.change(latency={"first_s": 0.05})
    for at in (0, 1):
        write_prompts(tmp_path, at, 400)
    # The one that is killed asks first, or a busy machine may not have let it begin.
    children = [start_collect(tmp_path, 0, cap_usd)]
    wait_for_paid(provider, 10, children)
    children.append(start_collect(tmp_path, 1, cap_usd))
    wait_for_paid(provider, 30, children)
    children[0].kill()
    children[0].communicate(timeout=10)
    _, err = children[1].communicate(timeout=60)
    assert children[1].returncode == 2
    assert "Raise the budget" in err
    again = start_collect(tmp_path, 0, cap_usd)
    again.communicate(timeout=60)
    assert again.returncode == 2
    cost_usd, unknown_usd = ledger_totals(tmp_path / "ledger.sqlite")
    assert unknown_usd > 0.0
    assert cost_usd <= paid_usd(provider) <= cost_usd + unknown_usd <= cap_usd
    assert cost_usd + unknown_usd >= cap_usd - 0.001
