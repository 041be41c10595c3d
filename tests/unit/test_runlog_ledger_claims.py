import os
import subprocess
import sys
from pathlib import Path

import pytest
from ledger_cases import (
    a_dead_pid,
    a_failure,
    a_request,
    an_answer,
    answer_in,
    ask,
    ids_of,
    run_sql,
    select,
)

from stillhouse.errors import IntegrityError
from stillhouse.runlog import Ledger, ReadPosition
from stillhouse.runlog._ledger._workers import Process, is_running, now_ms, this_process

ELSEWHERE = "UPDATE workers SET machine = 'elsewhere', heartbeat_utc_ms = ?"


def test_nobody_claims_what_a_living_process_is_asking_or_what_is_answered(tmp_path: Path) -> None:
    first, second, third = (a_request(text) for text in "123")
    with Ledger(tmp_path / "l.sqlite") as one, Ledger(tmp_path / "l.sqlite") as two:
        assert one.claim([first, second]).requests == [first, second]
        assert two.claim([first, third, second]).requests == [third]
        assert one.claim([first]).requests == []  # nor does a run ask what it is asking itself
        one.record_answers([an_answer(first), a_failure(second)])
        assert two.claim([first, second]).requests == [second]
        two.record_answers([an_answer(second)])
        assert answer_in(one, second.id) == an_answer(second)


def test_a_request_given_twice_is_claimed_once_with_the_first_place(tmp_path: Path) -> None:
    first, second = a_request("1"), a_request("2")
    with Ledger(tmp_path / "l.sqlite") as ledger:
        assert ledger.claim([second, first, second]).requests == [second, first]
        assert ledger.totals().num_calls == 2


def test_open_calls_are_those_of_workers_that_are_gone(tmp_path: Path) -> None:
    first, second = a_request("1"), a_request("2")
    gone = Ledger(tmp_path / "l.sqlite")
    gone.claim([first], reserved_usd=[0.25])
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ledger.claim([second])
        assert ledger.open_calls() == ledger.settle_orphans() == []
        gone.close()
        (call,) = ledger.open_calls()
        assert (call.request_id, call.prompt_id, call.teacher) == (first.id, "p-1", "fake:t")
        assert (call.reserved_usd, call.batch_id) == (0.25, None)
        assert abs(call.sent_utc.timestamp() * 1000 - now_ms()) < 60_000
        assert ledger.settle_orphans() == [call]
        assert ledger.open_calls() == ledger.settle_orphans() == []
        assert ledger.lost_calls() == [call]
        totals = ledger.totals()
        assert (totals.num_lost, totals.num_open, totals.unsettled_usd) == (1, 1, 0.25)


