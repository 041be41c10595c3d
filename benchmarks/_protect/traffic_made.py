"""Simulated traffic as columns, with its labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from benchmarks._protect.prompts import areas

from stillhouse.traffic import Featuriser, Table, TrafficKey, read_table
from stillhouse.traffic.simulate import HALVES, Account, Cast, Half, Pool, Simulator, labels

KEY = TrafficKey(bytes(range(32)))


@dataclass(frozen=True)
class Made:
    """Traffic.

    Attributes:
        table: Its columns.
        kind_A: Of each account.
        is_bad_N: Whether each request is extraction.
    """

    table: Table
    kind_A: npt.NDArray[np.str_]
    is_bad_N: npt.NDArray[np.bool_]


def simulator(data: Path, half: Half, *, seed: int) -> Simulator:
    """Of the prompts and phrases of a half."""
    rng = np.random.default_rng(seed)
    return Simulator(Cast(Pool(areas(data, half), rng), HALVES[half], rng))


def made(simulated: Simulator, accounts: Sequence[Account]) -> Made:
    """What accounts send."""
    sent = simulated.sent(accounts)
    kinds = labels(accounts)
    table = read_table((one.row for one in sent), Featuriser(KEY))
    kind_by_name = {KEY.account(name): kind for name, kind in kinds.items()}
    kind_A = np.array([kind_by_name[name] for name in table.accounts])
    return Made(table, kind_A, np.array([one.is_extraction for one in sent]))
