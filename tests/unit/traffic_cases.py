"""Small worlds of traffic: made-up topics, filled into the simulator's frames."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np

from stillhouse.traffic import (
    AccessRow,
    Featuriser,
    Placed,
    Ranks,
    Reference,
    Table,
    TrafficKey,
    read_table,
)
from stillhouse.traffic._reference import clusters_of
from stillhouse.traffic.simulate import HALVES, Account, Area, Cast, Half, Pool, Simulator

KEY = TrafficKey(bytes(range(32)))
BEGIN = datetime(2026, 6, 1, tzinfo=UTC)
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@cache
def areas(half: Half) -> dict[str, Area]:
    """Eight topics with words of their own; those of the halves differ."""
    rng = np.random.default_rng({"fit": 1, "test": 2}[half])
    common = _words(rng, 40)
    found = {}
    for number in range(8):
        # Two words of three are of the topic.
        words = np.array(common + _words(rng, 60))
        places = np.hstack([rng.integers(0, 40, (400, 4)), rng.integers(40, 100, (400, 8))])
        texts = [" ".join(words[some]) for some in rng.permuted(places, axis=1)]
        found[f"topic{number}/all"] = Area(f"topic{number}", texts)
    return found


def simulator(half: Half, *, seed: int = 0) -> Simulator:
    rng = np.random.default_rng(seed)
    return Simulator(Cast(Pool(areas(half), rng), HALVES[half], rng))


def rows_of(simulated: Simulator, accounts: Sequence[Account]) -> list[AccessRow]:
    return [one.row for one in simulated.sent(accounts)]


def table_of(rows: Sequence[AccessRow], *, key: TrafficKey = KEY) -> Table:
    return read_table(rows, Featuriser(key))


@cache
def reference() -> Reference:
    """Of 300 benign accounts of the first half.

    So small a world has a dozen benign clusters. The others are made of them by chance.
    """
    simulated = simulator("fit", seed=1)
    table = table_of(rows_of(simulated, simulated.benign(300)))
    fitted = Reference.fit(table, KEY.key_id)
    found = clusters_of(Placed.on(fitted.content_map, table))
    figures_RF = np.array([figures_F for _, figures_F in found])
    rng = np.random.default_rng(0)
    drawn_RF = figures_RF[rng.integers(len(figures_RF), size=200)]
    drawn_RF += rng.normal(size=drawn_RF.shape) * figures_RF.std(axis=0) / 2
    return replace(fitted, clusters=Ranks.of("cluster", drawn_RF))


def row(
    number: int, *, account: str = "anna", prompt: str = "what is new", seconds: float = 0.0
) -> AccessRow:
    at = BEGIN + timedelta(seconds=seconds or 60.0 * number)
    return AccessRow(id=f"r{number}", at=at, account=account, prompt=prompt)


def _words(rng: np.random.Generator, num: int) -> list[str]:
    return ["".join(rng.choice(list(_LETTERS), 6)) for _ in range(num)]
