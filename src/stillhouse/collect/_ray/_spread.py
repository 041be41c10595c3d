"""A collection on a cluster, from the connection to what is left for the driver to ask."""

import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stillhouse.artifacts import ArtifactWriter
from stillhouse.collect._config import STAGE, CollectConfig
from stillhouse.collect._purse import Purse, lost_usd, purse_of
from stillhouse.collect._ray._cluster import Cluster, import_ray
from stillhouse.collect._ray._crew import Crew
from stillhouse.collect._ray._drive import Drive
from stillhouse.collect._ray._gate_desk import GateDesk
from stillhouse.collect._ray._ledgers import WorkerLedgers
from stillhouse.collect._ray._shards import ShardMaker
from stillhouse.collect._ray._treasury import Treasury
from stillhouse.collect._ray._worker import Job, remote_gate, used_usd
from stillhouse.collect._shares import Share, open_shares
from stillhouse.collect._source import PromptSource
from stillhouse.collect._stopwatch import Stopwatch, open_stopwatch
from stillhouse.collect._survey import Survey
from stillhouse.errors import ConfigError
from stillhouse.records import ItemError, content_hash
from stillhouse.runlog import Ledger, Listener, Progress, Ticker
from stillhouse.teachers import Teacher

_DRIVER = "driver"
_ADDED = ("collect/completion_tokens", "collect/cost_usd", "collect/num_rate_limited")
_SHARD_SIZE = 2_000
_SHARDS_PER_WORKER = 4  # at least, so that none waits long for the last one


@dataclass(frozen=True)
class Spread:
    """What is to be spread over a cluster.

    Attributes:
        cluster: The machines.
        teacher: Specs, as given to `collect`.
        shares: The same, opened here.
        source: The prompts.
        survey: Of the prompts.
        ledger: Where everything ends up.
        config: How to collect.
    """

    cluster: Cluster
    teacher: str | Mapping[str, str]
    shares: Sequence[Share]
    source: PromptSource
    survey: Survey
    ledger: Ledger
    config: CollectConfig


@dataclass(frozen=True)
class Rest:
    """How the driver goes on, once the workers have done what they could.

    Attributes:
        shares: The teachers, at the gates where the workers waited.
        purse: What of the budget may be spent in the ledger.
        failures: By the teacher's name, requests that were tried in vain.
        stop_s: When the run's time is over, by `time.monotonic`.
        on_progress: Told how far the whole run is.
    """

    shares: Sequence[Share]
    purse: Purse
    failures: Mapping[str, Mapping[str, ItemError]]
    stop_s: float
    on_progress: Listener


def check_spreadable(
    teacher: str | Teacher | Mapping[str, str], config: CollectConfig
) -> str | Mapping[str, str]:
    """The specs that workers open their teachers by.

    Raises:
        ConfigError: the teacher is open already, or requests are to go in batches.
        MissingDependencyError: Ray is not installed.
    """
    if not isinstance(teacher, str | Mapping):
        raise ConfigError("engine=ray opens a teacher on every worker. Give a spec, not a teacher.")
    if config.access.prefers_batches:
        raise ConfigError(
            f"engine=ray and tier={config.access.tier} do not go together: the provider works "
            "off a batch, workers add nothing. Leave one of them out."
        )
    import_ray()
    return teacher


@contextmanager
def asked_on_cluster(
    spread: Spread, run_id: str, writer: ArtifactWriter, on_progress: Listener
) -> Iterator[Rest]:
    """Have the workers of a cluster ask; the limits go on to hold while the block runs.

    Args:
        spread: What is asked.
        run_id: Names the run in the files of workers.
        writer: Of the artefact, which keeps the time.
        on_progress: Told how far it is.

    Raises:
        ConfigError: the cluster has no room, or another version of this package.
        StillhouseError: as asking here would; what was answered is in the ledger.
    """
    config, cluster, began_s = spread.config, spread.cluster, time.monotonic()
    stop_s = began_s + (config.access.stop_after_s or float("inf"))
    with ExitStack() as stack:
        desks = _start_desks(cluster, spread.shares)  # first: they come up meanwhile
        ledgers = WorkerLedgers(spread.ledger, _folders(spread), run_id, cluster)
        ledgers.take_over_all()
        drive = _drive(spread, ledgers, desks)
        with open_stopwatch(writer) as stopwatch:
            metrics = _ask(spread, drive, stop_s, stopwatch, on_progress)
        shares = spread.shares
        if desks:
            gates = {id_: remote_gate(desk, _DRIVER) for id_, desk in desks.items()}
            shares = stack.enter_context(
                open_shares(spread.teacher, config, spread.ledger, gate_of=gates.__getitem__)
            )
        purse = purse_of(spread.ledger, config.access.budget_usd)
        rest = _second_pass(on_progress, metrics)
        yield Rest(shares, purse, drive.failures, stop_s, rest)


