"""The budget as a worker sees it: a lease that is renewed before it is used up."""

import time
from collections.abc import Callable

from stillhouse.collect._purse import Purse
from stillhouse.collect._ray._treasury import Lease

_CALLS_AHEAD = 64  # a lease has room for so many of the dearest calls, where there is as much
_LOOK_AGAIN_S = 0.2
_ROUNDING_USD = 2e-12  # dollars come as floats: a lease must not be a picodollar short

AskForLease = Callable[[float, float, float], Lease]
"""`Treasury.lease` without the worker's name; raises when the treasury is gone."""


class LeasedPurse(Purse):
    """Claims of one ledger under a budget that others spend too; of the ledger's thread only.

    Args:
        ask: The way to the treasury.
        used_usd: What the calls in this worker's ledger cost and may cost.
        is_over: Whether nothing more is to be asked, so that waiting is in vain.
    """

    def __init__(
        self, ask: AskForLease, used_usd: Callable[[], float], is_over: Callable[[], bool]
    ) -> None:
        self._ask = ask
        self._used_usd = used_usd
        self._is_over = is_over
        self._lease = Lease(0.0, True)
        self._want_usd = 0.0
        self._asked_s = float("-inf")

    @property
    def cap_usd(self) -> float:
        """The limit as it stands; more is asked for when half of a lease is used."""
        now_s = time.monotonic()
        if self._want_usd and now_s - self._asked_s >= _LOOK_AGAIN_S:
            used_usd = self._used_usd()
            if self._lease.cap_usd - used_usd < self._want_usd / 2:
                self._renew(self._want_usd, used_usd, 0.0)
        return self._lease.cap_usd

    def grow(self, short_usd: float) -> bool:
        """Whether there is money for the next call; waits while that of others may come free."""
        used_usd = self._used_usd()
        next_usd = short_usd + max(0.0, self._lease.cap_usd - used_usd) + _ROUNDING_USD
        self._want_usd = max(self._want_usd, _CALLS_AHEAD * next_usd)
        while not self._is_over():
            self._renew(self._want_usd, used_usd, next_usd)
            if self._lease.cap_usd - used_usd >= next_usd - _ROUNDING_USD:
                return True
            if not self._lease.may_grow:
                break
            time.sleep(_LOOK_AGAIN_S)
        return False

    def rest(self) -> None:
        """Give back what is not used, until the next claim."""
        self._want_usd = 0.0
        self._renew(0.0, self._used_usd(), 0.0)

    def _renew(self, want_usd: float, used_usd: float, at_least_usd: float) -> None:
        self._lease = self._ask(want_usd, used_usd, at_least_usd)
        self._asked_s = time.monotonic()
