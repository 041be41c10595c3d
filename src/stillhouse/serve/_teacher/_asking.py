"""Asking a teacher single requests as they come, whatever kind of teacher it is."""

import asyncio
import queue
import threading
from typing import TYPE_CHECKING, Protocol

from stillhouse.errors import StillhouseError, TeacherError
from stillhouse.records import Request
from stillhouse.runlog import Answer
from stillhouse.teachers import Teacher

if TYPE_CHECKING:
    from stillhouse.teachers._caller import Caller, OnText


class Asking(Protocol):
    """Answers requests, several at once; to be used within one event loop."""

    async def answer(self, request: Request, on_text: "OnText") -> Answer:
        """The answer, or the error of this try.

        Raises:
            StillhouseError: the teacher cannot be asked at all.
        """
        ...

    async def close(self) -> None:
        """Release connections, threads and weights; may be called twice."""
        ...


def asking_of(teacher: Teacher) -> Asking:
    """How to ask a teacher; it is closed with it."""
    caller = teacher.caller
    return _InBatches(teacher) if caller is None else _OneByOne(teacher, caller)


class _OneByOne:
    """A teacher behind HTTP: each request goes out when it comes, and text comes back in pieces."""

    def __init__(self, teacher: Teacher, caller: "Caller") -> None:
        self._teacher = teacher
        self._caller = caller

    async def answer(self, request: Request, on_text: "OnText") -> Answer:
        # What made one request pointless, a server that was out, may be over by the next.
        self._caller.resume()
        return await self._caller.answer(request, on_text=on_text)

    async def close(self) -> None:
        await self._caller.close()
        await asyncio.to_thread(self._teacher.close)


_Waiting = tuple[Request, asyncio.AbstractEventLoop, "asyncio.Future[Answer]"]


class _InBatches:
    """A teacher in this process, in a thread: what waits is answered together.

    A request that comes while a batch is answered joins it where the teacher still takes some, or
    is in the next one.
    """

    def __init__(self, teacher: Teacher) -> None:
        self._teacher = teacher
        self._inbox: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._ready: list[_Waiting] = []  # taken out of the inbox, and not asked yet
        self._open: dict[str, _Waiting] = {}
        self._is_closing = False
        self._thread: threading.Thread | None = None

    async def answer(self, request: Request, on_text: "OnText") -> Answer:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="teacher", daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._inbox.put((request, loop, future))
        return await future

    async def close(self) -> None:
        if self._thread is not None:
            self._inbox.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None
        await asyncio.to_thread(self._teacher.close)

    # What follows runs in the thread of the teacher.

    def _work(self) -> None:
        while not self._is_closing:
            first = self._inbox.get()
            if first is None:
                return
            self._ready.append(first)
            try:
                for group in self._teacher.stream(self._pull):
                    for answer in group:
                        self._settle(answer)
                self._fail(TeacherError("The teacher left a request unanswered. Ask again."))
            except Exception as err:  # those under way are lost, and those that come are not
                self._fail(err)

    def _pull(self, limit: int) -> list[Request]:
        """What waits, without waiting for more: an empty list ends the batch."""
        while len(self._ready) < limit and not self._is_closing:
            try:
                item = self._inbox.get_nowait()
            except queue.Empty:
                break
            if item is None:
                self._is_closing = True
            else:
                self._ready.append(item)
        taken, self._ready = self._ready[:limit], self._ready[limit:]
        self._open.update((item[0].id, item) for item in taken)
        return [request for request, _, _ in taken]

    def _settle(self, answer: Answer) -> None:
        _, loop, future = self._open.pop(answer.request_id)
        _tell(loop, lambda: None if future.done() else future.set_result(answer))

    def _fail(self, err: Exception) -> None:
        if not isinstance(err, StillhouseError):
            err = TeacherError(f"The teacher failed ({type(err).__name__}). See the server's log.")
        for _, loop, future in self._open.values():
            _tell(loop, lambda each=future: None if each.done() else each.set_exception(err))
        self._open.clear()


def _tell(loop: asyncio.AbstractEventLoop, function: "object") -> None:
    try:
        loop.call_soon_threadsafe(function)  # type: ignore[arg-type]
    except RuntimeError:  # the loop was closed: nobody waits
        return
