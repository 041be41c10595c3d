import os
import sqlite3
from pathlib import Path

import pytest
from ledger_cases import (
    a_failure,
    a_request,
    an_answer,
    answer_in,
    ask,
    ids_of,
    request_in,
    run_sql,
    select,
)

from stillhouse.errors import ConfigError, IntegrityError, RecordError
from stillhouse.records import Message, Usage
from stillhouse.runlog import Answer, Ledger
from stillhouse.runlog._ledger._sums import CALLS_ADDED_UP


def test_answers_come_back_in_the_order_asked_for_and_unchanged(tmp_path: Path) -> None:
    requests = [a_request(f"q{i}") for i in range(1200)]
    usage = Usage(
        prompt_tokens=9,
        completion_tokens=8,
        cached_prompt_tokens=7,
        cache_write_tokens=6,
        reasoning_tokens=5,
        audio_tokens=4,
        cost_usd=0.30000000000000004,
        seconds=1.25,
    )
    answers = [an_answer(r, "a\u2028\U0001f600" * 40 + r.id, usage) for r in requests]
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ask(ledger, *zip(requests, answers, strict=True))
    with Ledger(tmp_path / "l.sqlite") as again:
        wanted = ids_of(requests[::-1])
        assert list(again.answered([*wanted, "unknown"])) == answers[::-1]
        assert again.answered_ids([*wanted, "unknown"]) == set(wanted)
        assert answer_in(again, requests[7].id) == answers[7]
        assert answer_in(again, "unknown") is None
        assert list(again.requests([*wanted, "unknown"])) == requests[::-1]
        assert request_in(again, requests[7].id) == requests[7]
        assert request_in(again, "unknown") is None


