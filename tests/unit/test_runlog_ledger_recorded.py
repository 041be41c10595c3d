"""What a ledger hands out again: first answers in order, with the application's own bytes."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ledger_cases import a_failure, a_request, an_answer, answer_in, ask, ids_of, select

from stillhouse.runlog import Ledger

FORMAT_PAGE = Path(__file__).resolve().parents[2] / "docs" / "format.md"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def test_recorded_gives_first_answers_in_the_order_in_which_they_came(path: Path) -> None:
    one, two, failed, open_ = (a_request(text) for text in ("one", "two", "failed", "open"))
    began_utc = datetime.now(UTC)
    with Ledger(path) as ledger:
        ask(ledger, (two, an_answer(two, "2")), (failed, a_failure(failed)))
        ledger.claim([open_, one])
        ledger.record_answers([an_answer(one, "1")])
        last, _ = ledger.extent()
        rows = list(ledger.recorded(up_to=last))
        assert [row.answer for row in rows] == [
            answer_in(ledger, two.id),
            answer_in(ledger, one.id),
        ]
    assert ids_of([row.request for row in rows]) == ids_of([two, one])
    assert [row.answer.body for row in rows] == [b"2", b"1"]
    times = [row.answer.answered_utc for row in rows]
    assert times[0] is not None
    assert times[1] is not None
    assert began_utc - timedelta(milliseconds=1) <= times[0] <= times[1] <= datetime.now(UTC)


def test_recorded_reads_many_pages_and_stops_where_it_is_told(path: Path) -> None:
    requests = [a_request(f"text {n}") for n in range(300)]
    with Ledger(path) as ledger:
        ask(ledger, *((request, an_answer(request, request.id)) for request in requests))
        last, _ = ledger.extent()
        late = a_request("late")
        ask(ledger, (late, an_answer(late)))
        rows = list(ledger.recorded(up_to=last))
    assert ids_of([row.request for row in rows]) == ids_of(requests)
    assert all(row.answer.body.decode() == row.request.id for row in rows)


def test_raw_requests_come_back_with_the_answers_to_what_was_claimed(path: Path) -> None:
    kept, plain, answered = (a_request(text) for text in ("kept", "plain", "answered"))
    with Ledger(path) as ledger:
        ask(ledger, (answered, an_answer(answered)))
        raw = {kept.id: b'{"stop":"x"}' * 200, answered.id: b"not claimed again"}
        claimed = ledger.exchange([], [kept, plain, answered], raw_requests=raw).requests
        assert ids_of(claimed) == ids_of([kept, plain])
        ledger.record_answers([an_answer(kept), an_answer(plain)])
        rows = {row.request.id: row for row in ledger.recorded(up_to=ledger.extent()[0])}
    assert rows[kept.id].raw_request == raw[kept.id]
    assert rows[plain.id].raw_request is None
    assert rows[answered.id].raw_request is None


def test_a_request_that_is_asked_again_is_kept_as_it_was_asked_last(path: Path) -> None:
    request = a_request("again")
    with Ledger(path) as ledger:
        for raw, answer in ((b"first", a_failure(request)), (b"second", an_answer(request))):
            ledger.exchange([], [request], raw_requests={request.id: raw})
            ledger.record_answers([answer])
        (row,) = ledger.recorded(up_to=ledger.extent()[0])
    assert row.raw_request == b"second"


def test_the_extent_says_what_was_answered_and_not_where_the_file_is(path: Path) -> None:
    one, two = a_request("one"), a_request("two")
    with Ledger(path) as ledger:
        assert ledger.extent()[0] == 0
        ask(ledger, (one, an_answer(one)))
        before = ledger.extent()
        ledger.claim([two])  # under way: no answer yet
        assert ledger.extent() == before
        ledger.record_answers([an_answer(two)])
        assert ledger.extent()[0] > before[0]
        assert ledger.extent()[1] != before[1]


def test_the_format_page_lists_every_table_of_a_ledger(path: Path) -> None:
    with Ledger(path):
        pass
    tables = select(path, "SELECT name FROM sqlite_master WHERE type = 'table'")
    section = FORMAT_PAGE.read_text("utf-8").partition("\n## 6. ")[2].partition("\n## ")[0]
    described = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert sorted(described) == sorted(name for (name,) in tables)
