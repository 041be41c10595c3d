"""Watching while requests come: each account, at every look, without a growing chance of error.

An account is looked at when it has sent 20, 50, 100, 200 and 500 requests, and after every further
500. A benign account is flagged at some look, ever, with at most the chance `live_level`: each look
may spend a share of it, whose sum is 1 however long one watches (union bound, so that it matters
neither how looks depend on one another nor when one stops). Clusters take the whole log:
`stillhouse watch`.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from stillhouse.errors import ConfigError
from stillhouse.traffic._config import TrafficConfig
from stillhouse.traffic._features import Featuriser, PromptFeatures
from stillhouse.traffic._key import TrafficKey
from stillhouse.traffic._looks import LOOKS, MAX_WINDOW, is_look
from stillhouse.traffic._ranks import Comparison
from stillhouse.traffic._reference import Reference
from stillhouse.traffic._rows import AccessRow
from stillhouse.traffic._table import Columns, read_features
from stillhouse.traffic._windows import Placed, window_figures

_MAX_ACCOUNTS = 20_000


@dataclass(frozen=True)
class Flag:
    """An account that was found at a look.

    Attributes:
        account: Its pseudonym.
        num_requests: That it had sent by then.
        comparison: Of the window.
        level: That the look could spend.
    """

    account: str
    num_requests: int
    comparison: Comparison
    level: float


@dataclass
class _Recent:
    rows: list[AccessRow] = field(default_factory=list)
    features: list[PromptFeatures] = field(default_factory=list)
    num_requests: int = 0


class Monitor:
    """Watches accounts while requests come, in memory that has a limit.

    Not for several threads at once.

    Args:
        reference: Made under `key`.
        key: What requests are hashed under.
        max_accounts: Accounts whose requests are kept; the one that was silent longest goes first.

    Attributes:
        flags: The first flag of each account, by pseudonym.
        num_requests: That came.
        num_forgotten: Accounts that went.

    Raises:
        ConfigError: the reference was made under another key.
    """

    def __init__(
        self,
        reference: Reference,
        key: TrafficKey,
        *,
        config: TrafficConfig | None = None,
        max_accounts: int = _MAX_ACCOUNTS,
    ) -> None:
        check_key(reference, key)
        self.flags: dict[str, Flag] = {}
        self.num_requests = self.num_forgotten = 0
        self._reference, self._key = reference, key
        self._level = (config or TrafficConfig()).live_level
        self._featuriser = Featuriser(key)
        self._max_accounts = max_accounts
        self._recent: OrderedDict[str, _Recent] = OrderedDict()

    def add(self, row: AccessRow) -> tuple[PromptFeatures, Flag | None]:
        """Take a request; its prompt is dropped at once.

        Returns:
            What is kept of the prompt, and the flag if the account is flagged by this request.
        """
        features = read_features([row], self._featuriser)
        self.num_requests += 1
        name = row.account if row.hashed else self._key.account(row.account)
        recent = self._recent.pop(name, None) or _Recent()
        self._recent[name] = recent
        if len(self._recent) > self._max_accounts:
            self._recent.popitem(last=False)
            self.num_forgotten += 1
        recent.num_requests += 1
        recent.rows.append(row.model_copy(update={"prompt": None, "hashed": None}))
        recent.features.append(features)
        del recent.rows[:-MAX_WINDOW], recent.features[:-MAX_WINDOW]
        flag = self._looked(name, recent) if is_look(recent.num_requests) else None
        if flag is not None:
            self.flags.setdefault(name, flag)
        return features, flag

    def _looked(self, name: str, recent: _Recent) -> Flag | None:
        length = min(recent.num_requests, MAX_WINDOW)
        ranks = self._reference.windows.get(length)
        if ranks is None:
            return None
        columns = Columns()
        columns.add(recent.rows, [name] * len(recent.rows), joined(recent.features))
        table = columns.table()
        placed = Placed.on(self._reference.content_map, table)
        comparison = ranks.compare(window_figures(placed, table.by_account()[0]))
        level = self._level * look_share(look_number(recent.num_requests))
        if comparison.p_value > level:
            return None
        return Flag(name, recent.num_requests, comparison, level)


def check_key(reference: Reference, key: TrafficKey) -> None:
    """Refuse a reference that was made under another key.

    Raises:
        ConfigError: it was.
    """
    if reference.key_id != key.key_id:
        raise ConfigError(
            f"The reference was made under key {reference.key_id[:12]}, and the key given is "
            f"{key.key_id[:12]}. Give the key that it was fitted with, or fit it again."
        )


def look_number(num_requests: int) -> int:
    """Which look it is that an account of so many requests has, from 1 on."""
    if num_requests <= MAX_WINDOW:
        return LOOKS.index(num_requests) + 1
    return len(LOOKS) + num_requests // MAX_WINDOW - 1


def look_share(number: int) -> float:
    """The share of the level that a look may spend; all of them add up to 1.

    The first five get 0.18 each, since they are the ones that most accounts come to; later ones
    share a tenth, falling as the square.
    """
    if number <= len(LOOKS):
        return 0.9 / len(LOOKS)
    return 0.1 * 6 / (math.pi * (number - len(LOOKS))) ** 2


def joined(parts: Sequence[PromptFeatures]) -> PromptFeatures:
    """Features one after the other."""
    return PromptFeatures(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in PromptFeatures.__dataclass_fields__
        )
    )
