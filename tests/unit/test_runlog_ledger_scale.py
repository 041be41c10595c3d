import time
from pathlib import Path

import pytest
from ledger_cases import a_failure, a_request, an_answer, ids_of, select

from stillhouse.records import Request
from stillhouse.runlog import Ledger, ReadPosition
from stillhouse.runlog._ledger._sums import CALLS_ADDED_UP

NUM_ROWS = 1_000_000
GROUP = 2000
LIMIT_S = 1.0

pytestmark = pytest.mark.slow  # building the ledger takes a minute or two


def some_requests(start: int) -> list[Request]:
    """Requests with ids and nothing validated: a million of them in bearable time."""
    first = a_request("q")
    return [
        first.model_copy(update={"id": f"{(i * 0x9E3779B97F4A7C15) % 2**64:016x}" * 4})
        for i in range(start, start + GROUP)
    ]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A million answered requests of one run; then one failed, and one whose process is gone."""
    path = tmp_path_factory.mktemp("scale") / "ledger.sqlite"
    with Ledger(path) as ledger:
        ledger._db.rows("PRAGMA synchronous = OFF")  # the disk is not what is measured
        for start in range(0, NUM_ROWS, GROUP):
            requests = some_requests(start)
            ledger.claim(requests, run_key="run")
            ledger.record_answers([an_answer(request) for request in requests])
        failed, gone = a_request("failed"), a_request("gone")
        ledger.claim([failed, gone], run_key="run")
        ledger.record_answers([a_failure(failed)])
        ledger.note_read("run", ReadPosition(10**9, NUM_ROWS + 2, "0" * 64))
    return path


def test_a_run_resumes_behind_a_million_answers_within_a_second(path: Path) -> None:
    started = time.monotonic()
    with Ledger(path) as ledger:
        position = ledger.read_position("run")
        lost = ledger.settle_orphans()
        left = list(ledger.unanswered("run"))
        claimed = ledger.claim([*ledger.requests(left), a_request("new")], run_key="run").requests
        assert time.monotonic() - started < LIMIT_S
    assert position is not None
    assert position.num_rows == NUM_ROWS + 2
    assert [call.prompt_id for call in lost] == ["p-gone"]
    assert [request.prompt_id for request in claimed] == ["p-failed", "p-gone", "p-new"]


def test_totals_of_a_million_calls_take_less_than_a_second_and_equal_a_scan(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.settle_orphans()
        started = time.monotonic()
        totals = ledger.totals()
        assert time.monotonic() - started < LIMIT_S
        assert totals.num_answered == NUM_ROWS
        assert totals.cost_usd == pytest.approx(NUM_ROWS / 2)
    scan = select(path, CALLS_ADDED_UP, 0, 10**9)
    sums = select(path, "SELECT * FROM sums WHERE num_calls > 0 ORDER BY teacher, finish_reason")
    assert {row[1] for row in sums} == {"stop", "error", "lost"}
    assert [pytest.approx(row[2:]) for row in sums] == [row[2:] for row in scan]


def test_answered_ids_are_found_by_their_index(path: Path) -> None:
    with Ledger(path) as ledger:
        ids = ids_of(some_requests(NUM_ROWS // 2))
        started = time.monotonic()
        assert ledger.answered_ids(ids) == set(ids)
        assert time.monotonic() - started < LIMIT_S