def test_a_killed_worker_on_this_machine_is_gone_whatever_the_clock_says(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    request = a_request("q")
    dead, alive = Ledger(path), Ledger(path)
    try:
        dead.claim([request])
        for jump_ms in (0, 10**10, -(10**10)):
            run_sql(path, "UPDATE workers SET heartbeat_utc_ms = heartbeat_utc_ms + ?", jump_ms)
            assert alive.claim([request]).requests == []
        run_sql(path, "UPDATE workers SET pid = ?, heartbeat_utc_ms = ?", a_dead_pid(), now_ms())
        assert alive.claim([request]).requests == [request]
        assert [call.request_id for call in alive.lost_calls()] == [request.id]
        assert select(
            path, "SELECT attempt FROM calls UNION ALL SELECT attempt FROM open_calls"
        ) == [
            (1,),
            (2,),
        ]
    finally:
        dead.close()
        alive.close()


def test_a_pid_that_another_process_has_now_is_not_taken_for_the_worker(tmp_path: Path) -> None:
    me = this_process()
    assert me.pid == os.getpid()
    assert is_running(me)
    assert not is_running(Process(me.machine, me.pid, me.start - 1))
    assert not is_running(Process(me.machine, a_dead_pid(), 0))


def test_a_process_that_waits_to_be_reaped_does_not_run() -> None:
    child = subprocess.Popen([sys.executable, "-c", "print()"], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.read()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it ended and is still there
    start = int(Path(f"/proc/{child.pid}/stat").read_text().rsplit(")", 1)[1].split()[19])
    assert not is_running(Process(this_process().machine, child.pid, start))
    child.communicate()


def test_a_worker_elsewhere_lives_as_long_as_its_heartbeat_is_young(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    request = a_request("q")
    with Ledger(path) as far, Ledger(path) as near:
        far.claim([request])
        run_sql(path, ELSEWHERE, now_ms() - 20_000)
        assert near.claim([request]).requests == []
        run_sql(path, ELSEWHERE, now_ms() - 40_000)
        assert len(near.open_calls()) == 1
        far.beat()
        assert near.open_calls() == []
        # A clock that was set back must not keep a dead worker alive for hours.
        run_sql(path, ELSEWHERE, now_ms() + 3_600_000)
        assert near.claim([request]).requests == [request]
        assert near.settle_orphans() == []
        # Having been taken for dead, it is back with its next write.
        second = a_request("second")
        far.claim([second])
        assert near.claim([second]).requests == []


def test_an_answer_that_comes_after_its_call_was_given_up_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    early, late = a_request("early"), a_request("late")
    with Ledger(path) as slow, Ledger(path) as quick:
        slow.claim([early, late])
        run_sql(path, ELSEWHERE, 0)
        assert len(quick.settle_orphans()) == 2
        slow.record_answers([an_answer(early)])
        assert quick.totals().num_lost == 1
        assert quick.claim([early, late]).requests == [late]
        quick.record_answers([an_answer(late, "asked again")])
        slow.record_answers([an_answer(late, "slow")])
        # Both were paid; the first that was recorded stays the answer.
        assert answer_in(quick, late.id) == an_answer(late, "asked again")
        totals = quick.totals()
        assert (totals.num_answered, totals.num_lost, totals.cost_usd) == (3, 0, 1.5)


def test_a_late_answer_leaves_alone_the_call_of_who_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    request = a_request("q")
    with Ledger(path) as slow, Ledger(path) as quick:
        slow.claim([request])
        run_sql(path, ELSEWHERE, 0)
        assert quick.claim([request]).requests == [request]
        slow.record_answers([an_answer(request, "slow")])
        assert (quick.totals().num_open, quick.totals().num_lost) == (1, 0)
        quick.record_answers([an_answer(request, "asked again")])
        assert answer_in(quick, request.id) == an_answer(request, "slow")
        assert quick.totals().num_answered == 2


def test_a_late_answer_is_to_the_call_of_who_records_it(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    request = a_request("q")
    with Ledger(path) as first, Ledger(path) as second, Ledger(path) as third:
        for ledger in (first, second, third):
            assert ledger.claim([request]).requests == [request]
            run_sql(path, ELSEWHERE, 0)  # all of them fall silent
        second.record_answers([a_failure(request)])
        outcomes = "SELECT worker, finish_reason FROM calls ORDER BY worker"
        assert select(path, outcomes) == [(1, "lost"), (2, "error")]
        assert select(path, "SELECT worker FROM open_calls") == [(3,)]


def test_an_answer_to_what_another_living_process_asks_is_refused(tmp_path: Path) -> None:
    request = a_request("q")
    with Ledger(tmp_path / "l.sqlite") as one, Ledger(tmp_path / "l.sqlite") as two:
        one.claim([request])
        with pytest.raises(IntegrityError, match="no open call"):
            two.record_answers([an_answer(request)])
        assert one.totals().num_open == 1


def test_another_process_may_record_what_it_fetched_for_one_that_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    first, second = a_request("1"), a_request("2")
    gone = Ledger(path)
    gone.claim([first, second])
    gone.close()
    with Ledger(path) as ledger:
        ledger.record_answers([an_answer(first)])
        ledger.settle_orphans()
        ledger.record_answers([an_answer(second)])
        assert ledger.totals().num_answered == 2
        assert ledger.totals().num_lost == 0


def test_a_position_is_kept_and_moves_forward_only(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    near, far = ReadPosition(10, 1, "a" * 64), ReadPosition(900, 70, "b" * 64)
    with Ledger(path) as ledger:
        assert ledger.read_position("run") is None
        ledger.claim([a_request("q")], run_key="run")
        assert ledger.read_position("run") is None
        ledger.note_read("run", far)
        ledger.note_read("run", near)
        ledger.note_read("other", near)
    with Ledger(path) as ledger:
        assert ledger.read_position("run") == far
        assert ledger.read_position("other") == near


def test_a_run_goes_on_where_an_earlier_one_stood_with_what_that_left(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    answered, failed, still_open, later = requests = [a_request(str(n)) for n in range(4)]
    with Ledger(path) as other, Ledger(path) as ledger:
        other.claim(requests[:3], run_key="before")
        other.record_answers([an_answer(answered), a_failure(failed)])
        other.note_read("before", ReadPosition(90, 3, "a" * 64))
        ledger.continue_run("after", ["unknown", "before"], prefix_sha256="b" * 64)
        assert ledger.read_position("after") == ReadPosition(90, 3, "b" * 64)
        assert list(ledger.unanswered("after")) == [failed.id, still_open.id]
        # The earlier run is as it was, and goes on by itself.
        other.claim([later], run_key="before")
        assert list(ledger.unanswered("before")) == [failed.id, still_open.id, later.id]
        assert list(ledger.unanswered("after")) == [failed.id, still_open.id]
        assert other.read_position("before") == ReadPosition(90, 3, "a" * 64)


def test_a_run_that_has_begun_is_not_put_back(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ledger.claim([a_request("q")], run_key="before")
        ledger.note_read("before", ReadPosition(90, 3, "a" * 64))
        ledger.note_read("after", ReadPosition(30, 1, "b" * 64))
        ledger.continue_run("after", ["before"], prefix_sha256="b" * 64)
        assert ledger.read_position("after") == ReadPosition(30, 1, "b" * 64)
        assert list(ledger.unanswered("after")) == []


def test_memos_are_found_by_how_their_keys_begin(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger:
        for key in ("a.b", "a.b:2", "a.B:1", "a.c", "a", "a_b:1", "a.b\U0010fffe"):
            ledger.keep_memo(key, key.upper())
        found = ["a.b", "a.b:2", "a.b\U0010fffe"]
        assert ledger.memos("a.b") == [(key, key.upper()) for key in found]
        assert ledger.memos("%") == []


def test_unanswered_are_the_open_failed_and_lost_requests_of_one_run(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    names = ["answered", "failed", "retried", "lost", "open"]
    answered, failed, retried, lost, still_open = requests = [a_request(name) for name in names]
    gone = Ledger(path)
    gone.claim(requests[:4], run_key="run")
    gone.claim([a_request("of another run")], run_key="other")
    gone.record_answers([an_answer(answered), a_failure(failed), a_failure(retried)])
    gone.close()
    with Ledger(path) as ledger:
        ledger.settle_orphans()
        ask(ledger, (retried, an_answer(retried)))
        ledger.claim([still_open], run_key="run")
        assert list(ledger.unanswered("run")) == ids_of([failed, lost, still_open])
        assert list(ledger.unanswered("unknown")) == []


def test_a_request_refused_for_another_runs_sake_stays_unanswered_in_this_one(
    tmp_path: Path,
) -> None:
    path = tmp_path / "l.sqlite"
    kept, dropped = a_request("kept"), a_request("dropped")
    with Ledger(path) as one, Ledger(path) as two:
        one.claim([kept, dropped], run_key="one")
        assert two.claim([kept, dropped], run_key="two").requests == []
        assert two.claim([kept, dropped], run_key="one").requests == []
        one.record_answers([an_answer(kept), a_failure(dropped)])
        assert list(two.unanswered("two")) == [dropped.id]
        assert two.claim([dropped], run_key="two").requests == [dropped]
        assert select(path, "SELECT * FROM held WHERE request <> 1") == []
        two.record_answers([an_answer(dropped)])
        assert list(two.unanswered("two")) == list(two.unanswered("one")) == []
        one.settle_orphans()
        assert select(path, "SELECT * FROM held") == []


def test_unanswered_hands_out_more_than_one_query_of_them(tmp_path: Path) -> None:
    requests = [a_request(f"q{i}") for i in range(1300)]
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ledger.claim(requests, run_key="run")
        assert list(ledger.unanswered("run")) == ids_of(requests)
        assert list(ledger.requests(ledger.unanswered("run"))) == requests
