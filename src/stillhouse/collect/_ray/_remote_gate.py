"""The gate as a worker sees it: a way to the desk where all workers wait."""

import asyncio
from collections.abc import Awaitable, Callable

from stillhouse.collect._ray._gate_desk import Exchange
from stillhouse.teachers._gate import Admission, CallGate, Need, Settled

_COALESCE_S = 0.005  # what happens within it goes in one message

Carry = Callable[[Exchange], Awaitable[list[int]]]
"""Brings a message to the desk and the granted tickets back; raises when the desk is gone."""


class RemoteGate(CallGate):
    """Stands for a gate elsewhere; to be used within one event loop.

    One message is under way while calls wait, a second one where there is news for the desk.

    Args:
        carry: The way to the desk.
        coalesce_s: How long news is gathered before it is sent.
    """

    def __init__(self, carry: Carry, *, coalesce_s: float = _COALESCE_S) -> None:
        self._carry = carry
        self._coalesce_s = coalesce_s
        self._news = Exchange()
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self._num_tickets = 0
        self._num_rate_limited = 0

    @property
    def num_rate_limited(self) -> int:
        """Calls of this process that the provider refused for coming too fast."""
        return self._num_rate_limited

    async def admit(self, need: Need) -> Admission:
        """Wait until one call may go.

        Raises:
            TeacherUnavailableError: the desk is gone, and the run with it.
        """
        self._num_tickets += 1
        ticket = self._num_tickets
        granted = self._waiting[ticket] = asyncio.get_running_loop().create_future()
        self._news.needs.append((ticket, need))
        self._send_soon()
        try:
            await granted
        except asyncio.CancelledError:
            self._waiting.pop(ticket, None)
            self._withdraw(ticket)
            raise
        return Admission(serial=ticket, need=need, output_tokens=0, marks={})

    def settle(self, admission: Admission, outcome: Settled) -> None:
        """Tell the desk how a call ended."""
        self._num_rate_limited += outcome.is_rate_limited
        self._news.settled.append((admission.serial, outcome))
        self._send_soon()

    def cancel(self, admission: Admission) -> None:
        """Tell the desk that a call was never sent."""
        self._withdraw(admission.serial)

    def _withdraw(self, ticket: int) -> None:
        num_before = len(self._news.needs)
        self._news.needs = [need for need in self._news.needs if need[0] != ticket]
        if len(self._news.needs) < num_before:
            return  # it was not sent yet
        self._news.withdrawn.append(ticket)
        self._send_soon()

    def _send_soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._coalesce_s, self._send)

    def _send(self) -> None:
        self._timer = None
        news, self._news = self._news, Exchange()
        task = asyncio.get_running_loop().create_task(self._exchange(news))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _exchange(self, news: Exchange) -> None:
        try:
            tickets = await self._carry(news)
        except asyncio.CancelledError:
            raise
        except Exception as err:  # whatever the way is made of: nobody waits for ever
            self._fail(err)
            return
        for ticket in tickets:
            granted = self._waiting.pop(ticket, None)
            if granted is not None and not granted.done():
                granted.set_result(None)
        if self._waiting and len(self._under_way) == 1:  # this one, which ends now
            self._send_soon()

    def _fail(self, why: Exception) -> None:
        for granted in self._waiting.values():
            if not granted.done():
                granted.set_exception(why)
        self._waiting.clear()
