"""A worker: asks the shards that it is handed, through ledgers of its own.

Its actor answers questions on one thread while the other, which the ledger and the teachers
belong to, asks. What asks is what asks in a run on one machine: `Run` over an `Asking` for each
teacher.
"""

import asyncio
import os
import platform
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillhouse import __version__
from stillhouse.collect._asking import Asking
from stillhouse.collect._config import CollectConfig
from stillhouse.collect._purse import FixedPurse, Purse
from stillhouse.collect._ray._gate_desk import Exchange
from stillhouse.collect._ray._leased_purse import LeasedPurse
from stillhouse.collect._ray._remote_gate import RemoteGate
from stillhouse.collect._ray._shards import RestOfShare, Shard
from stillhouse.collect._ray._treasury import Lease
from stillhouse.collect._run import Run
from stillhouse.collect._shares import Share, open_shares
from stillhouse.collect._source import PromptSource
from stillhouse.collect._tally import Tally
from stillhouse.errors import StillhouseError, TeacherUnavailableError
from stillhouse.records import ItemError
from stillhouse.runlog import Ledger, LedgerTotals, Progress
from stillhouse.teachers._gate import CallGate

_ANSWER_WITHIN_S = 60.0  # of the treasury: it does nothing that takes time


@dataclass(frozen=True)
class Job:
    """What all workers of a run are told.

    Attributes:
        run: Names the run, for file names.
        teacher: Specs, as given to `collect`.
        config: Settings; what counts failures or time is the driver's.
        folders: Where a ledger may be: the first of which the parent exists is taken.
        cwd: What relative paths in specs and settings are of, where a machine has it.
        num_workers: How many share the limits.
    """

    run: str
    teacher: str | Mapping[str, str]
    config: CollectConfig
    folders: tuple[Path, ...]
    cwd: Path
    num_workers: int


@dataclass(frozen=True)
class Hello:
    """What a worker says of itself.

    Attributes:
        node: Of Ray, by its id.
        host: Its name, for people.
        folder: Where its ledgers are, on that node.
        version: Of this package.
    """

    node: str
    host: str
    folder: Path
    version: str


@dataclass(frozen=True)
class Outcome:
    """What came of a shard.

    Attributes:
        num_settled: Requests that are answered or given up.
        failures: By the teacher's name, why requests were given up.
        metrics: What a display shows, as at the shard's end.
        error: Why the shard was not finished.
    """

    num_settled: int
    failures: Mapping[str, Mapping[str, ItemError]]
    metrics: Mapping[str, float]
    error: StillhouseError | None = None


