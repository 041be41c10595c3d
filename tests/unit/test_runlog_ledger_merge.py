"""Ledgers that are merged hold what one ledger would have held."""

import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_cases import (
    a_dead_pid,
    a_failure,
    a_request,
    an_answer,
    answer_in,
    ask,
    run_sql,
    select,
)

from stillhouse.errors import ConfigError, IntegrityError
from stillhouse.records import Usage
from stillhouse.runlog import Ledger, LedgerTotals

COUNTED = (
    "num_requests", "num_calls", "num_answered", "num_failed", "num_lost", "prompt_tokens",
    "completion_tokens", "num_open",
)  # fmt: skip
calls = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from(["answer", "error", "lost"]), st.integers(0, 2)),
    max_size=30,
)


def counted(totals: LedgerTotals) -> dict[str, Any]:
    return {name: getattr(totals, name) for name in COUNTED}


def write(ledger: Ledger, number: int, outcome: str) -> bool:
    """One call, as far as the ledger lets it be made."""
    request = a_request(f"question {number}", teacher=f"fake:{number % 3}")
    if not ledger.claim([request], reserved_usd=[0.25]).requests:
        return False
    usage = Usage(prompt_tokens=number, completion_tokens=2, cost_usd=0.5 + number)
    if outcome == "answer":
        ledger.record_answers([an_answer(request, f"answer {number}", usage)])
    elif outcome == "error":
        ledger.record_answers([a_failure(request)])
    return True


def rows_of(path: Path) -> dict[str, list[Any]]:
    tables = ("teachers", "segments", "requests", "calls", "sums", "workers", "runs", "held")
    return {table: select(path, f"SELECT * FROM {table}") for table in tables}


def a_ledger(path: Path, *outcomes: tuple[int, str]) -> Path:
    with Ledger(path) as ledger:
        for number, outcome in outcomes:
            write(ledger, number, outcome)
    return path


@settings(max_examples=12, deadline=None)
@given(calls)
def test_any_split_of_calls_merges_to_what_one_ledger_holds(
    made: list[tuple[int, str, int]],
) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        whole, parts = Ledger(folder / "whole"), []
        answered: set[int] = set()
        for part in range(3):
            time.sleep(0.002)  # so that the parts are told apart as processes would be
            parts.append(Ledger(folder / f"part{part}"))
            write(parts[-1], 100 + part, "answer")
            write(whole, 100 + part, "answer")
        for number, outcome, part in made:
            # A call that is open in one ledger does not hold the others up, so end it in all.
            if number in answered or not write(parts[part], number, outcome):
                continue
            if outcome == "answer":
                answered.add(number)
            whole.close()
            whole = Ledger(folder / "whole")
            assert write(whole, number, outcome)
            parts[part].close()
            parts[part] = Ledger(folder / f"part{part}")
        whole.close()
        with Ledger(folder / "whole") as one, Ledger(folder / "merged") as merged:
            one.settle_orphans()
            for part in range(3):
                parts[part].close()
                merged.merge(folder / f"part{part}")
            assert counted(merged.totals()) == counted(one.totals())
            assert merged.totals().cost_usd == pytest.approx(one.totals().cost_usd)
            assert merged.totals().unsettled_usd == pytest.approx(one.totals().unsettled_usd)
            ids = [a_request(f"question {n}", teacher=f"fake:{n % 3}").id for n in range(103)]
            assert {a.request_id: a for a in merged.answered(ids)} == {
                a.request_id: a for a in one.answered(ids)
            }
            assert Counter(c.request_id for c in merged.lost_calls()) == Counter(
                c.request_id for c in one.lost_calls()
            )
            assert list(merged.requests(ids)) == list(one.requests(ids))


def test_merging_twice_changes_nothing(tmp_path: Path) -> None:
    source = a_ledger(tmp_path / "a", (1, "answer"), (2, "error"), (3, "lost"))
    with Ledger(tmp_path / "into") as into:
        into.merge(source)
    first = rows_of(tmp_path / "into")
    with Ledger(tmp_path / "into") as into:
        into.merge(source)
    assert rows_of(tmp_path / "into") == first


def test_a_ledger_that_has_grown_adds_only_what_is_new(tmp_path: Path) -> None:
    source = a_ledger(tmp_path / "a", (1, "answer"), (2, "error"))
    with Ledger(tmp_path / "into") as into:
        into.merge(source)
        num_calls = into.totals().num_calls
        a_ledger(source, (2, "answer"), (3, "answer"))
        into.merge(source)
        assert into.totals().num_calls == num_calls + 2
        with Ledger(source) as whole:
            assert counted(into.totals()) == counted(whole.totals())


