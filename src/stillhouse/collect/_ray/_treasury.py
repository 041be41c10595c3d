"""One budget that many workers spend: each ledger claims nothing over what was leased to it.

What is leased and spent together never exceeds the cap, so neither do all ledgers together.
Nothing here knows of Ray: the treasury is a plain object that an actor is made of.
"""

import math
from typing import NamedTuple

_PICO = 10**12  # money in whole picodollars, as the ledger counts it


class Lease(NamedTuple):
    """What a worker may spend.

    Attributes:
        cap_usd: In all, with what it has spent.
        may_grow: Whether others are at work, whose money may come free.
    """

    cap_usd: float
    may_grow: bool


class Treasury:
    """Leases parts of one budget.

    Args:
        cap_usd: The budget.
        spent_usd: Of it, what is spent or set aside in ledgers that no worker writes.
    """

    def __init__(self, cap_usd: float, *, spent_usd: float) -> None:
        self._cap = math.floor(cap_usd * _PICO)
        self._spent = math.ceil(spent_usd * _PICO)
        self._leases: dict[str, int] = {}
        self._idle: set[str] = set()

    def lease(self, worker: str, want_usd: float, used_usd: float, at_least_usd: float) -> Lease:
        """A worker's new limit, in the place of its old one; what it does not want comes free.

        Args:
            worker: Its name.
            want_usd: What it would like to have beyond what it has used; 0 when it rests.
            used_usd: What its calls cost and may cost, by its ledger.
            at_least_usd: A smaller part is of no use to it now, and stays with the others; more
                than 0 says that it has nothing under way.
        """
        used = _up(used_usd)
        self._leases.pop(worker, None)
        at_work = self._leases.keys() - self._idle
        free = max(0, self._cap - self._spent - sum(self._leases.values()) - used)
        # The first to ask must not take all: the last money goes round in ever smaller parts.
        fair = free // (len(at_work) + 1)
        part = min(free, _up(want_usd), max(fair, _up(at_least_usd)))
        if part < _up(at_least_usd):
            part = 0
        self._leases[worker] = used + part
        if part == 0 and (want_usd == 0.0 or at_least_usd > 0.0):
            self._idle.add(worker)
        else:
            self._idle.discard(worker)
        return Lease((used + part) / _PICO, bool(at_work))

    def close(self, worker: str, used_usd: float | None) -> float:
        """Take a worker's lease back, and return what of it may be spent.

        Args:
            worker: Its name.
            used_usd: What its ledger says; None where that is lost: all of the lease counts.
        """
        lease = self._leases.pop(worker, 0)
        self._idle.discard(worker)
        used = lease if used_usd is None else _up(used_usd)
        self._spent += used
        return used / _PICO


def _up(usd: float) -> int:
    # Upwards: a fraction of a picodollar must not hide under the cap.
    return math.ceil(usd * _PICO)