class Worker:
    """Asks shards, one at a time, each through a ledger file of its own.

    A shard's ledger is closed with it and can be merged while the next shard is asked: what is lost
    with a machine is one shard.

    Args:
        job: What all are told.
        name: Its own.
        desks: Actors with a `GateDesk`, by the teacher's id.
        treasury: Actor with the `Treasury`; None without a budget.
    """

    def __init__(self, job: Job, name: str, desks: Mapping[str, Any], treasury: Any) -> None:
        self._job = job
        self._name = name
        self._desks = desks
        self._treasury = treasury
        if job.cwd.is_dir():
            os.chdir(job.cwd)
        folders = [folder.expanduser() for folder in job.folders]
        self._folder = next((one for one in folders if one.parent.is_dir()), folders[-1])
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="stillhouse-ask")
        self._stack = ExitStack()  # never closed: the process is ended with its actor
        self._shares: list[Share] = []
        self._run: Run | None = None
        self._progress: Progress | None = None
        self._is_over = threading.Event()

    async def hello(self, environment: Mapping[str, str]) -> Hello:
        """Take what is lacking in the environment (keys), and say who this is."""
        import ray

        for name, value in environment.items():
            os.environ.setdefault(name, value)
        node = ray.get_runtime_context().get_node_id()
        return Hello(node, platform.node(), self._folder, __version__)

    async def ask(self, shard: Shard, account: str, stop_after_s: float | None) -> Outcome:
        """Have every request of a shard answered or given up.

        Args:
            shard: What to ask.
            account: Names this turn: its ledger, and what it may spend.
            stop_after_s: Nothing is sent after so many seconds.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._ask, shard, account, stop_after_s)

    async def progress(self) -> Progress | None:
        """Where the shard stands that is being asked."""
        return self._progress

    async def stop(self) -> None:
        """Send nothing more; what is under way is waited for."""
        self._is_over.set()
        if self._run is not None:
            self._run.stop()

    def _ask(self, shard: Shard, account: str, stop_after_s: float | None) -> Outcome:
        askings: list[Asking] = []
        error: StillhouseError | None = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with Ledger(ledger_path(self._folder, self._job.run, account)) as ledger:
                self._ask_through(ledger, shard, account, stop_after_s, askings)
        except StillhouseError as err:
            error = err
        progress, self._progress = self._progress, None
        return Outcome(
            sum(asking.num_settled for asking in askings),
            {asking.share.name: asking.failures for asking in askings},
            progress.metrics if progress else {},
            error,
        )

    def _ask_through(
        self,
        ledger: Ledger,
        shard: Shard,
        account: str,
        stop_after_s: float | None,
        askings: list[Asking],
    ) -> None:
        """Ask a shard; `askings` gets those that do, which tell how far they came."""
        # Too many failures is what all shards have together: the driver counts.
        access = self._job.config.access.model_copy(update={"stop_after_s": stop_after_s})
        config = self._job.config.model_copy(update={"access": access, "max_failure_fraction": 1.0})
        purse = self._purse(ledger, account)
        source, tally = PromptSource(shard.prompts), Tally()
        survey = source.survey()
        askings += [
            Asking(
                RestOfShare(**vars(share), shard=shard),
                source,
                survey,
                ledger,
                tally,
                run_key=f"{self._job.run}.{account}.{share.name}",  # nobody goes on with it
                max_tries=config.access.max_tries,
                purse=purse,
            )
            for share in self._opened_shares()
        ]
        self._run = run = Run(askings, ledger, tally, None, config, purse)
        try:
            if self._is_over.is_set():
                run.stop()
            run.ask(self._take_progress)
        finally:
            self._run = None
            if isinstance(purse, LeasedPurse):
                purse.rest()

    def _opened_shares(self) -> list[Share]:
        """The teachers, opened with the first shard: their connections outlive it."""
        if not self._shares:
            gate_of = self._gate_of if self._desks else None
            self._shares = self._stack.enter_context(
                open_shares(
                    self._job.teacher,
                    self._job.config,
                    None,
                    gate_of=gate_of,
                    num_sharing=self._job.num_workers,
                )
            )
        return self._shares

    def _gate_of(self, teacher_id: str) -> CallGate:
        return remote_gate(self._desks[teacher_id], self._name)

    def _purse(self, ledger: Ledger, account: str) -> Purse:
        if self._treasury is None:
            return FixedPurse()
        return LeasedPurse(
            lambda *asked: self._lease(account, *asked),
            lambda: used_usd(ledger.totals()),
            self._is_over.is_set,
        )

    def _lease(self, account: str, want_usd: float, spent_usd: float, at_least_usd: float) -> Lease:
        import ray

        answer = self._treasury.lease.remote(account, want_usd, spent_usd, at_least_usd)
        return Lease(*ray.get(answer, timeout=_ANSWER_WITHIN_S))

    def _take_progress(self, progress: Progress) -> None:
        self._progress = progress


def ledger_path(folder: Path, run: str, account: str) -> Path:
    """Where the ledger of one shard is."""
    return folder / f"{run}.{account}.sqlite"


def remote_gate(desk: Any, name: str) -> CallGate:
    """The gate at an actor's desk, for the process called `name`."""
    from ray.exceptions import RayActorError

    async def carry(news: Exchange) -> list[int]:
        try:
            tickets: list[int] = await desk.exchange.remote(name, news)
        except RayActorError as err:
            raise TeacherUnavailableError(
                "The process that holds the provider's limits is gone. Run the same command again; "
                "what was answered is kept."
            ) from err
        return tickets

    return RemoteGate(carry)


def used_usd(totals: LedgerTotals) -> float:
    """What a ledger's calls cost, and may cost where that is not known."""
    return (totals.cost_usd or 0.0) + totals.unsettled_usd
