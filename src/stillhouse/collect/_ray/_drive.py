"""The driver: hands out shards, takes over what workers wrote, goes on without those that die."""

import logging
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from stillhouse.collect._ray._board import Board
from stillhouse.collect._ray._cluster import Cluster, LostNodeError
from stillhouse.collect._ray._crew import Crew, Hand
from stillhouse.collect._ray._ledgers import WorkerLedgers
from stillhouse.collect._ray._shards import Shard, ShardMaker
from stillhouse.collect._ray._worker import Outcome, ledger_path, used_usd
from stillhouse.errors import BudgetExceededError, StillhouseError, TeacherUnavailableError
from stillhouse.records import ItemError

logger = logging.getLogger(__name__)

_TICK_S = 0.5
_LOOK_EVERY_S = 1.0
_MOST_DEATHS = 3  # for each worker; then something is wrong that another worker will not mend


class Drive:
    """One attempt at asking everything on a cluster.

    Args:
        cluster: The machines.
        crew: The workers.
        ledgers: Takes over what they wrote.
        maker: Makes the rest of a shard whose worker died.
        desks: Actors that hold the limits, by the teacher's id.
        treasury: Actor that holds the budget, or None.
        num_workers: How many are to ask at a time.

    Attributes:
        maker: As given.
        num_workers: As given.
        board: What was done.
        failures: By the teacher's name, why requests were given up.
    """

    def __init__(
        self,
        cluster: Cluster,
        crew: Crew,
        ledgers: WorkerLedgers,
        maker: ShardMaker,
        desks: Mapping[str, Any],
        treasury: Any,
        num_workers: int,
    ) -> None:
        self.num_workers = num_workers
        self.maker = maker
        self.board = Board()
        self.failures: dict[str, dict[str, ItemError]] = {}
        self._cluster = cluster
        self._crew = crew
        self._ledgers = ledgers
        self._desks = desks
        self._treasury = treasury
        self._again: deque[Shard] = deque()
        self._under_way: dict[Any, tuple[Hand, Shard]] = {}
        self._error: StillhouseError | None = None
        self._is_stopped = False
        self._is_read = False
        self._num_deaths = 0
        self._looked_s = 0.0

    @property
    def num_failures(self) -> int:
        """Requests that were given up."""
        return sum(map(len, self.failures.values()))

    def ask(
        self, shards: Iterator[tuple[int, Shard]], *, most_failures: float, stop_s: float
    ) -> Iterator[None]:
        """Have all shards asked, and leave no worker behind; yields now and then.

        Args:
            shards: What is left to ask, each with how much of it is known.
            most_failures: With more, nothing more is sent.
            stop_s: When nothing more is sent, by `time.monotonic`.

        Raises:
            StillhouseError: why no worker can go on, once all have stopped.
        """
        first = self._next_shard(shards)
        if first is not None:  # else nobody need be started
            self._again.append(first)
            self._crew.start(self.num_workers)
        try:
            while self._under_way or self._may_go_on():
                if time.monotonic() >= stop_s or self.num_failures > most_failures:
                    self._stop()
                self._hand_out(shards, stop_s)
                calls = {**self._under_way, **self._crew.starting}
                for answer in self._cluster.ready(calls, within_s=_TICK_S):
                    self._take(answer)
                self._crew.check()
                self._look()
                yield
        finally:
            self._crew.dismiss()
            if self._under_way:
                self._ledgers.take_over_all()
            self._ledgers.tidy()
        if self._error is not None:
            raise self._error
        yield

    def _may_go_on(self) -> bool:
        """Whether there is work left and may be somebody to do it."""
        if self._is_stopped or (self._is_read and not self._again):
            return False
        hands = self._crew.hands
        return not hands or not all(hand.has_no_money for hand in hands)

    def _hand_out(self, shards: Iterator[tuple[int, Shard]], stop_s: float) -> None:
        for hand in self._crew.hands:
            if self._is_stopped:
                return
            if hand.shard is not None or hand.has_no_money:
                continue
            shard = self._next_shard(shards)
            if shard is None:
                return
            left_s = None if stop_s == float("inf") else max(stop_s - time.monotonic(), 0.001)
            hand.shard = shard
            hand.num_turns += 1
            hand.account = f"{hand.name}-{hand.num_turns}"
            self._under_way[hand.actor.ask.remote(shard, hand.account, left_s)] = hand, shard

    def _next_shard(self, shards: Iterator[tuple[int, Shard]]) -> Shard | None:
        if self._again:
            return self._again.popleft()
        for num_known, shard in shards:
            self.board.num_settled += num_known
            if shard.num_requests:
                return shard
        self._is_read = True
        return None

    def _take(self, answer: Any) -> None:
        """Take in what a call came to."""
        if answer in self._crew.starting:
            if self._crew.take_on(answer) is None:
                self._count_death()
            return
        hand, shard = self._under_way.pop(answer)
        try:
            outcome = self._cluster.get(answer)
        except self._cluster.lost_errors:
            self._bury(hand, shard)
            return
        self._close_turn(hand, shard, outcome)

    def _close_turn(self, hand: Hand, shard: Shard, outcome: Outcome) -> None:
        hand.shard = None
        self.board.close_shard(hand.name, outcome.num_settled, outcome.metrics)
        for name, failures in outcome.failures.items():
            self.failures.setdefault(name, {}).update(failures)
        if isinstance(outcome.error, BudgetExceededError):
            # Not the end: others may have money left, and it comes back with their answers.
            hand.has_no_money = True
        elif outcome.error is not None and not self._is_stopped:
            self._error = outcome.error
            self._stop()
        self._take_over(hand, shard)

    def _bury(self, hand: Hand, shard: Shard) -> None:
        """Take over what a dead worker wrote, and have the rest of its shard asked by others."""
        self._crew.hands.remove(hand)
        self.board.drop_shard(hand.name)
        for desk in self._desks.values():
            desk.give_up.remote(hand.name)
        self._take_over(hand, shard)
        _, rest = self.maker.rest_of(shard)
        self.board.num_settled += shard.num_requests - rest.num_requests
        if rest.num_requests:
            self._again.append(rest)
        self._count_death()

    def _count_death(self) -> None:
        self._num_deaths += 1
        if self._num_deaths <= _MOST_DEATHS * self.num_workers:
            self._crew.start(1)
        elif not self._crew.hands and not self._crew.starting:
            self._stop()
            self._error = self._error or TeacherUnavailableError(
                f"{self._num_deaths} workers died, the last ones too. Look for the cause in Ray's "
                "logs, then run the same command again; what was answered is kept."
            )

    def _take_over(self, hand: Hand, shard: Shard) -> None:
        """Merge the ledger of a turn that is over, and settle what it spent."""
        path = ledger_path(hand.folder, self._ledgers.run, hand.account)
        told_usd: float | None = None
        with suppress(LostNodeError):
            totals = self._ledgers.take_over(path, hand.node)
            told_usd = used_usd(totals) if totals is not None else 0.0
        spent_usd = 0.0
        if self._treasury is not None:
            spent_usd = self._cluster.get(self._treasury.close.remote(hand.account, told_usd))
        if told_usd is None:
            self._ledgers.note_lost(hand.node, shard.num_requests, spent_usd)

    def _look(self) -> None:
        """Ask how far the workers are, and take in what they said since the last time."""
        if time.monotonic() - self._looked_s < _LOOK_EVERY_S:
            return
        self._looked_s = time.monotonic()
        for hand in self._crew.hands:
            if hand.progress is not None:
                if not self._cluster.ready({hand.progress: hand}, within_s=0.0):
                    continue
                try:
                    progress = self._cluster.get(hand.progress)
                except self._cluster.lost_errors:
                    continue  # the call that it works on tells
                if hand.shard is not None:
                    self.board.note(hand.name, progress)
            hand.progress = hand.actor.progress.remote()

    def _stop(self) -> None:
        if not self._is_stopped:
            self._is_stopped = True
            for hand in self._crew.hands:
                hand.actor.stop.remote()
