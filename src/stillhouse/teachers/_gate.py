"""The gate before one provider account: how fast, and how many at once.

    admission = await gate.admit(Need(prompt_tokens=900, max_tokens=256))
    ... send, receive ...
    gate.settle(admission, Settled(status=200, usage=usage, limits=readings))

Three things hold a request back: a wait that the provider asked for, the window of requests under
way, and the account's buckets. Time is the event loop's: a loop with a
clock of its own runs all of it without waiting.
"""

import asyncio
import random
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from stillhouse.teachers._account import Account, Admission, Limits, Need, Settled
from stillhouse.teachers._base import Allowance
from stillhouse.teachers._window import Window

__all__ = ["CallGate", "Gate", "gate_for", "GateState", "Limits", "Need", "Settled", "Admission"]

_TICK_S = 0.001  # rounding must not leave a wait too short for the clock to see
_COOLDOWN_S = 1.0  # after a refusal that names no wait, doubled per episode in a row
_LONGEST_COOLDOWN_S = 16.0
_JITTER_FRACTION = 0.1  # of a wait, only ever added: going early would be a violation
_MOST_JITTER_S = 1.0


@dataclass(frozen=True, slots=True)
class GateState:
    """What a progress display shows of a gate."""

    num_under_way: int
    num_waiting: int
    window: int
    num_admitted: int
    num_rate_limited: int
    num_server_trouble: int
    held_for_s: float


class CallGate(Protocol):
    """What a caller waits at: a `Gate` of its own process, or a way to one that many share."""

    @property
    def num_rate_limited(self) -> int:
        """Calls of this process that the provider refused for coming too fast."""
        ...

    async def admit(self, need: Need) -> Admission:
        """Wait until one call may go; it ends with exactly one `settle` or `cancel`."""
        ...

    def settle(self, admission: Admission, outcome: Settled) -> None:
        """Correct everything that was assumed by what happened."""
        ...

    def cancel(self, admission: Admission) -> None:
        """Give everything back for a call that was never sent."""
        ...


class Gate:
    """Lets calls through to one provider account; to be used within one event loop.

    First come, first served: a small call does not overtake a large one. A caller that gives up
    while it waits leaves nothing behind.

    Args:
        limits: What the user allows.
        seed: Of the jitter.
    """

    def __init__(self, limits: Limits | None = None, *, seed: int | None = None) -> None:
        self._limits = limits or Limits()
        self._random = random.Random(seed)
        self._window = Window(self._limits.concurrency)
        self._lazy_account: Account | None = None  # it begins with the first call: see `_account`
        self._waiting: deque[tuple[Need, asyncio.Future[Admission]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None  # the last one it was used in
        self._held_until_s = 0.0
        self._episodes_in_a_row = 0
        self._num_admitted = 0
        self._num_rate_limited = 0
        self._num_server_trouble = 0

    async def admit(self, need: Need) -> Admission:
        """Wait until one call may go."""
        now_s = self._now_s()
        if not self._waiting and self._delay_s(need, now_s) == 0.0:
            return self._let_through(need)
        return await self._wait_for_turn(need)

    def settle(self, admission: Admission, outcome: Settled) -> None:
        """Correct everything that was assumed by what happened."""
        now_s = self._now_s()
        self._account(now_s).settle(admission, outcome, now_s)
        self._window.leave()
        if outcome.is_rate_limited or outcome.is_overloaded:
            self._slow_down(admission, outcome, now_s)
        elif outcome.is_server_trouble:
            self._num_server_trouble += 1
            self._window.troubled()
        else:
            self._episodes_in_a_row = 0
            self._window.succeeded()
        if outcome.wait_s is not None:
            self._hold(outcome.wait_s, now_s)
        self._serve_waiting()

    def cancel(self, admission: Admission) -> None:
        """Give everything back for a call that was never sent."""
        self._account(self._now_s()).cancel(admission)
        self._window.leave()
        self._serve_waiting()

    @property
    def num_rate_limited(self) -> int:
        """Calls that the provider refused for coming too fast."""
        return self._num_rate_limited

    def state(self) -> GateState:
        """How it stands now; may be asked from any thread."""
        held_s = self._held_until_s - self._loop.time() if self._loop is not None else 0.0
        return GateState(
            num_under_way=self._window.num_under_way,
            num_waiting=sum(not granted.done() for _, granted in tuple(self._waiting)),
            window=self._window.size,
            num_admitted=self._num_admitted,
            num_rate_limited=self._num_rate_limited,
            num_server_trouble=self._num_server_trouble,
            held_for_s=max(0.0, held_s),
        )

    async def _wait_for_turn(self, need: Need) -> Admission:
        granted: asyncio.Future[Admission] = asyncio.get_running_loop().create_future()
        self._waiting.append((need, granted))
        self._serve_waiting()
        try:
            return await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self.cancel(granted.result())  # it was let through while it was being cancelled
            else:
                self._serve_waiting()  # it may have been what the others waited behind
            raise

    def _serve_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            need, granted = self._waiting[0]
            if granted.done():
                self._waiting.popleft()
                continue
            delay_s = self._delay_s(need, self._now_s())
            if delay_s is None:
                return
            if delay_s > 0.0:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(max(delay_s, _TICK_S), self._serve_waiting)
                return
            self._waiting.popleft()
            granted.set_result(self._let_through(need))

    def _delay_s(self, need: Need, now_s: float) -> float | None:
        """Seconds until the next call may go; None when only the end of another can tell."""
        if not self._window.has_room:
            return None
        account_s = self._account(now_s).wait_s(need, now_s)
        held_s = self._held_until_s - now_s
        return held_s if held_s > account_s else account_s

    def _let_through(self, need: Need) -> Admission:
        self._num_admitted += 1
        return self._account(self._now_s()).take(need, self._window.enter())

    def _account(self, now_s: float) -> Account:
        if self._lazy_account is None:
            self._lazy_account = Account(self._limits, now_s)
        return self._lazy_account

    def _slow_down(self, admission: Admission, outcome: Settled, now_s: float) -> None:
        # An overloaded server says nothing of how much this account is allowed: all wait for it as
        # they do after a 429, and the window stays as it is.
        if outcome.is_rate_limited:
            self._num_rate_limited += 1
        else:
            self._num_server_trouble += 1
        if not self._window.refused(admission.serial, is_cut=outcome.is_rate_limited):
            return
        if outcome.wait_s is None:
            cooldown_s = min(
                _COOLDOWN_S * 2.0 ** min(self._episodes_in_a_row, 10), _LONGEST_COOLDOWN_S
            )
            self._hold(cooldown_s * self._random.uniform(0.5, 1.0), now_s)
        self._episodes_in_a_row += 1

    def _hold(self, wait_s: float, now_s: float) -> None:
        jitter_s = self._random.uniform(0.0, min(_MOST_JITTER_S, wait_s * _JITTER_FRACTION))
        self._held_until_s = max(self._held_until_s, now_s + wait_s + jitter_s)

    def _now_s(self) -> float:
        self._loop = asyncio.get_running_loop()
        return self._loop.time()


def gate_for(allowance: Allowance) -> Gate:
    """A gate that lets through what is allowed of a teacher."""
    limits = Limits(
        requests_per_minute=allowance.requests_per_minute,
        tokens_per_minute=allowance.tokens_per_minute,
        concurrency=allowance.concurrency,
    )
    return Gate(limits)