@pytest.mark.parametrize("size", [0, 1, 511, 512, 300_000])
def test_bodies_of_every_size_come_back_byte_for_byte(tmp_path: Path, size: int) -> None:
    requests = [a_request(f"q{i}") for i in range(3)]
    bodies = [os.urandom(size), b"\x28\xb5\x2f\xfd" * (size // 4), b"\x00" * size]
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ledger.claim(requests)
        ledger.record_answers(
            [
                Answer(request.id, "d", body, "stop", "m")
                for request, body in zip(requests, bodies, strict=True)
            ]
        )
        assert [answer.body for answer in ledger.answered(ids_of(requests))] == bodies


def test_answers_of_one_group_are_compressed_together(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    requests = [a_request(f"q{i}") for i in range(64)]
    shared = os.urandom(1000).hex()
    with Ledger(path) as ledger:
        ask(ledger, *((r, an_answer(r, shared + r.id)) for r in requests))
    ((raw_bytes, stored_bytes),) = select(
        path, "SELECT raw_bytes, length(data) FROM segments ORDER BY number DESC LIMIT 1"
    )
    assert raw_bytes == 64 * 2064
    assert 2000 < stored_bytes < 64 * 100


def test_a_request_id_that_is_no_hash_is_kept_as_it_is(tmp_path: Path) -> None:
    names = ["short", "A" * 64, "z" * 64, "é" * 64, " a" * 32]
    requests = [a_request(name).model_copy(update={"id": name}) for name in names]
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ask(ledger, *((r, an_answer(r, r.id)) for r in requests))
        assert [answer.request_id for answer in ledger.answered(names)] == names
        assert ledger.answered_ids([name.lower() for name in names]) == {"short", *names[2:]}


def test_a_failed_call_does_not_count_as_answered_until_a_later_one_succeeds(
    tmp_path: Path,
) -> None:
    request = a_request("q")
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ask(ledger, (request, a_failure(request)))
        assert answer_in(ledger, request.id) is None
        assert ledger.answered_ids([request.id]) == set()
        ask(ledger, (request, a_failure(request)))
        ask(ledger, (request, an_answer(request, "third")))
        assert answer_in(ledger, request.id) == an_answer(request, "third")
        assert ledger.claim([request]).requests == []
        totals = ledger.totals()
    assert (totals.num_requests, totals.num_calls) == (1, 3)
    assert (totals.num_answered, totals.num_failed, totals.num_open) == (1, 2, 0)
    rows = select(ledger.path, "SELECT attempt, error_type, is_retryable FROM calls")
    assert rows == [(1, "timeout", 1), (2, "timeout", 1), (3, None, None)]


def test_an_exchange_records_first_and_then_claims(tmp_path: Path) -> None:
    first, second = a_request("1"), a_request("2")
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ledger.claim([first])
        assert ledger.exchange([an_answer(first)], [first, second]).requests == [second]
        assert ledger.exchange([a_failure(second)], [second]).requests == [second]
        assert ledger.exchange([an_answer(second)], []).requests == []
        assert ledger.totals().num_open == 0


def test_totals_know_the_cost_only_when_every_answer_does(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger:
        assert ledger.totals().cost_usd == 0.0
        for text in "ab":
            ask(ledger, (a_request(text), an_answer(a_request(text))))
        ask(ledger, (a_request("f"), a_failure(a_request("f"))))
        totals = ledger.totals()
        assert (totals.prompt_tokens, totals.completion_tokens, totals.cost_usd) == (6, 4, 1.0)
        ask(ledger, (a_request("c"), an_answer(a_request("c"), usage=Usage())))
        assert ledger.totals().cost_usd is None


def test_what_is_reserved_stays_in_the_totals_until_the_cost_is_known(tmp_path: Path) -> None:
    paid, failed, still_open = (a_request(text) for text in "pfo")
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ledger.claim([paid, failed, still_open], reserved_usd=[1.0, 2.0, 4.0])
        assert ledger.totals().unsettled_usd == 7.0
        ledger.record_answers([an_answer(paid), a_failure(failed)])
        totals = ledger.totals()
        assert (totals.unsettled_usd, totals.cost_usd) == (6.0, 0.5)


def test_sums_are_those_of_a_full_scan_by_teacher_and_outcome(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    usage = Usage(
        prompt_tokens=5, completion_tokens=7, cached_prompt_tokens=2, reasoning_tokens=3, cost_usd=1
    )
    with Ledger(path) as ledger:
        for i in range(30):
            request = a_request(f"q{i % 20}", teacher=f"fake:{i % 3}")
            if ledger.claim([request], reserved_usd=[0.1]).requests and i % 7:
                bad = i % 5 == 0
                ledger.record_answers(
                    [a_failure(request) if bad else an_answer(request, "", usage)]
                )
    with Ledger(path) as ledger:
        num_lost = len(ledger.settle_orphans())
        late = ledger.lost_calls()[0]
        asked = request_in(ledger, late.request_id)
        assert asked is not None
        ledger.record_answers([an_answer(asked)])
        totals = ledger.totals()
        parts = [ledger.totals(f"fake:{i}") for i in range(3)]
    scan = select(path, CALLS_ADDED_UP, 0, 10**9)
    sums = select(path, "SELECT * FROM sums WHERE num_calls > 0 ORDER BY teacher, finish_reason")
    assert [row[:2] for row in sums] == [row[:2] for row in scan]
    assert [pytest.approx(row[2:]) for row in sums] == [row[2:] for row in scan]
    assert num_lost > 1
    assert totals.num_lost == num_lost - 1
    assert {row[1] for row in sums} == {"stop", "error", "lost"}
    assert sum(row[2] for row in sums) == totals.num_calls
    assert sum(part.num_calls for part in parts) == totals.num_calls
    assert (
        sum(part.num_requests for part in parts)
        == totals.num_requests
        == len(select(path, "SELECT 1 FROM requests"))
    )
    assert totals.cached_prompt_tokens == sum(part.cached_prompt_tokens for part in parts) > 0
    assert totals.reasoning_tokens == sum(part.reasoning_tokens for part in parts) > 0


def test_an_answer_to_nothing_claimed_is_refused_and_the_whole_group_rolled_back(
    tmp_path: Path,
) -> None:
    sent, never_sent = a_request("sent"), a_request("never")
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ledger.claim([sent])
        with pytest.raises(IntegrityError, match="no open call"):
            ledger.record_answers([an_answer(sent), an_answer(never_sent)])
        assert answer_in(ledger, sent.id) is None
        with pytest.raises(IntegrityError, match="record each answer once"):
            ledger.record_answers([an_answer(sent), an_answer(sent)])
        ledger.record_answers([an_answer(sent)])
        assert answer_in(ledger, sent.id) == an_answer(sent)
        assert ledger.totals().num_calls == 1


def test_errors_with_broken_text_are_kept_and_broken_prompts_refused(tmp_path: Path) -> None:
    request = a_request("q")
    broken = request.model_copy(update={"messages": (Message(role="user", content="\ud800"),)})
    with Ledger(tmp_path / "l.sqlite") as ledger:
        with pytest.raises(RecordError, match="surrogate"):
            ledger.claim([broken])
        ask(ledger, (request, a_failure(request, "got \ud800 there")))
        assert ledger.totals().num_failed == 1
    rows = select(ledger.path, "SELECT error_message FROM calls")
    assert rows == [("got \\ud800 there",)]


def test_absurd_counts_of_tokens_neither_stop_a_run_nor_overflow_its_sums(tmp_path: Path) -> None:
    requests = [a_request(f"q{i}") for i in range(4)]
    absurd = Usage(prompt_tokens=2**70, completion_tokens=2**62)
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ask(ledger, *((r, an_answer(r, usage=absurd)) for r in requests))
        assert ledger.totals().completion_tokens == ledger.totals().prompt_tokens == 4 * 2**40


def test_commits_are_synced_in_full_and_journalled_in_wal(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger:
        assert ledger._db.rows("PRAGMA synchronous") == [(2,)]
        assert ledger._db.rows("PRAGMA journal_mode") == [("wal",)]


def test_a_foreign_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    content = b"not a database at all, but long enough to be read as one" * 50
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="not an SQLite file"):
        Ledger(path)
    assert path.read_bytes() == content


def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    run_sql(path, "CREATE TABLE mine (x)")
    before = path.read_bytes()
    with pytest.raises(IntegrityError, match="not a stillhouse ledger"):
        Ledger(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("version", [1, 2, 9])
def test_another_version_is_refused_naming_both_and_left_alone(
    tmp_path: Path, version: int
) -> None:
    path = tmp_path / "l.sqlite"
    Ledger(path).close()
    run_sql(path, f"PRAGMA user_version = {version}")
    before = path.read_bytes()
    with pytest.raises(IntegrityError, match=f"version {version}; this stillhouse reads 3"):
        Ledger(path)
    assert path.read_bytes() == before


def test_a_damaged_file_gives_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    requests = [a_request(f"q{i}") for i in range(200)]
    with Ledger(path) as ledger:
        ask(ledger, *((r, an_answer(r, os.urandom(600).hex())) for r in requests))
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match="damaged"), Ledger(path) as ledger:
        list(ledger.answered(ids_of(requests)))


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE segments SET data = zeroblob(400)",
        "UPDATE segments SET raw_bytes = raw_bytes - 1",
        "UPDATE segments SET raw_bytes = raw_bytes + 1",
        "DELETE FROM segments",
    ],
)
def test_damaged_bodies_give_one_clear_error(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "l.sqlite"
    request = a_request("q" * 5000)
    with Ledger(path) as ledger:
        ask(ledger, (request, an_answer(request, "a" * 5000)))
    run_sql(path, damage)
    with Ledger(path) as ledger:
        with pytest.raises(IntegrityError, match="damaged"):
            answer_in(ledger, request.id)
        with pytest.raises(IntegrityError, match="damaged"):
            request_in(ledger, request.id)


def test_a_locked_file_is_reported_after_the_wait(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    with Ledger(path, busy_timeout_s=0.05) as ledger:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ConfigError, match="locked by another process"):
            ledger.claim([a_request("q")])
        other.execute("ROLLBACK")
        other.close()
        ledger.claim([a_request("q")])
        assert ledger.totals().num_open == 1


def test_a_full_disk_is_reported_and_what_was_recorded_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    kept, too_much = a_request("kept"), a_request("too much")
    with Ledger(path) as ledger:
        ask(ledger, (kept, an_answer(kept)))
        ledger.claim([too_much])
        ((num_pages,),) = ledger._db.rows("PRAGMA page_count")
        ledger._db.rows(f"PRAGMA max_page_count = {num_pages + 2}")
        with pytest.raises(ConfigError, match="disk is full"):
            ledger.record_answers([an_answer(too_much, os.urandom(50_000).hex())])
        assert ledger.answered_ids([kept.id, too_much.id]) == {kept.id}
        ledger._db.rows(f"PRAGMA max_page_count = {num_pages + 100}")  # some space was freed
        ledger.record_answers([an_answer(too_much)])
    with Ledger(path) as ledger:
        assert ledger.totals().num_answered == 2


@pytest.mark.skipif(os.name == "nt", reason="permissions are POSIX here")
def test_a_read_only_file_is_reported_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    Ledger(path).close()
    path.chmod(0o444)
    tmp_path.chmod(0o555)
    was_root = os.geteuid() == 0
    modes = {folder: folder.stat().st_mode for folder in tmp_path.parents}
    closed = {folder: mode for folder, mode in modes.items() if was_root and not mode & 0o001}
    try:
        for folder, mode in closed.items():
            folder.chmod(mode | 0o011)
        if was_root:  # root may write anything
            os.seteuid(65534)
        with pytest.raises(ConfigError, match="writable"):
            Ledger(path)
    finally:
        if was_root:
            os.seteuid(0)
        for folder, mode in closed.items():
            folder.chmod(mode)
        tmp_path.chmod(0o755)


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        Ledger(tmp_path / "nowhere" / "l.sqlite")
