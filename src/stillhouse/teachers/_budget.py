"""A spending limit that holds at any number of requests under way."""

import asyncio
import math
from collections import deque
from dataclasses import dataclass

from stillhouse.errors import BudgetExceededError, ConfigError

# Money is counted in whole picodollars, so that sums over millions of calls are exact: the
# cheapest token of the price table costs 500.
_PICO = 10**12


@dataclass(slots=True)
class Reservation:
    """Money set aside for one call; hand it back to `settle` or `cancel`, once."""

    pico: int


class Budget:
    """Money for a run, shared by all of its providers; to be used within one event loop.

    Every call reserves the most that it can cost before it leaves, and gets back what it did not
    cost. `spent + reserved + unknown` never exceeds the cap, so neither does what is paid, as long
    as no call costs more than was reserved for it.

    Args:
        cap_usd: The limit.
        spent_usd: What the ledger says earlier calls cost; counts against the cap.
        unknown_usd: What was reserved for earlier calls whose outcome nobody knows.

    Raises:
        ConfigError: an amount is negative or not finite.
    """

    def __init__(self, cap_usd: float, *, spent_usd: float = 0.0, unknown_usd: float = 0.0) -> None:
        for name, usd in (("budget", cap_usd), ("spent", spent_usd), ("unknown", unknown_usd)):
            if not (math.isfinite(usd) and usd >= 0.0):
                raise ConfigError(f"{name} is {usd} USD; it must be 0 or more. Correct it.")
        self._cap = math.floor(cap_usd * _PICO)
        self._spent = _pico(spent_usd)
        self._unknown = _pico(unknown_usd)
        self._reserved = 0
        self._num_above_reserve = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def cap_usd(self) -> float:
        """The limit."""
        return self._cap / _PICO

    @property
    def spent_usd(self) -> float:
        """What calls are known to have cost."""
        return self._spent / _PICO

    @property
    def reserved_usd(self) -> float:
        """What is set aside for calls under way."""
        return self._reserved / _PICO

    @property
    def unknown_usd(self) -> float:
        """The most that calls with an unknown outcome may have cost."""
        return self._unknown / _PICO

    @property
    def num_above_reserve(self) -> int:
        """Calls that cost more than was reserved: the provider ignored a limit, or prices rose."""
        return self._num_above_reserve

    async def reserve(self, worst_usd: float) -> Reservation:
        """Set `worst_usd` aside; waits for refunds of calls under way while they may make room.

        First come, first served: a cheap call does not overtake a dear one.

        Raises:
            BudgetExceededError: the call could cross the cap whatever is refunded.
        """
        pico = _pico(worst_usd)
        if self._waiting or not self._fits(pico):
            await self._wait_for_room(pico)
        else:
            self._reserved += pico
        return Reservation(pico)

    def settle(self, reservation: Reservation, cost_usd: float | None) -> None:
        """Replace a reservation by what the call cost; None is unknown, and stays set aside."""
        pico = reservation.pico
        self._reserved -= pico
        if cost_usd is None:
            self._unknown += pico
        else:
            paid = _pico(cost_usd)
            self._spent += paid
            self._num_above_reserve += paid > pico
        self._serve_waiting()

    def set_aside(self, worst_usd: float) -> None:
        """Count what calls may cost that are not made through here; it stays set aside."""
        self._unknown += _pico(worst_usd)
        self._serve_waiting()

    def cancel(self, reservation: Reservation) -> None:
        """Give back the whole reservation of a call that was never sent."""
        self._reserved -= reservation.pico
        self._serve_waiting()

    def _fits(self, pico: int) -> bool:
        return self._spent + self._unknown + self._reserved + pico <= self._cap

    async def _wait_for_room(self, pico: int) -> None:
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (pico, granted)
        self._waiting.append(entry)
        self._serve_waiting()
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                self._reserved -= pico
            elif entry in self._waiting:
                self._waiting.remove(entry)
            self._serve_waiting()
            raise

    def _serve_waiting(self) -> None:
        """Grant what fits in order; refuse the first where no refund can make room for it."""
        while self._waiting:
            pico, granted = self._waiting[0]
            if granted.done():  # cancelled; its own task removes what it held
                self._waiting.popleft()
                continue
            if self._fits(pico):
                self._reserved += pico
                granted.set_result(None)
            elif self._spent + self._unknown + pico > self._cap:
                granted.set_exception(self._exceeded(pico))
            else:
                return
            self._waiting.popleft()

    def _exceeded(self, pico: int) -> BudgetExceededError:
        held = self.reserved_usd + self.unknown_usd
        return BudgetExceededError(
            f"The next call may cost {pico / _PICO:.6f} USD, but of the budget of "
            f"{self.cap_usd:.6f} USD {self.spent_usd:.6f} are spent and {held:.6f} set aside for "
            "calls whose cost is not known. Raise the budget, or lower sampling.max_tokens; what "
            "was answered is kept."
        )


def _pico(usd: float) -> int:
    # Upwards: a fraction of a picodollar must not hide under the cap.
    return math.ceil(usd * _PICO)
