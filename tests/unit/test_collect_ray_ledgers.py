"""Ledgers of workers on machines that share no disk with the driver, without Ray."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ledger_cases import a_dead_pid, a_request, an_answer, ask, run_sql

from stillhouse.collect import CollectConfig
from stillhouse.collect._purse import lost_usd
from stillhouse.collect._ray._cluster import LostNodeError, Node
from stillhouse.collect._ray._ledgers import WorkerLedgers
from stillhouse.collect._ray._shards import RestOfShare, ShardMaker
from stillhouse.collect._shares import open_shares
from stillhouse.collect._source import PromptSource
from stillhouse.records import Message, Prompt
from stillhouse.runlog import Ledger

FAR = Node("1", "far.example")
THERE = Path("/nowhere/here")


class FarMachine:
    """The only other machine: its files are in a folder of the test."""

    def __init__(self, disk: Path) -> None:
        self.disk = disk
        self.is_there = True
        (disk / "nowhere" / "here").mkdir(parents=True)

    def call_at(self, node: Node, function: Callable[..., Any], *arguments: Any) -> Any:
        if not self.is_there:
            raise LostNodeError(f"{node.host} is gone")
        found = function(*(self._at_home(one) for one in arguments))
        return (
            [Path("/") / path.relative_to(self.disk) for path in found]
            if _is_list(found)
            else found
        )

    def call_elsewhere(
        self, function: Callable[..., Any], *arguments: Any
    ) -> Iterator[tuple[Node, Any]]:
        if self.is_there:
            yield FAR, self.call_at(FAR, function, *arguments)

    def _at_home(self, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(self._at_home, value))
        return self.disk / value.relative_to("/") if isinstance(value, Path) else value


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


@pytest.fixture
def far(tmp_path: Path) -> FarMachine:
    return FarMachine(tmp_path / "far")


@pytest.fixture
def ledgers(tmp_path: Path, far: FarMachine) -> Iterator[WorkerLedgers]:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        yield WorkerLedgers(ledger, (THERE,), "run", far)  # type: ignore[arg-type]


def write_far(far: FarMachine, name: str) -> Path:
    """A ledger there of a worker that died with one call open."""
    path = far.disk / "nowhere" / "here" / name
    done, lost = a_request(f"done {name}"), a_request(f"lost {name}")
    with Ledger(path) as ledger:
        ask(ledger, (done, an_answer(done, "text " * 5000)))
        ledger.claim([lost], reserved_usd=[0.5])
        run_sql(path, "UPDATE workers SET pid = ?", a_dead_pid())
    return THERE / name


def test_a_ledger_is_brought_here_merged_and_removed_there(
    far: FarMachine, ledgers: WorkerLedgers, tmp_path: Path
) -> None:
    path = write_far(far, "run.a-1.sqlite")
    totals = ledgers.take_over(path, FAR)
    assert totals is not None
    assert (totals.num_answered, totals.num_lost, totals.unsettled_usd) == (1, 1, 0.5)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.totals().num_calls == 2
        answer = next(ledger.answered([a_request("done run.a-1.sqlite").id]))
        assert answer.body == b"text " * 5000
    assert list((far.disk / "nowhere" / "here").iterdir()) == []
    assert [one.name for one in tmp_path.iterdir() if ".part" in one.name] == []


def test_what_an_earlier_attempt_left_is_found_on_every_machine(
    far: FarMachine, ledgers: WorkerLedgers, tmp_path: Path
) -> None:
    write_far(far, "run.a-1.sqlite")
    write_far(far, "run.b-3.sqlite")
    write_far(far, "another.b-3.sqlite")
    ledgers.take_over_all()
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.totals().num_answered == 2
    left = [one.name for one in (far.disk / "nowhere" / "here").iterdir()]
    assert left == ["another.b-3.sqlite"]


def test_a_ledger_that_is_gone_with_its_machine_is_told_in_one_line_and_remembered(
    far: FarMachine, ledgers: WorkerLedgers, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    far.is_there = False
    with pytest.raises(LostNodeError):
        ledgers.take_over(THERE / "run.a-1.sqlite", FAR)
    ledgers.note_lost(FAR, 40, 0.25)
    ledgers.note_lost(FAR, 2, 0.5)
    assert "far.example is gone with the ledger of a worker: up to 40 calls, $0.2500" in caplog.text
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert lost_usd(ledger) == 0.75


def test_shards_leave_out_what_is_answered_and_cover_the_rest(tmp_path: Path) -> None:
    prompts = [
        Prompt(id=f"p{n}", messages=(Message(role="user", content=f"q {n}"),)) for n in range(7)
    ]
    source = PromptSource(prompts)
    survey = source.survey()
    config = CollectConfig(samples_per_prompt=2)
    with (
        Ledger(tmp_path / "ledger.sqlite") as ledger,
        open_shares("fake:", config, ledger) as shares,
    ):
        asked = [one for prompt in prompts for one in shares[0].requests_for(prompt)]
        known = [asked[0], asked[1], asked[5]]
        ask(ledger, *((one, an_answer(one)) for one in known))
        maker = ShardMaker(shares, ledger, may_repeat=False)
        cut = list(maker.cut(source, survey, 3))
        assert [num_known for num_known, _ in cut] == [3, 0, 0]
        assert [[prompt.id for prompt in shard.prompts] for _, shard in cut] == [
            ["p1", "p2"],
            ["p3", "p4", "p5"],
            ["p6"],
        ]
        left = [
            request
            for _, shard in cut
            for prompt in shard.prompts
            for request in RestOfShare(**vars(shares[0]), shard=shard).requests_for(prompt)
        ]
        assert [one.id for one in left] == [one.id for one in asked if one not in known]
        assert sum(shard.num_requests for _, shard in cut) == len(left)
        # A worker that died had answered one more.
        ask(ledger, (asked[6], an_answer(asked[6])))
        assert maker.rest_of(cut[1][1])[1].num_requests == 5
