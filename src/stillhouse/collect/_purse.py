"""Where a collection's budget comes from: asked before every claim, and again when it is short."""

from dataclasses import dataclass
from typing import Protocol

from stillhouse.runlog import Ledger

_LOST = "lost_usd"  # a memo of the ledger


class Purse(Protocol):
    """The most that the calls of one ledger may cost; it may grow while a run goes on.

    The ledger holds the sums: it claims nothing that could take it over `cap_usd`.
    """

    @property
    def cap_usd(self) -> float | None:
        """The limit as it stands, read before every claim; None, from first to last, is none."""
        ...

    def grow(self, short_usd: float) -> bool:
        """Whether the limit has been raised; asked on the ledger's thread.

        Asked when a claim found no room and nothing is under way here that could make some. On
        True the claim is made again, on False the run waits for other processes, or ends.

        Args:
            short_usd: What the next call lacks, as the limit stands.
        """
        ...


@dataclass(frozen=True)
class FixedPurse:
    """A budget that was given once.

    Attributes:
        cap_usd: The limit; None sets none.
    """

    cap_usd: float | None = None

    def grow(self, short_usd: float) -> bool:
        """False: nobody gives more."""
        return False


def purse_of(ledger: Ledger, cap_usd: float | None) -> FixedPurse:
    """What of a budget the calls in a ledger may cost: all but what was lost of it elsewhere."""
    return FixedPurse(None if cap_usd is None else max(0.0, cap_usd - lost_usd(ledger)))


def lost_usd(ledger: Ledger) -> float:
    """The most that was spent by workers of this ledger's runs whose own ledgers are lost."""
    return float(ledger.memo(_LOST) or 0.0)


def add_lost_usd(ledger: Ledger, usd: float) -> None:
    """Count so much more as spent where nobody can read it any more."""
    ledger.keep_memo(_LOST, repr(lost_usd(ledger) + usd))
