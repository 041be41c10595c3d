"""Answers accounts as their owner decided: marked by a key of their own, slowed down, or asked.

Who is answered how is in a file that `stillhouse watch --responses` writes, and comes from what the
server itself flags, up to a step that its owner chose. No field of a request has a say. The file is
looked at every second, in a thread; one that cannot be read changes nothing, and is told of.
"""

import asyncio
import logging
import math
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, time
from typing import Any

from stillhouse.errors import ConfigError, StillhouseError
from stillhouse.serve._ask import RefusedError
from stillhouse.serve._buckets import Bucket
from stillhouse.serve._seen import Seen
from stillhouse.traffic import (
    RESPONSES,
    Responses,
    ResponsesConfig,
    ResponseStep,
    TrafficKey,
    open_traffic_key,
    read_responses,
)

logger = logging.getLogger(__name__)

LIVE_S = 7 * 86_400.0
"""How long a flag of the server itself is answered, as `response_days` of `watch` by default."""

_LOOK_S = 1.0  # between two looks at the file
_RANKS: Mapping[ResponseStep, int] = {step: rank for rank, step in enumerate(RESPONSES)}
_MARKED, _SLOWED, _ASKED = (_RANKS[step] for step in RESPONSES[1:])
_Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _Decided:
    """What a file says of the accounts that have a key here.

    Attributes:
        answered: Rank of the step and its end in seconds since 1970, by pseudonym.
        cleared: The end of the clearing, by pseudonym.
    """

    answered: Mapping[str, tuple[int, float]]
    cleared: Mapping[str, float]


