"""Money in whole picodollars: sums over millions of calls are exact, and order does not matter.

The cheapest token of the price table costs 500 of them. What is paid or reserved is rounded up and
a limit down, in Python and in SQL alike, so that no fraction hides under a limit.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from stillhouse.errors import ConfigError
from stillhouse.runlog._ledger._database import Database
from stillhouse.runlog._ledger._schema import OPEN

_PICO = 1e12
_MOST_USD = 1e4  # more is no cost of one call, and would overflow the sums


def picos_of(amounts_usd: Iterable[float]) -> list[int]:
    """Amounts, each rounded up."""
    ceil, most = math.ceil, int(_MOST_USD * _PICO)
    return [ceil(usd * _PICO) if usd < _MOST_USD else most for usd in amounts_usd]


def usd_of(pico: int) -> float:
    """The nearest number of dollars."""
    return pico / 10**12


def pico_sql(column: str) -> str:
    """`picos_of` a column, null where that is null."""
    exact = f"min({column}, {_MOST_USD}) * {_PICO}"
    whole = f"CAST({exact} AS INTEGER)"
    return f"{whole} + ({whole} < {exact})"


@dataclass(frozen=True, slots=True)
class Commitments:
    """What a ledger's calls have cost or may cost yet, in picodollars.

    Attributes:
        spent: Known costs.
        unknown: Reserves of calls that ended, or were lost, with an unknown cost.
        open: Reserves of calls under way.
    """

    spent: int
    unknown: int
    open: int

    @property
    def total(self) -> int:
        """All together."""
        return self.spent + self.unknown + self.open


def limit_of(cap_usd: float) -> int:
    """A limit in picodollars, rounded down.

    Raises:
        ConfigError: it is no amount of money.
    """
    if not (math.isfinite(cap_usd) and cap_usd >= 0.0):
        raise ConfigError(f"budget is {cap_usd} USD; it must be 0 or more. Correct it.")
    return math.floor(cap_usd * _PICO)


def commitments(db: Database, path: Path) -> Commitments:
    """What counts against a limit.

    Raises:
        ConfigError: there are answers whose price is not known.
    """
    spent = unknown = under_way = 0
    for outcome, cost, unsettled, num_unpriced in db.rows(
        "SELECT finish_reason, cost_pico, unsettled_pico, num_unpriced FROM sums"
    ):
        if num_unpriced:
            raise ConfigError(
                f"A budget is set, but {path} holds answers whose price is not known. Collect "
                "into another ledger, or run without a budget."
            )
        spent += cost
        if outcome == OPEN:
            under_way += unsettled
        else:
            unknown += unsettled
    return Commitments(spent, unknown, under_way)
