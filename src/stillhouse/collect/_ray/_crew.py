"""The workers of a run: started, handed shards, and replaced when they die."""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillhouse import __version__
from stillhouse.collect._ray._cluster import Cluster, Node
from stillhouse.collect._ray._shards import Shard
from stillhouse.collect._ray._worker import Job, Worker
from stillhouse.errors import ConfigError

_START_WITHIN_S = 120.0  # a machine may have to load the package from a slow disk


@dataclass
class Hand:
    """One worker as the driver sees it.

    Attributes:
        name: Names it at the desks.
        actor: Its actor.
        node: The machine it is on.
        folder: Where its ledgers are there.
        shard: What it is asking, if anything.
        account: Names that turn: see `Worker.ask`.
        num_turns: Shards that it was handed.
        has_no_money: Whether the budget had nothing more for it.
        progress: A question that it has not answered yet.
    """

    name: str
    actor: Any
    node: Node
    folder: Path
    shard: Shard | None = None
    account: str = ""
    num_turns: int = 0
    has_no_money: bool = False
    progress: Any = None


class Crew:
    """Starts workers; they join as they come up.

    Args:
        cluster: Where they run.
        job: What all are told.
        desks: Actors that hold the limits, by the teacher's id.
        treasury: Actor that holds the budget, or None.
        environment: Variables that a worker takes which lacks them: keys.

    Attributes:
        hands: The workers that are up.
        starting: Calls that answer when one comes up.
    """

    def __init__(
        self,
        cluster: Cluster,
        job: Job,
        desks: Mapping[str, Any],
        treasury: Any,
        environment: Mapping[str, str],
    ) -> None:
        self._cluster = cluster
        self._job = job
        self._desks = desks
        self._treasury = treasury
        self._environment = environment
        self._give_up_s = 0.0
        self.hands: list[Hand] = []
        self.starting: dict[Any, tuple[str, Any]] = {}

    def start(self, number: int) -> None:
        """Have so many more started; those for which the cluster has no room wait for it."""
        self._give_up_s = time.monotonic() + _START_WITHIN_S
        for _ in range(number):
            name = secrets.token_hex(4)
            actor = self._cluster.start_worker(
                Worker, self._job, name, dict(self._desks), self._treasury
            )
            # Not by Ray's runtime environment, which Ray writes to its logs.
            self.starting[actor.hello.remote(dict(self._environment))] = (name, actor)

    def take_on(self, started: Any) -> Hand | None:
        """The worker that a call of `starting` says is up; None where it died first.

        Raises:
            ConfigError: it has another version of this package.
        """
        name, actor = self.starting.pop(started)
        try:
            hello = self._cluster.get(started)
        except self._cluster.lost_errors:
            return None
        if hello.version != __version__:
            raise ConfigError(
                f"stillhouse is {hello.version} on {hello.host} and {__version__} here. Install "
                "the same version on all machines."
            )
        hand = Hand(name, actor, Node(hello.node, hello.host), hello.folder)
        self.hands.append(hand)
        return hand

    def check(self) -> None:
        """Refuse to wait any longer for a first worker.

        Raises:
            ConfigError: there is none.
        """
        if not self.hands and time.monotonic() > self._give_up_s:
            cpus = self._job.config.ray.cpus_per_worker
            raise ConfigError(
                f"The Ray cluster has had no room for a worker with {cpus:g} CPUs for "
                f"{_START_WITHIN_S:.0f} s. Lower ray.cpus_per_worker, or add machines."
            )

    def dismiss(self) -> None:
        """End all workers."""
        for actor in [hand.actor for hand in self.hands] + [
            one for _, one in self.starting.values()
        ]:
            self._cluster.end(actor)
        self.hands.clear()
        self.starting.clear()
