import os
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stillhouse.errors import ConfigError, IntegrityError
from stillhouse.records import (
    Completion,
    ItemError,
    Message,
    Prompt,
    Request,
    Sampling,
    TokenLogprobs,
    Usage,
)
from stillhouse.runlog import Ledger


def a_request(text: str, sample_index: int = 0) -> Request:
    prompt = Prompt(id=f"p-{text}", messages=(Message(role="user", content=text),))
    return Request.of(prompt, teacher="fake:t", sampling=Sampling(), sample_index=sample_index)


def an_answer(request: Request, text: str = "yes", **changes: object) -> Completion:
    fields = {
        "request_id": request.id,
        "prompt_id": request.prompt_id,
        "text": text,
        "finish_reason": "stop",
        "model": "m",
        "usage": Usage(prompt_tokens=3, completion_tokens=2, cost_usd=0.5),
        "created_utc": datetime(2026, 1, 2, tzinfo=UTC),
        **changes,
    }
    return Completion.model_validate(fields)


def a_failure(request: Request) -> Completion:
    error = ItemError(type="timeout", message="too slow", retryable=True)
    return an_answer(request, "", finish_reason="error", error=error)


def ask(ledger: Ledger, *answers: tuple[Request, Completion]) -> None:
    ledger.record_sent([request for request, _ in answers])
    ledger.record_answers([completion for _, completion in answers])


def test_answers_come_back_in_the_order_asked_for_and_unchanged(tmp_path: Path) -> None:
    requests = [a_request(f"q{i}") for i in range(1200)]
    logprobs = TokenLogprobs(
        token_ids=(5, 6),
        logprobs=(-0.1234567890123456, -2.0),
        top_k=1,
        top_ids=(5, 7),
        top_logprobs=(-0.1, -0.30000000000000004),
    )
    answers = [an_answer(r, "a\u2028\U0001f600" * 400, logprobs=logprobs) for r in requests]
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ask(ledger, *zip(requests, answers, strict=True))
    with Ledger(tmp_path / "l.sqlite") as again:
        wanted = [request.id for request in reversed(requests)]
        assert list(again.answered([*wanted, "unknown"])) == answers[::-1]
        assert again.answered_ids(wanted) == set(wanted)
        assert again.answer(requests[7].id) == answers[7]
        assert again.answer("unknown") is None


def test_a_failed_call_does_not_count_as_answered_until_a_later_one_succeeds(
    tmp_path: Path,
) -> None:
    request = a_request("q")
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ask(ledger, (request, a_failure(request)))
        assert ledger.answer(request.id) is None
        assert ledger.answered_ids([request.id]) == set()
        ask(ledger, (request, an_answer(request, "second")))
        assert ledger.answer(request.id) == an_answer(request, "second")
        ask(ledger, (request, an_answer(request, "third")))
        assert ledger.answer(request.id) == an_answer(request, "second")
        totals = ledger.totals()
    assert (totals.num_requests, totals.num_calls) == (1, 3)
    assert (totals.num_answered, totals.num_failed, totals.num_open) == (2, 1, 0)


def test_open_intents_are_the_calls_without_an_outcome(tmp_path: Path) -> None:
    first, second, third = a_request("1"), a_request("2"), a_request("3")
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ledger.record_sent([first, second, third])
        ledger.record_answers([an_answer(second)])
    with Ledger(tmp_path / "l.sqlite") as ledger:
        assert [call.request_id for call in ledger.open_intents()] == [first.id, third.id]
        assert ledger.open_intents()[0].prompt_id == first.prompt_id
        ask(ledger, (first, an_answer(first)))
        # The first call of `first` stays unknown, maybe paid, although a second one was answered.
        assert [call.request_id for call in ledger.open_intents()] == [first.id, third.id]
        assert ledger.totals().num_open == 2


def test_totals_know_the_cost_only_when_every_answer_does(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger:
        assert ledger.totals().cost_usd == 0.0
        for text in "ab":
            ask(ledger, (a_request(text), an_answer(a_request(text))))
        totals = ledger.totals()
        assert (totals.prompt_tokens, totals.completion_tokens, totals.cost_usd) == (6, 4, 1.0)
        ask(ledger, (a_request("c"), an_answer(a_request("c"), usage=Usage())))
        assert ledger.totals().cost_usd is None


def test_an_answer_to_nothing_sent_is_refused_and_the_whole_group_rolled_back(
    tmp_path: Path,
) -> None:
    sent, never_sent = a_request("sent"), a_request("never")
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ledger.record_sent([sent])
        with pytest.raises(IntegrityError, match="no open call"):
            ledger.record_answers([an_answer(sent), an_answer(never_sent)])
        assert ledger.answer(sent.id) is None
        ledger.record_answers([an_answer(sent)])
        assert ledger.answer(sent.id) == an_answer(sent)


def test_two_connections_keep_their_own_calls_apart(tmp_path: Path) -> None:
    request = a_request("q")
    with Ledger(tmp_path / "l.sqlite") as one, Ledger(tmp_path / "l.sqlite") as two:
        one.record_sent([request])
        two.record_sent([request])
        one.record_answers([a_failure(request)])
        assert two.totals().num_open == 1
        two.record_answers([an_answer(request)])
        assert one.answer(request.id) == an_answer(request)
        assert one.totals().num_open == 0


def test_two_processes_write_one_ledger_without_losing_a_row(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_runlog_ledger import a_request, an_answer, ask
from stillhouse.runlog import Ledger
with Ledger(Path({str(path)!r})) as ledger:
    for i in range(40):
        request = a_request(sys.argv[1] + str(i))
        ask(ledger, (request, an_answer(request)))
"""
    children = [subprocess.Popen([sys.executable, "-c", script, name]) for name in "ab"]
    assert [child.wait(timeout=30) for child in children] == [0, 0]
    with Ledger(path) as ledger:
        assert ledger.totals().num_answered == 80


def test_commits_are_synced_in_full_and_journalled_in_wal(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger:
        assert ledger._db.execute("PRAGMA synchronous").fetchone() == (2,)
        assert ledger._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_foreign_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    content = b"not a database at all, but long enough to be read as one" * 50
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="not an SQLite file"):
        Ledger(path)
    assert path.read_bytes() == content


def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE mine (x)")
    db.close()
    before = path.read_bytes()
    with pytest.raises(IntegrityError, match="not a stillhouse ledger"):
        Ledger(path)
    assert path.read_bytes() == before


def test_another_version_is_refused_naming_both(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    Ledger(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 9")
    db.close()
    with pytest.raises(IntegrityError, match="version 9; this stillhouse reads 1"):
        Ledger(path)


def test_a_damaged_file_gives_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    with Ledger(path) as ledger:
        requests = [a_request(f"q{i}") for i in range(200)]
        ask(ledger, *((r, an_answer(r, os.urandom(600).hex())) for r in requests))
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match="damaged"), Ledger(path) as ledger:
        list(ledger.answered([r.id for r in requests]))


def test_a_locked_file_is_reported_after_the_wait(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    with Ledger(path, busy_timeout_s=0.05) as ledger:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ConfigError, match="locked by another process"):
            ledger.record_sent([a_request("q")])
        other.execute("ROLLBACK")
        other.close()
        ledger.record_sent([a_request("q")])
        assert ledger.totals().num_open == 1


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
