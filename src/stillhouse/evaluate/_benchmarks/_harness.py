"""Run lm-evaluation-harness on one model and keep what it logged of each item."""

import contextlib
import importlib.metadata
import io
import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from stillhouse.errors import ConfigError, MissingDependencyError, StillhouseError
from stillhouse.evaluate._benchmarks._config import BenchmarksConfig
from stillhouse.evaluate._benchmarks._results import BenchmarkRow
from stillhouse.evaluate._benchmarks._rows import MetricFacts, rows_of_task

if TYPE_CHECKING:
    from stillhouse.evaluate._benchmarks._adapter import HarnessModel


class Logged(NamedTuple):
    """What a run of one model left.

    Attributes:
        rows: One for each item, filter and metric.
        facts: What their metrics are.
        not_scored: `task: metric` of what has no score of single items.
    """

    rows: list[BenchmarkRow]
    facts: tuple[MetricFacts, ...]
    not_scored: tuple[str, ...]


def harness_version() -> str:
    """The version of the harness that is installed.

    Raises:
        MissingDependencyError: none is.
    """
    try:
        return importlib.metadata.version("lm_eval")
    except importlib.metadata.PackageNotFoundError as err:
        raise MissingDependencyError(
            "Standard benchmarks need lm-evaluation-harness. Run: pip install 'stillhouse[lmeval]'"
        ) from err


def run_harness(
    adapter: "HarnessModel", *, name: str, config: BenchmarksConfig, include: Path | None
) -> Logged:
    """Ask a model all items of the configured tasks.

    Raises:
        ConfigError: a task is unknown or cannot be loaded, or asks for what stillhouse cannot do.
        DataError: an item cannot be asked.
    """
    from lm_eval.evaluator import evaluate

    with _seeded(config.seed), _quiet_harness(), _harness_errors(config.tasks):
        loaded = _manager(config.tasks, include).load(list(config.tasks))
        for task in loaded["tasks"].values():
            _prepare(task, config)
        results = evaluate(
            lm=adapter,
            task_dict=loaded,
            limit=config.max_items,
            apply_chat_template=config.is_chat,
            fewshot_as_multiturn=config.is_chat,
            bootstrap_iters=0,  # its intervals are not used
            log_samples=True,
        )
    return _logged(results, name=name, clusters=config.clusters)


def _manager(tasks: Sequence[str], include: Path | None) -> Any:
    """The tasks that are known: those of a folder alone where it holds all that is asked for.

    The harness brings more than ten thousand files, and reads them all to know their names.
    """
    from lm_eval.tasks import TaskManager

    if include is not None:
        own = TaskManager(include_path=str(include), include_defaults=False)
        if set(tasks) <= set(own.all_tasks):
            return own
    manager = TaskManager(include_path=str(include) if include else None)
    if unknown := sorted(set(tasks) - set(manager.all_tasks)):
        raise ConfigError(
            f"There is no task {unknown[0]!r} in lm-evaluation-harness"
            f"{f' or in {include}' if include else ''}. `lm-eval ls tasks` lists those it has."
        )
    return manager


def _prepare(task: Any, config: BenchmarksConfig) -> None:
    own = task.get_config("num_fewshot")
    # A task that says 0 is one whose items hold their examples already.
    if own is None or (config.num_fewshot is not None and own != 0):
        task.set_config(key="num_fewshot", value=config.num_fewshot or 0)
    task.set_fewshot_seed(seed=config.seed)


def _logged(results: Mapping[str, Any], *, name: str, clusters: Mapping[str, str]) -> Logged:
    rows: list[BenchmarkRow] = []
    facts: list[MetricFacts] = []
    not_scored: list[str] = []
    if unknown := sorted(set(clusters) - set(results["samples"])):
        raise ConfigError(
            f"clusters names {unknown[0]}, but the tasks are "
            f"{', '.join(sorted(results['samples']))}. Name one of them."
        )
    for task, samples in sorted(results["samples"].items()):
        found, without = rows_of_task(task, samples, model=name, cluster_column=clusters.get(task))
        rows += found
        not_scored += [f"{task}: {metric}" for metric in sorted(without)]
        facts += _facts(task, found, results)
    return Logged(rows, tuple(facts), tuple(not_scored))


def _facts(
    task: str, rows: Sequence[BenchmarkRow], results: Mapping[str, Any]
) -> list[MetricFacts]:
    better = results["higher_is_better"].get(task, {})
    # In the order in which the task names them: the first is what it is known for.
    keys = dict.fromkeys((row.filter, row.metric) for row in rows)
    return [
        MetricFacts(
            task=task,
            version=str(results["versions"].get(task)),
            metric=metric,
            filter=filter_name,
            is_main=place == 0,
            is_higher_better=better.get(metric) is not False,
            num_fewshot=int(results["n-shot"].get(task) or 0),
        )
        for place, (filter_name, metric) in enumerate(keys)
    ]


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Tasks draw from the global generators: seed them, and put them back afterwards."""
    kept = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])
        torch.set_rng_state(kept[2])


@contextlib.contextmanager
def _quiet_harness() -> Iterator[None]:
    """Keep the harness off the terminal: what it logs goes to handlers that somebody set up.

    It draws a bar of its own over the items of each task, which no setting leaves out; the name
    that it calls for one is ours meanwhile. What it prints would end up in a `--json` document.
    """
    import datasets
    from lm_eval.api import task as module

    handler, logger = logging.NullHandler(), logging.getLogger("lm_eval")
    bar, has_bars = module.tqdm, not datasets.are_progress_bars_disabled()
    logger.addHandler(handler)
    module.tqdm = lambda items, **_: items
    datasets.disable_progress_bars()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        if has_bars:
            datasets.enable_progress_bars()
        module.tqdm = bar
        logger.removeHandler(handler)


@contextlib.contextmanager
def _harness_errors(tasks: Sequence[str]) -> Iterator[None]:
    try:
        yield
    except StillhouseError:
        raise
    except Exception as err:  # a task is a file of its author, and fails in its own ways
        reason = str(err).strip().split("\n")[0][:300]
        raise ConfigError(
            f"lm-evaluation-harness cannot run {', '.join(tasks)} ({type(err).__name__}: {reason})."
            " Check the task's file; one whose data are on a hub needs a connection."
        ) from err
