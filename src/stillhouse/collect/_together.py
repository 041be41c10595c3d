"""Several teachers asked at the same time, each on its own thread, from one ledger thread."""

import queue
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from stillhouse.collect._asking import Asking
from stillhouse.records import Request
from stillhouse.runlog import Answer

_LOOK_AGAIN_S = 0.5

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

    A teacher for which the budget has no room waits for what the others give back, first come,
    first served; its stream ends where it is left alone with that.

    Raises:
        TeacherError: of the first teacher that cannot answer any more, after the others are done.
    """
    if len(askings) == 1:
        (asking,) = askings
        for answers in asking.share.teacher.stream(lambda wanted: next_requests(asking, wanted)):
            yield asking, answers
        return
    counter = _Counter(next_requests)
    for asking in askings:
        thread = threading.Thread(target=_listen, args=(asking, counter.inbox), daemon=True)
        thread.start()
    num_running, first_error, is_left = len(askings), None, True
    try:
        while num_running:
            news = counter.next_news()
            if news is None:
                pass
            elif news.answers is not None:
                yield news.asking, news.answers
            else:
                num_running -= 1
                first_error = first_error or news.error
            counter.serve_waiting(num_running)
        is_left = False
    finally:
        if is_left:  # the caller stops early: nobody gets more, and what comes is dropped
            counter.turn_away(num_running)
    if first_error is not None:
        raise first_error


class _Counter:
    """Serves the teachers' threads, those first that the budget had no room for.

    Attributes:
        inbox: Where the threads put their wishes and news.
    """

    def __init__(self, next_requests: NextRequests) -> None:
        self.inbox: queue.SimpleQueue[_Wish | _News] = queue.SimpleQueue()
        self._next_requests = next_requests
        self._waiting: deque[_Wish] = deque()
        self._num_under_way: Counter[Asking] = Counter()

    def next_news(self) -> _News | None:
        """The next answers or end of a stream; None where there was a wish, or nothing for long."""
        try:
            # Other processes give back money without a word.
            event = self.inbox.get(timeout=_LOOK_AGAIN_S if self._waiting else None)
        except queue.Empty:
            return None
        if isinstance(event, _Wish):
            self._take_wish(event)
            return None
        if event.answers is None:  # what it dropped comes no more
            del self._num_under_way[event.asking]
        else:
            self._num_under_way[event.asking] -= len(event.answers)
        return event

    def serve_waiting(self, num_running: int) -> None:
        """Serve in order those that there is room for now; all go where nobody else is left."""
        while self._waiting and self._may_serve(self._waiting[0]):
            self._waiting.popleft()
        if len(self._waiting) == num_running:
            while self._waiting:
                self._waiting.popleft().granted.put([])

    def turn_away(self, num_running: int) -> None:
        """Give nobody more, until all streams have ended."""
        while self._waiting:
            self._waiting.popleft().granted.put([])
        while num_running:
            event = self.inbox.get()
            if isinstance(event, _Wish):
                event.granted.put([])
            elif event.answers is None:
                num_running -= 1

    def _take_wish(self, wish: _Wish) -> None:
        is_overtaking = bool(self._waiting) and self._num_under_way.total() > 0
        if (is_overtaking and not wish.asking.is_free) or not self._may_serve(wish):
            if self._num_under_way[wish.asking]:
                wish.granted.put([])  # it asks again when its own next answers are in
            else:
                self._waiting.append(wish)

    def _may_serve(self, wish: _Wish) -> bool:
        """Answer a wish; False, and no answer, where room for it may come."""
        requests = self._next_requests(wish.asking, wish.num_wanted)
        shortage = wish.asking.shortage
        if not requests and shortage is not None and shortage.room_from:
            return False
        self._num_under_way[wish.asking] += len(requests)
        wish.granted.put(requests)
        return True


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