def _drive(spread: Spread, ledgers: WorkerLedgers, desks: Mapping[str, Any]) -> Drive:
    """What asks the workers; none is started yet."""
    config, cluster = spread.config, spread.cluster
    num_workers = config.ray.workers or max(1, len(cluster.nodes()))
    treasury = None
    if config.access.budget_usd is not None:
        spread.ledger.check_budget(config.access.budget_usd)
        spent_usd = used_usd(spread.ledger.totals()) + lost_usd(spread.ledger)
        treasury = cluster.start_here(Treasury, config.access.budget_usd, spent_usd=spent_usd)
    job = Job(ledgers.run, spread.teacher, config, _folders(spread), Path.cwd(), num_workers)
    crew = Crew(cluster, job, desks, treasury, _environment(spread))
    maker = ShardMaker(spread.shares, spread.ledger, may_repeat=bool(spread.survey.num_routed))
    return Drive(cluster, crew, ledgers, maker, desks, treasury, num_workers)


def _ask(
    spread: Spread, drive: Drive, stop_s: float, stopwatch: Stopwatch, on_progress: Listener
) -> Mapping[str, float]:
    """Have everything asked; the metrics at the end."""
    config, survey = spread.config, spread.survey
    num_requests = sum(share.num_requests(survey) for share in spread.shares)
    ticker = Ticker(on_progress, stage=STAGE, total=num_requests, unit="completions")
    shards = drive.maker.cut(spread.source, survey, _shard_size(config, survey, drive.num_workers))
    most_failures = config.max_failure_fraction * num_requests
    began_s, num_told = time.monotonic(), 0
    metrics: dict[str, float] = {}
    try:
        for _ in drive.ask(shards, most_failures=most_failures, stop_s=stop_s):
            stopwatch.lap()
            metrics = drive.board.metrics(time.monotonic() - began_s)
            metrics["collect/num_failed"] = drive.num_failures
            if config.access.budget_usd is not None:
                metrics["collect/budget_usd"] = config.access.budget_usd
            num_before, num_told = num_told, drive.board.num_done
            ticker.advance(num_told - num_before, metrics)
    finally:
        stopwatch.lap(at_least_s=0.0)
    return metrics


def _start_desks(cluster: Cluster, shares: Sequence[Share]) -> dict[str, Any]:
    """An actor with the gate of each teacher that has one."""
    from stillhouse.teachers._api import ApiTeacher
    from stillhouse.teachers._gate import gate_for

    return {
        share.teacher.info.id: cluster.start_here(GateDesk, gate_for(share.teacher.allowance))
        for share in shares
        if isinstance(share.teacher, ApiTeacher)
    }


def _shard_size(config: CollectConfig, survey: Survey, num_workers: int) -> int:
    if config.ray.shard_size is not None:
        return config.ray.shard_size
    even = -(-survey.num_prompts // (num_workers * _SHARDS_PER_WORKER))
    return min(_SHARD_SIZE, even)


def _folders(spread: Spread) -> tuple[Path, ...]:
    """Where ledgers of workers may be: the first whose parent a machine has."""
    ledger = spread.ledger.path.absolute()
    key = content_hash([platform.node(), str(ledger)])[:16]
    if spread.config.ray.folder is not None:
        return (Path(spread.config.ray.folder).absolute() / key,)
    return (
        ledger.with_name(f"{ledger.name}.workers"),
        Path("~/.cache/stillhouse/workers") / key,  # of the user there, who may have another home
    )


def _environment(spread: Spread) -> dict[str, str]:
    """The keys and addresses of the teachers, where they are to be sent."""
    from stillhouse.teachers._open_api import KEY_VARIABLE
    from stillhouse.teachers._providers import PROVIDERS

    if not spread.config.ray.sends_keys:
        return {}
    teacher = spread.teacher
    specs = [teacher] if isinstance(teacher, str) else list(teacher.values())
    names = {KEY_VARIABLE}
    for spec in specs:
        provider = PROVIDERS.get(spec.partition(":")[0])
        if provider is not None:
            names |= {provider.base_url_variable, provider.key_variable or KEY_VARIABLE}
    return {name: os.environ[name] for name in sorted(names) if name in os.environ}


def _second_pass(on_progress: Listener, first: Mapping[str, float]) -> Listener:
    """A listener for another pass over the same requests: it never goes back behind the first."""
    most = 0

    def tell(progress: Progress) -> None:
        nonlocal most
        if progress.done < most or not progress.metrics:
            return
        most = progress.done
        sums = {
            name: first.get(name, 0.0) + value
            for name, value in progress.metrics.items()
            if name in _ADDED
        }
        on_progress(replace(progress, metrics={**progress.metrics, **first, **sums}))

    return tell
