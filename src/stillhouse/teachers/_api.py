"""A model behind an HTTP API: requests on the shared event loop."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from time import monotonic, sleep

from stillhouse.errors import StillhouseError
from stillhouse.records import Request
from stillhouse.runlog import Answer
from stillhouse.teachers._base import Allowance, Pull, Teacher, TeacherInfo
from stillhouse.teachers._batch._client import BatchClient
from stillhouse.teachers._caller import Caller
from stillhouse.teachers._loop import enter_loop, leave_loop

_GROUP = 64
_COALESCE_S = 0.01  # answers of so long go into one group: a commit for each would cost more
_AHEAD = 2  # times the concurrency are handed over: the next are there when an answer comes


class ApiTeacher(Teacher):
    """Keeps up to `allowance.concurrency` requests under way.

    The loop does not run on the caller's thread, so a notebook's own loop is no obstacle and
    answers keep arriving while the caller stores the last ones; `pull` is called by the caller.

    Args:
        caller: Who answers a request.
        info: What answers.
        allowance: What it costs and allows; twice its concurrency wait at the gate.
        batches: Its batch API, where it has one.
    """

    def __init__(
        self,
        caller: Caller,
        info: TeacherInfo,
        *,
        allowance: Allowance,
        batches: BatchClient | None = None,
    ) -> None:
        self._caller = caller
        self._batches = batches
        self._info = info
        self._allowance = allowance
        self._room = _AHEAD * allowance.concurrency
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def info(self) -> TeacherInfo:
        """What answers."""
        return self._info

    @property
    def allowance(self) -> Allowance:
        """What asking it costs and allows."""
        return self._allowance

    @property
    def caller(self) -> Caller:
        """Who answers single requests."""
        return self._caller

    def stream(self, pull: Pull) -> Iterator[list[Answer]]:
        """Answer everything that `pull` hands out, in groups that arrived together.

        When no further request can succeed, those under way are waited for before the error is
        raised: their answers may be paid for.
        """
        self._caller.resume()
        calls = _Calls(self._caller, self._running_loop())
        may_pull = True
        try:
            while True:
                room = self._room - calls.num_open
                if may_pull and room > 0:
                    requests = pull(room)
                    may_pull = bool(requests)
                    calls.start(requests)
                if not calls.num_open:
                    break
                group = calls.take()
                may_pull = may_pull and calls.error is None
                if group:
                    yield group
                    may_pull = calls.error is None  # what failed may be handed out again
        finally:
            calls.cancel()
        if calls.error is not None:
            raise calls.error

    def stop_when(self, is_over: Callable[[], bool]) -> None:
        """Send nothing once `is_over()` holds, of what waits at the gate either."""
        self._caller.stop_when(is_over)

    def worst_cost_usd(self, request: Request) -> float | None:
        """The most that one call can cost; None where no price is known."""
        return self._caller.worst_cost_usd(request)

    def batch_client(self) -> BatchClient | None:
        """How to ask it through a batch API; None where it has none."""
        return self._batches

    def metrics(self) -> dict[str, float]:
        """How often the account refused a call for coming too fast."""
        return {"collect/num_rate_limited": self._caller.gate.num_rate_limited}

    def close(self) -> None:
        """Drop what is under way and close the connections; may be called twice."""
        if self._batches is not None:
            self._batches.close()
        loop, self._loop = self._loop, None
        if loop is not None:
            asyncio.run_coroutine_threadsafe(self._caller.close(), loop).result()
            leave_loop()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = enter_loop()
        return self._loop


class _Calls:
    """The calls of one stream: started in groups, taken in groups, on two threads.

    Attributes:
        num_open: Started and not yet taken.
        error: The first one that makes all further requests pointless.
    """

    def __init__(self, caller: Caller, loop: asyncio.AbstractEventLoop) -> None:
        self._caller = caller
        self._loop = loop
        self._tasks: set[asyncio.Task[None]] = set()  # of the loop's thread only
        self._done: deque[Answer | BaseException] = deque()  # appends and pops are atomic
        self._is_any_done = threading.Event()
        self.num_open = 0
        self.error: BaseException | None = None

    def start(self, requests: Sequence[Request]) -> None:
        """Have the loop ask these."""
        if requests:
            self.num_open += len(requests)
            self._loop.call_soon_threadsafe(self._start_here, requests)

    def take(self) -> list[Answer]:
        """The answers that came within a moment of the next one, none where it was an error."""
        self._is_any_done.wait()
        give_up_s = monotonic() + _COALESCE_S
        while len(self._done) < min(_GROUP, self.num_open) and monotonic() < give_up_s:
            sleep(_COALESCE_S / 10)
        self._is_any_done.clear()
        group: list[Answer] = []
        while self._done:
            one = self._done.popleft()
            self.num_open -= 1
            if isinstance(one, Answer):
                group.append(one)
            elif self.error is None:
                self.error = one
        self.error = self.error or self._caller.ended_by
        return group

    def cancel(self) -> None:
        """Drop the calls that are still under way, and wait until they are gone."""
        if self.num_open:
            asyncio.run_coroutine_threadsafe(self._cancel_here(), self._loop).result()

    def _start_here(self, requests: Sequence[Request]) -> None:
        for request in requests:
            task = self._loop.create_task(self._answer(request))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _cancel_here(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, request: Request) -> None:
        try:
            self._done.append(await self._caller.answer(request))
        except StillhouseError as err:
            self._done.append(err)
        except asyncio.CancelledError:
            raise
        except BaseException as err:  # a bug of ours: it must reach the caller's thread
            self._done.append(err)
        self._is_any_done.set()
