"""What is still to be asked of one teacher, after stops and beside other processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stillhouse.collect._asking import Asking, Share
from stillhouse.collect._purse import FixedPurse
from stillhouse.collect._source import START, Asked, PromptSource
from stillhouse.collect._survey import Survey
from stillhouse.collect._tally import Tally
from stillhouse.records import ItemError, Message, Prompt, Request, Sampling
from stillhouse.runlog import Answer, Ledger, ReadPosition
from stillhouse.teachers import FakeTeacher

RUN = "run"
TEACHER = FakeTeacher()


class WatchedSource(PromptSource):
    """Prompts that remember from where they were read."""

    def __init__(self, num: int) -> None:
        super().__init__(
            [
                Prompt(id=f"p{i}", messages=(Message(role="user", content=f"{i}"),))
                for i in range(num)
            ]
        )
        self.known = self.survey()
        self.read_from: list[int] = []
        self.num_read = 0

    def iterate(self, survey: Survey, after: ReadPosition = START) -> Iterator[Asked]:
        self.read_from.append(after.num_rows)
        for row in super().iterate(survey, after):
            self.num_read += 1
            yield row


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "l.sqlite") as book:
        yield book


def asking(
    ledger: Ledger, source: WatchedSource, *, samples: int = 1, max_tries: int = 2
) -> Asking:
    return Asking(
        Share(TEACHER, "", Sampling(), samples),
        source,
        source.known,
        ledger,
        Tally(),
        run_key=RUN,
        max_tries=max_tries,
        purse=FixedPurse(),
    )


def good(request: Request) -> Answer:
    return Answer(request.id, "completion", b"{}", "stop", "m")


def bad(request: Request) -> Answer:
    error = ItemError(type="bad", message="bad", retryable=True)
    return Answer(request.id, "completion", b"", "error", "m", error=error)


def take_all(one: Asking) -> list[Request]:
    taken: list[Request] = []
    while requests := one.next_requests(256):
        taken += requests
    return taken


def answer_all(one: Asking) -> int:
    """Ask and answer until nothing is left; how many were asked."""
    num_asked = 0
    while requests := one.next_requests(256):
        one.settle([good(request) for request in requests])
        num_asked += len(requests)
    return num_asked


def test_reading_goes_on_where_it_was_and_not_at_the_start(ledger: Ledger) -> None:
    source = WatchedSource(6_000)
    first = asking(ledger, source)
    for _ in range(21):  # 5,376 prompts, of which 5,000 and more are noted
        first.settle([good(request) for request in first.next_requests(256)])
    assert first.num_left == 6_000 - 5_376
    source.num_read = 0
    second = asking(ledger, source)
    assert answer_all(second) == 6_000 - 5_376
    assert (second.num_left, second.num_settled) == (0, 6_000)
    assert source.read_from[-1] >= 5_000
    assert source.num_read <= 1_000
    # A third attempt has next to nothing to read.
    source.num_read = 0
    assert answer_all(asking(ledger, source)) == 0
    assert source.num_read == 1


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("num_answered", [0, 1, 5, 9])
def test_what_was_open_at_a_stop_is_asked_again_and_counted_once(
    tmp_path: Path, samples: int, num_answered: int
) -> None:
    source = WatchedSource(3 * 3 // samples)
    with Ledger(tmp_path / "l.sqlite") as book:
        stopped = asking(book, source, samples=samples)
        taken = take_all(stopped)
        assert len(taken) == 9
        stopped.settle([good(request) for request in taken[:num_answered]])
    with Ledger(tmp_path / "l.sqlite") as book:
        assert len(book.settle_orphans()) == 9 - num_answered
        again = asking(book, source, samples=samples)
        assert answer_all(again) == 9 - num_answered
        assert (again.num_settled, again.num_left) == (9, 0)
        assert book.totals().num_answered == 9


def test_two_that_ask_at_once_share_the_work_and_agree_on_what_is_left(tmp_path: Path) -> None:
    source = WatchedSource(8)
    path = tmp_path / "l.sqlite"
    with Ledger(path) as one_book, Ledger(path) as other_book:
        one, other = asking(one_book, source), asking(other_book, source)
        mine = one.next_requests(3)
        theirs = take_all(other)
        assert len(theirs) == 5
        assert take_all(one) == []
        assert other.is_held_up
        assert one.is_held_up
        one.settle([good(request) for request in mine])
        other.settle([good(request) for request in theirs])
        for each in (one, other):
            each.look_again()
            assert (each.num_left, each.is_held_up, each.has_more) == (0, False, False)


def test_a_helper_that_comes_late_waits_for_the_last_row_once(tmp_path: Path) -> None:
    source = WatchedSource(4)
    path = tmp_path / "l.sqlite"
    with Ledger(path) as one_book, Ledger(path) as late_book:
        one = asking(one_book, source, samples=2)
        taken = take_all(one)  # all is read, so the position before the last row is noted
        late = asking(late_book, source, samples=2)
        assert take_all(late) == []
        assert late.is_held_up
        one.settle([good(request) for request in taken])
        late.look_again()
        assert (late.num_settled, late.num_left) == (8, 0)


def test_what_another_gave_up_can_be_tried_here(tmp_path: Path) -> None:
    source = WatchedSource(1)
    path = tmp_path / "l.sqlite"
    with Ledger(path) as one_book, Ledger(path) as other_book:
        one, other = asking(one_book, source, max_tries=1), asking(other_book, source)
        taken = one.next_requests(1)
        assert other.next_requests(1) == []
        one.settle([bad(request) for request in taken])
        assert (one.num_left, len(one.failures)) == (0, 1)
        other.look_again()
        assert other.has_more
        assert answer_all(other) == 1
        assert other.num_left == 0


def test_tries_are_counted_and_a_last_one_that_succeeds_is_no_failure(ledger: Ledger) -> None:
    source = WatchedSource(2)
    one = asking(ledger, source, max_tries=3)
    for _ in range(2):
        requests = one.next_requests(8)
        assert len(requests) == 2
        one.settle([bad(request) for request in requests])
        assert (one.num_left, one.failures, one.has_more) == (2, {}, True)
    steady, unlucky = one.next_requests(8)
    one.settle([good(steady), bad(unlucky)])
    assert (one.num_left, set(one.failures), one.has_more) == (0, {unlucky.id}, False)
    # A later attempt begins to count anew, and asks only what has no answer.
    later = asking(ledger, source, max_tries=3)
    assert answer_all(later) == 1
    assert later.failures == {}


def test_prompts_are_read_no_further_than_they_are_wanted(ledger: Ledger) -> None:
    source = WatchedSource(5_000)
    one = asking(ledger, source)
    assert len(one.next_requests(10)) == 10
    assert source.num_read <= 11
    assert len(one.next_requests(4_000)) == 256  # claimed in groups, however many are wanted


def test_what_was_read_and_not_claimed_is_read_again(ledger: Ledger) -> None:
    source = WatchedSource(9)
    stopped = asking(ledger, source)
    stopped.settle([good(request) for request in stopped.next_requests(4)])
    stopped.note_stop()
    assert len(stopped.read_requests(3)) == 3  # for a batch that has no room for them
    stopped.note_stop()
    again = asking(ledger, source)
    assert again.num_left == 6  # the position is before the last of the four that were claimed
    assert answer_all(again) == 5
    assert (again.num_left, ledger.totals().num_answered) == (0, 9)


def test_an_answer_in_the_ledger_is_found_by_what_was_asked(ledger: Ledger) -> None:
    source = WatchedSource(3)
    answer_all(asking(ledger, source))
    other_run = Asking(
        Share(TEACHER, "", Sampling(), 1),
        source,
        source.known,
        ledger,
        Tally(),
        run_key="another",
        max_tries=1,
        purse=FixedPurse(),
    )
    assert answer_all(other_run) == 0
    assert other_run.num_left == 0
    assert ledger.totals().num_calls == 3