class Responder:
    """Tells for each request how its account is answered; use it within one event loop.

    Args:
        config: The file, and how sharp it may get.
        callers: Digests of the keys that callers have, in hex.
        can_mark: Whether answers can be marked by a key of the account.
        now: Seconds since 1970.
        clock: Seconds that do not go back.

    Raises:
        ConfigError, DataError: the file is missing, damaged, open to others or of another key.
    """

    def __init__(
        self,
        config: ResponsesConfig,
        callers: list[str],
        *,
        can_mark: bool,
        now: Callable[[], float] = time,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        key, _ = open_responses(config)
        self._config = config
        self._key_id = key.key_id
        self._names = {caller: key.account(caller) for caller in callers}
        self._known = frozenset(self._names.values())
        self._can_mark = can_mark
        self._now, self._clock = now, clock
        self._buckets: dict[str, Bucket] = {}
        self._flagged: dict[str, float] = {}
        self._requests: Counter[int] = Counter()
        self._refused: Counter[int] = Counter()
        self._problem = ""
        self._watching: asyncio.Task[None] | None = None
        self._stamp: _Stamp | None = _stamp(config.file)
        self._decided = self._read()
        marks = any(rank >= _MARKED for rank, _ in self._decided.answered.values())
        if marks and not can_mark:
            logger.warning("customer_key is as log: no --watermark marks what is served")

    def begin(self) -> None:
        """Look at the file from here on."""
        if self._watching is None:
            self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def close(self) -> None:
        """Look no more; may be called twice."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    def flag(self, account: str) -> None:
        """The server itself found that an account stands out; may be called in any thread."""
        if account in self._known:
            self._flagged[account] = self._now() + LIVE_S

    def admit(self, seen: Seen) -> None:
        """Let a request of an account through, or not.

        Raises:
            RefusedError: the account is slowed down, or has to say who it is.
        """
        name = self._names.get(seen.caller)
        rank = None if name is None else self._rank(name)
        if name is None or rank is None:
            return
        self._requests[rank] += 1
        if rank >= _ASKED:
            self._refused[_ASKED] += 1
            raise RefusedError(
                403,
                "Requests of this account stand out, and it has to say who it is before more are "
                f"answered. If that is a mistake, or to do so: {self._config.contact}",
                code="account_to_verify",
            )
        if rank >= _SLOWED:
            self._slow(name)
        if rank >= _MARKED and self._can_mark:
            seen.customer = name

    def charge(self, seen: Seen, num_answers: int) -> None:
        """Count more answers than one to a request of an account that is slowed down."""
        bucket = self._buckets.get(self._names.get(seen.caller, ""))
        if bucket is not None:
            bucket.owe(num_answers)

    def health(self) -> dict[str, Any]:
        """How the file is doing."""
        return {"responses": {"state": "stale" if self._problem else "current"}}

    def metrics(self) -> str:
        """How it stands, for Prometheus; no account is named."""
        ranks = (self._rank(name) for name in self._known)
        accounts = Counter(rank for rank in ranks if rank is not None)
        lines = [
            "# TYPE stillhouse_responses_stale gauge",
            f"stillhouse_responses_stale {int(bool(self._problem))}",
        ]
        for name, kind, counts in (
            ("accounts", "gauge", accounts),
            ("requests_total", "counter", self._requests),
            ("refused_total", "counter", self._refused),
        ):
            lines.append(f"# TYPE stillhouse_responses_{name} {kind}")
            lines += [
                f'stillhouse_responses_{name}{{step="{step}"}} {counts[rank]}'
                for step, rank in _RANKS.items()
                if name != "refused_total" or rank >= _SLOWED
            ]
        return "".join(f"{line}\n" for line in lines)

    def _rank(self, name: str) -> int | None:
        """How sharply an account is answered now; None for not at all."""
        decided, now_s = self._decided, self._now()
        if decided.cleared.get(name, 0.0) > now_s:
            return None
        rank, until_s = decided.answered.get(name, (-1, 0.0))
        rank = rank if until_s > now_s else -1
        if self._flagged.get(name, 0.0) > now_s:
            rank = max(rank, _RANKS[self._config.live_step])
        return None if rank < 0 else rank

    def _slow(self, name: str) -> None:
        now_s, per_minute = self._clock(), self._config.throttle_per_minute
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = Bucket(per_minute, now_s)
        wait_s = math.ceil(bucket.take(now_s))
        if wait_s:
            self._refused[_SLOWED] += 1
            raise RefusedError(
                429,
                f"Requests of this account stand out, and {per_minute:g} a minute are answered. "
                f"Come again in {wait_s} s. If that is a mistake: {self._config.contact}",
                code="account_slowed_down",
                retry_after_s=wait_s,
            )

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            await asyncio.to_thread(self._look)

    def _look(self) -> None:
        """Take what the file says now; in a thread."""
        try:
            stamp = _stamp(self._config.file)
            if stamp == self._stamp:
                return
            self._stamp = stamp
            self._decided = self._read()
        except (StillhouseError, OSError) as err:
            if isinstance(err, OSError):
                self._stamp = None  # the same file may come back
            if str(err) != self._problem:
                logger.error("the responses cannot be read; the last ones go on: %s", err)
            self._problem = str(err)
            return
        if self._problem:
            logger.warning("the responses can be read again")
        self._problem = ""

    def _read(self) -> _Decided:
        found = read_responses(self._config.file)
        found.check_key(self._key_id)
        return _Decided(
            {
                one.account: (_RANKS[one.step], one.until.timestamp())
                for one in found.accounts
                if one.account in self._known
            },
            {
                one.account: one.until.timestamp()
                for one in found.cleared
                if one.account in self._known
            },
        )


def open_responses(config: ResponsesConfig) -> tuple[TrafficKey, Responses]:
    """The key that accounts are known by, and what the file says.

    Raises:
        ConfigError, DataError: one is missing, damaged or open to others, or they do not fit.
    """
    if not os.path.lexists(config.key):  # or a new one would be made, which fits no file
        raise ConfigError(
            f"{config.key} does not exist. Give the key that the watched access log was made under."
        )
    if not os.path.lexists(config.file):
        raise ConfigError(
            f"{config.file} does not exist. Let stillhouse watch --responses write it first."
        )
    key = open_traffic_key(config.key)
    found = read_responses(config.file)
    found.check_key(key.key_id)
    return key, found


def _stamp(file: Path) -> _Stamp:
    found = file.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
