"""One gate that many workers wait at: the desk that holds it, and what they tell each other.

    worker 1  --Exchange-->                          --> one Gate: buckets, window, waits
              <-- granted tickets --  GateDesk
    worker 2  --Exchange-->

Nothing here knows of Ray: the desk is a plain object that an actor is made of.
"""

import asyncio
from dataclasses import dataclass, field

from stillhouse.teachers._gate import Admission, Gate, Need, Settled

_LONGEST_WAIT_S = 5.0  # of an answer: a worker that is gone must not leave its call behind


@dataclass(slots=True)
class Exchange:
    """What a worker has to say of its calls, each known by a ticket of its own numbering.

    Attributes:
        needs: Calls that want to go.
        settled: Calls that ended.
        withdrawn: Calls that will not be made, admitted or not.
    """

    needs: list[tuple[int, Need]] = field(default_factory=list)
    settled: list[tuple[int, Settled]] = field(default_factory=list)
    withdrawn: list[int] = field(default_factory=list)


class _Seat:
    """What the desk knows of one worker."""

    def __init__(self) -> None:
        self.waiting: dict[int, asyncio.Task[None]] = {}
        self.admitted: dict[int, Admission] = {}
        self.granted: list[int] = []  # not told yet
        self.withdrawn_early: set[int] = set()  # messages may overtake each other
        self.told: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """Have the exchange that waits, if one does, come back."""
        if self.told is not None and not self.told.done():
            self.told.set_result(None)


class GateDesk:
    """Admits the calls of all workers through one gate; to be used within one event loop.

    Args:
        gate: What lets calls through, of all workers together; nobody else uses it.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._seats: dict[str, _Seat] = {}
        self._gone: set[str] = set()

    async def exchange(self, worker: str, said: Exchange) -> list[int]:
        """Take note of what a worker says; the tickets of its calls that may go.

        Comes back as soon as one may, when the worker says something else, or after a while.
        """
        if worker in self._gone:
            return []
        seat = self._seats.setdefault(worker, _Seat())
        seat.wake()
        for ticket, outcome in said.settled:
            self._gate.settle(seat.admitted.pop(ticket), outcome)
        for ticket in said.withdrawn:
            self._withdraw(seat, ticket)
        for ticket, need in said.needs:
            if ticket in seat.withdrawn_early:
                seat.withdrawn_early.remove(ticket)
                continue
            seat.waiting[ticket] = asyncio.create_task(self._admit(seat, ticket, need))
        await asyncio.sleep(0)  # the tasks for which there is room are through after this
        if not seat.granted and seat.waiting:
            await self._wait(seat)
        granted, seat.granted = seat.granted, []
        return granted

    def give_up(self, worker: str) -> None:
        """Count the calls of a worker that is gone as ended, nobody knows how; it comes no more."""
        self._gone.add(worker)
        seat = self._seats.pop(worker, None)
        if seat is None:
            return
        seat.wake()
        for task in seat.waiting.values():
            task.cancel()
        for admission in seat.admitted.values():
            # They may have been made: their share of the buckets stays taken.
            self._gate.settle(admission, Settled(status=None, is_server_trouble=True))

    async def _admit(self, seat: _Seat, ticket: int, need: Need) -> None:
        try:
            admission = await self._gate.admit(need)
        finally:
            seat.waiting.pop(ticket, None)
        seat.admitted[ticket] = admission
        seat.granted.append(ticket)
        seat.wake()

    def _withdraw(self, seat: _Seat, ticket: int) -> None:
        if ticket in seat.waiting:
            seat.waiting[ticket].cancel()
        elif ticket in seat.admitted:
            self._gate.cancel(seat.admitted.pop(ticket))
            if ticket in seat.granted:
                seat.granted.remove(ticket)
        else:
            seat.withdrawn_early.add(ticket)

    async def _wait(self, seat: _Seat) -> None:
        seat.told = told = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(_LONGEST_WAIT_S):
                await told
        except TimeoutError:
            return