def test_what_came_through_a_third_ledger_is_known(tmp_path: Path) -> None:
    source = a_ledger(tmp_path / "a", (1, "answer"), (2, "lost"))
    with Ledger(tmp_path / "b") as between, Ledger(tmp_path / "c") as into:
        between.merge(source)
        into.merge(source)
        between.close()
        num_calls = into.totals().num_calls
        into.merge(tmp_path / "b")
        assert into.totals().num_calls == num_calls


def test_an_answer_takes_the_place_of_the_lost_call_that_was_merged_before(tmp_path: Path) -> None:
    request = a_request("slow")
    source = Ledger(tmp_path / "a")
    source.claim([request], reserved_usd=[0.75])
    # To the merge, its process is gone.
    run_sql(tmp_path / "a", "UPDATE workers SET pid = ?", a_dead_pid())
    with Ledger(tmp_path / "into") as into:
        into.merge(tmp_path / "a")
        assert (into.totals().num_lost, into.totals().unsettled_usd) == (1, 0.75)
        source.record_answers([an_answer(request)])
        source.close()
        into.merge(tmp_path / "a")
        totals = into.totals()
        assert (totals.num_lost, totals.num_answered, totals.unsettled_usd) == (0, 1, 0.0)
        assert into.lost_calls() == []


def test_an_answer_that_both_paid_for_is_counted_twice_and_given_once(tmp_path: Path) -> None:
    source = a_ledger(tmp_path / "a", (1, "answer"))
    time.sleep(0.002)
    with Ledger(a_ledger(tmp_path / "into", (1, "answer"))) as into:
        into.merge(source)
        assert (into.totals().num_answered, into.totals().num_requests) == (2, 1)
        assert into.totals().cost_usd == 3.0


def test_runs_keep_what_they_have_left(tmp_path: Path) -> None:
    request = a_request("failing")
    with Ledger(tmp_path / "a") as source:
        source.claim([request], run_key="run")
        source.record_answers([a_failure(request)])
    with Ledger(tmp_path / "into") as into:
        ask(into, (a_request("other"), an_answer(a_request("other"))))
        into.merge(tmp_path / "a")
        assert list(into.unanswered("run")) == [request.id]
        assert into.read_position("run") is None


def test_a_ledger_in_use_is_refused(tmp_path: Path) -> None:
    with Ledger(tmp_path / "a") as source, Ledger(tmp_path / "into") as into:
        source.claim([a_request("x")])
        with pytest.raises(ConfigError, match="is being written by a running process"):
            into.merge(tmp_path / "a")


def test_a_ledger_with_a_running_batch_is_refused_and_one_with_a_settled_is_not(
    tmp_path: Path,
) -> None:
    request = a_request("x")
    with Ledger(tmp_path / "a") as source:
        batch = source.open_batch("openai", [request]).batch
        assert batch is not None
    with Ledger(tmp_path / "into") as into:
        with pytest.raises(ConfigError, match="1 batches whose answers were not fetched"):
            into.merge(tmp_path / "a")
        with Ledger(tmp_path / "a") as source:
            source.record_answers([an_answer(request)])
            source.set_batch_state(batch.id, "settled")
        into.merge(tmp_path / "a")
        assert [one.id for one in into.batches()] == [batch.id]
        assert answer_in(into, request.id) == an_answer(request)


def test_wrong_paths_are_one_clear_error_each(tmp_path: Path) -> None:
    with Ledger(tmp_path / "into") as into:
        with pytest.raises(ConfigError, match="does not exist"):
            into.merge(tmp_path / "missing")
        into.claim([a_request("x")])  # it is being written, which is not what is wrong
        with pytest.raises(IntegrityError, match="into itself"):
            into.merge(tmp_path / "into")
    assert not (tmp_path / "missing").exists()


_MERGING = """
import sys
from pathlib import Path
from stillhouse.runlog import Ledger
with Ledger(Path(sys.argv[1])) as into:
    print(flush=True)
    into.merge(Path(sys.argv[2]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_a_killed_merge_has_done_all_or_nothing_and_is_done_again(tmp_path: Path) -> None:
    requests = [a_request(f"question {n}") for n in range(3000)]
    with Ledger(tmp_path / "a") as source:
        source.claim(requests)
        source.record_answers([an_answer(one, "text " * 200) for one in requests])
    found = set()
    for pause_s in (0.0, 0.02, 0.04, 0.08):
        arguments = [sys.executable, "-c", _MERGING, str(tmp_path / "into"), str(tmp_path / "a")]
        child = subprocess.Popen(arguments, stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(pause_s)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        with Ledger(tmp_path / "into") as into:
            found.add(into.totals().num_answered)
    assert found <= {0, 3000}
    with Ledger(tmp_path / "into") as into:
        into.merge(tmp_path / "a")
        assert into.totals().num_answered == len(list(into.answered(r.id for r in requests)))
        assert into.totals().num_calls == 3000
