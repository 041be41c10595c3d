import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from ledger_cases import a_dead_pid, a_failure, a_request, an_answer, run_sql, select
from ledger_work import NUM_REQUESTS

from stillhouse.records import Request
from stillhouse.runlog import Ledger

NUM_KILLS = 20
REQUESTS = [a_request(f"q{i}") for i in range(6)]


def test_twenty_kills_lose_no_answer_and_every_second_payment_is_listed(tmp_path: Path) -> None:
    program = Path(__file__).with_name("ledger_work.py")
    subprocess.run([sys.executable, program, tmp_path, str(NUM_KILLS)], check=True, timeout=60)
    paid = Counter((tmp_path / "paid").read_text().split())
    counted = set((tmp_path / "counted").read_text().split())
    path = tmp_path / "ledger.sqlite"
    failed = Counter(
        key.hex()
        for (key,) in select(
            path,
            "SELECT r.id FROM calls c JOIN requests r ON r.number = c.request "
            "WHERE finish_reason = 'error'",
        )
    )
    with Ledger(path) as ledger:
        assert ledger.totals().num_answered == NUM_REQUESTS
        assert ledger.answered_ids(paid) == set(paid) >= counted
        listed = Counter(call.request_id for call in ledger.lost_calls())
        assert list(ledger.unanswered("run")) == []
        assert ledger.open_calls() == []
    again = {request: times - 1 - failed[request] for request, times in paid.items()}
    # Killed between the intent and the payment, a call is listed and was not paid.
    assert all(times <= listed[request] for request, times in again.items())
    assert min(again.values()) == 0
    assert 0 < listed.total() <= NUM_KILLS * 8


def test_two_processes_share_the_work_and_lose_no_row(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    script = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from ledger_cases import a_request, an_answer
from stillhouse.runlog import Ledger
requests = [a_request(str(i)) for i in range(400)]
with Ledger(Path({str(path)!r})) as ledger:
    while not Path({str(tmp_path / "go")!r}).exists(): time.sleep(0.001)
    answers = []
    for start in range(0, 400, 4):
        claim = ledger.exchange(answers, requests[start:start + 4])
        answers = [an_answer(request) for request in claim.requests]
    ledger.record_answers(answers)
"""
    children = [subprocess.Popen([sys.executable, "-c", script]) for _ in "ab"]
    (tmp_path / "go").touch()
    assert [child.wait(timeout=30) for child in children] == [0, 0]
    with Ledger(path) as ledger:
        totals = ledger.totals()
    assert (totals.num_requests, totals.num_calls, totals.num_answered) == (400, 400, 400)


def test_processes_that_make_the_file_at_once_all_get_a_ledger(tmp_path: Path) -> None:
    script = f"""
import os, time
from pathlib import Path
from stillhouse.runlog import Ledger
for attempt in range(15):
    path = Path({str(tmp_path)!r}) / f"{{attempt}}.sqlite"
    start_s = time.monotonic() + 0.01
    pids = [os.fork(), os.fork()]  # four processes
    time.sleep(max(0.0, start_s - time.monotonic()))
    with Ledger(path) as ledger:
        ledger.beat()
    for pid in reversed(pids):
        if pid == 0:
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)


class TwoWorkers(RuleBasedStateMachine):
    """Any order of claims, answers, kills and suspensions.

    `opened` says which incarnation of a worker is asking, `lost` counts calls that were given up;
    `away` are the incarnations that others take for dead.
    """

    who = st.integers(0, 1)
    some = st.lists(st.sampled_from(REQUESTS), max_size=4)

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "l.sqlite"
        self.workers = [self._open(), self._open()]
        self.opened: dict[str, Ledger] = {}
        self.lost: Counter[tuple[Ledger, str]] = Counter()
        self.away: set[Ledger] = set()
        self.answered: set[str] = set()

    def _open(self) -> Ledger:
        ledger = Ledger(self.path)
        ledger._db.rows("PRAGMA synchronous = OFF")  # nothing here pulls the plug
        ledger.beat()
        return ledger

    def _claim(self, me: Ledger, wanted: list[Request]) -> list[Request]:
        """What has to be claimed, by the rules that users are told."""
        claimed = []
        for request in dict.fromkeys(wanted):
            owner = self.opened.get(request.id)
            if request.id in self.answered or (owner is not None and owner not in self.away):
                continue
            if owner is not None:
                self.lost[owner, request.id] += 1
            self.opened[request.id] = me
            claimed.append(request)
        return claimed

    def _record(self, me: Ledger, request: Request, is_failure: bool) -> None:
        if self.opened.get(request.id) is me:
            del self.opened[request.id]
        else:
            self.lost[me, request.id] -= 1
        if not is_failure:
            self.answered.add(request.id)

    @rule(who=who, is_failure=st.booleans(), wanted=some, data=st.data())
    def exchange(
        self, who: int, is_failure: bool, wanted: list[Request], data: st.DataObject
    ) -> None:
        me = self.workers[who]
        self.away.discard(me)  # one that was taken for dead is back with what it says
        asking = [r for r in REQUESTS if self.opened.get(r.id) is me or self.lost[me, r.id]]
        ended = data.draw(st.lists(st.sampled_from(asking), unique=True)) if asking else []
        for request in ended:
            self._record(me, request, is_failure)
        free = self._claim(me, wanted)
        reply = a_failure if is_failure else an_answer
        assert me.exchange([reply(request) for request in ended], wanted).requests == free

    @rule(who=who)
    def kill(self, who: int) -> None:
        me = self.workers[who]
        self._set(me, "pid", a_dead_pid())
        self._set(me, "heartbeat_utc_ms", 0)
        me._db.close()
        self.away.add(me)
        self.workers[who] = self._open()

    @rule(who=who)
    def suspend_elsewhere(self, who: int) -> None:
        me = self.workers[who]
        self._set(me, "machine", "elsewhere")
        self._set(me, "heartbeat_utc_ms", 0)
        self.away.add(me)

    def _set(self, ledger: Ledger, column: str, value: object) -> None:
        run_sql(
            self.path, f"UPDATE workers SET {column} = ? WHERE number = ?", value, ledger._worker
        )

    @rule(who=who)
    def settle(self, who: int) -> None:
        me = self.workers[who]
        self.away.discard(me)
        orphans = {key: owner for key, owner in self.opened.items() if owner in self.away}
        assert {call.request_id for call in me.settle_orphans()} == set(orphans)
        for request_id, owner in orphans.items():
            del self.opened[request_id]
            self.lost[owner, request_id] += 1

    @invariant()
    def no_answer_is_lost_and_every_call_is_accounted_for(self) -> None:
        ledger = self.workers[0]
        assert ledger.answered_ids(request.id for request in REQUESTS) == self.answered
        totals = ledger.totals()
        assert (totals.num_open, totals.num_lost) == (len(self.opened), self.lost.total())

    def teardown(self) -> None:
        for worker in self.workers:
            worker.close()
        self.folder.cleanup()


TestTwoWorkers = TwoWorkers.TestCase
TestTwoWorkers.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
