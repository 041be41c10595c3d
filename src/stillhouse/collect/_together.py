"""Several teachers asked at the same time, each on its own thread, from one ledger thread."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from stillhouse.collect._asking import Asking
from stillhouse.records import Request
from stillhouse.runlog import Answer

NextRequests = Callable[[Asking, int], list[Request]]


@dataclass
class _Wish:
    """A teacher's thread that waits for requests."""

    asking: Asking
    num_wanted: int
    granted: "queue.SimpleQueue[list[Request]]" = field(default_factory=queue.SimpleQueue)


@dataclass
class _News:
    """Answers of one teacher; the end of its stream where there are none."""

    asking: Asking
    answers: list[Answer] | None
    error: BaseException | None = None


def stream_together(
    askings: Sequence[Asking], next_requests: NextRequests
) -> Iterator[tuple[Asking, list[Answer]]]:
    """The answers of all teachers as they come; `next_requests` is called on this thread only.

    Raises:
        TeacherError: of the first teacher that cannot answer any more, after the others are done.
    """
    if len(askings) == 1:
        (asking,) = askings
        for answers in asking.share.teacher.stream(lambda wanted: next_requests(asking, wanted)):
            yield asking, answers
        return
    inbox: queue.SimpleQueue[_Wish | _News] = queue.SimpleQueue()
    for asking in askings:
        thread = threading.Thread(target=_listen, args=(asking, inbox), daemon=True)
        thread.start()
    num_running, first_error, is_left = len(askings), None, True
    try:
        while num_running:
            event = inbox.get()
            if isinstance(event, _Wish):
                event.granted.put(next_requests(event.asking, event.num_wanted))
            elif event.answers is not None:
                yield event.asking, event.answers
            else:
                num_running -= 1
                first_error = first_error or event.error
        is_left = False
    finally:
        if is_left:  # the caller stops early: nobody gets more, and what comes is dropped
            _turn_away(inbox, num_running)
    if first_error is not None:
        raise first_error


def _listen(asking: Asking, inbox: "queue.SimpleQueue[_Wish | _News]") -> None:
    def pull(num_wanted: int) -> list[Request]:
        wish = _Wish(asking, num_wanted)
        inbox.put(wish)
        return wish.granted.get()

    error: BaseException | None = None
    try:
        for answers in asking.share.teacher.stream(pull):
            inbox.put(_News(asking, answers))
    except BaseException as err:  # it belongs to the caller's thread
        error = err
    inbox.put(_News(asking, None, error))


def _turn_away(inbox: "queue.SimpleQueue[_Wish | _News]", num_running: int) -> None:
    while num_running:
        event = inbox.get()
        if isinstance(event, _Wish):
            event.granted.put([])
        elif event.answers is None:
            num_running -= 1
