from pathlib import Path

import pytest
from ledger_cases import a_failure, a_request, an_answer, select

from stillhouse.errors import IntegrityError
from stillhouse.runlog import Ledger


def test_a_batch_of_a_process_that_is_gone_is_not_asked_again_and_can_be_adopted(
    tmp_path: Path,
) -> None:
    path = tmp_path / "l.sqlite"
    requests = [a_request(f"q{i}") for i in range(300)]
    gone = Ledger(path)
    opened = gone.open_batch("openai", requests, reserved_usd=[0.01] * 300, run_key="run").batch
    gone.close()
    assert opened is not None
    with Ledger(path) as ledger:
        assert ledger.batches() == ledger.batches("opened") == [opened]
        assert (opened.remote_id, opened.num_requests, opened.provider) == (None, 300, "openai")
        assert ledger.open_calls() == ledger.settle_orphans() == []
        assert ledger.claim(requests, run_key="run").requests == []
        assert list(ledger.batch_requests(opened.id)) == requests
        ledger.name_batch(opened.id, "batch_abc")
        (running,) = ledger.batches("running")
        assert running.remote_id == "batch_abc"
        ledger.set_batch_state(opened.id, "ended")
        ledger.record_answers([an_answer(r) for r in requests[:200]])
        assert list(ledger.batch_requests(opened.id)) == requests[200:]
        ledger.record_answers([a_failure(r) for r in requests[200:]])
        ledger.set_batch_state(opened.id, "settled", note="100 expired")
        (settled,) = ledger.batches()
        assert (settled.state, settled.note) == ("settled", "100 expired")
        assert settled.settled_utc is not None
        totals = ledger.totals()
        assert (totals.num_answered, totals.num_failed, totals.num_open) == (200, 100, 0)
        assert ledger.claim(requests).requests == requests[200:]
    assert select(path, "SELECT DISTINCT batch FROM calls") == [(1,)]


def test_a_batch_leaves_out_what_is_answered_or_being_asked(tmp_path: Path) -> None:
    answered, asked, free = (a_request(text) for text in ("answered", "asked", "free"))
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ledger.claim([answered, asked])
        ledger.record_answers([an_answer(answered)])
        assert ledger.open_batch("p", [answered, asked]).batch is None
        batch = ledger.open_batch("p", [answered, asked, free]).batch
        assert batch is not None
        assert batch.num_requests == 1
        assert list(ledger.batch_requests(batch.id)) == [free]
        assert ledger.batches() == [batch]


def test_what_a_settled_batch_does_not_answer_is_lost(tmp_path: Path) -> None:
    request = a_request("q")
    with Ledger(tmp_path / "l.sqlite") as ledger:
        batch = ledger.open_batch("p", [request], reserved_usd=[0.5]).batch
        assert batch is not None
        ledger.set_batch_state(batch.id, "settled")
        (call,) = ledger.lost_calls()
        assert (call.batch_id, call.reserved_usd) == (batch.id, 0.5)
        assert ledger.claim([request]).requests == [request]


def test_what_a_failed_batch_held_is_an_error_and_asked_again(tmp_path: Path) -> None:
    request = a_request("q")
    with Ledger(tmp_path / "l.sqlite") as ledger:
        batch = ledger.open_batch("p", [request], run_key="run").batch
        assert batch is not None
        ledger.set_batch_state(batch.id, "failed", note="too many enqueued tokens")
        assert ledger.totals().num_failed == 1
        assert list(ledger.unanswered("run")) == [request.id]
        assert ledger.claim([request]).requests == [request]
    rows = select(ledger.path, "SELECT error_type, error_message, is_retryable FROM calls")
    assert rows == [("batch_failed", "too many enqueued tokens", 1)]


def test_a_batch_keeps_its_first_name_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger:
        batch = ledger.open_batch("p", [a_request("q")]).batch
        assert batch is not None
        ledger.name_batch(batch.id, "b-1")
        ledger.name_batch(batch.id, "b-1")
        with pytest.raises(IntegrityError, match="'b-1' at p, so it cannot be 'b-2'"):
            ledger.name_batch(batch.id, "b-2")
        with pytest.raises(IntegrityError, match="holds no batch 'nope'"):
            ledger.name_batch("nope", "b-1")
        with pytest.raises(IntegrityError, match="holds no batch 'nope'"):
            ledger.set_batch_state("nope", "ended")
        with pytest.raises(IntegrityError, match="holds no batch 'nope'"):
            list(ledger.batch_requests("nope"))
        assert ledger.batches() == ledger.batches("running")
