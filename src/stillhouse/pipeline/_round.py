"""The next round: what teachers answered while a student served makes its successor."""

import time
from functools import partial
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from stillhouse.artifacts import Artifact
from stillhouse.errors import ConfigError
from stillhouse.pipeline._round_config import RoundConfig
from stillhouse.pipeline._round_join import JoinConfig, join
from stillhouse.pipeline._run import REPORT_NAME, RESULTS_NAME, RunOutcome
from stillhouse.pipeline._steps import StageListener, StepByStep, ignore_stages
from stillhouse.provenance import lineage
from stillhouse.runlog import Listener, ignore_progress
from stillhouse.tasks import task_of

Settings = TypeVar("Settings", bound=BaseModel)

_IMPORTED, _COMPLETIONS, _DATASET = "served", "completions", "dataset"
_STUDENT, _EVALUATION = "student", "evaluation"


def next_round(
    log: Path,
    out: Path,
    *,
    config: RoundConfig,
    config_dir: Path,
    command: str = "stillhouse run --from-serve-log",
    on_progress: Listener = ignore_progress,
    on_stage: StageListener = ignore_stages,
) -> RunOutcome:
    """Make the next student of a task from what its teacher answered while one served.

    Fallbacks and audits become completions, beside those that the served student was made from.
    Audited prompts are held out: they are drawn at random from all requests. Stages whose inputs
    have not changed are skipped.

    Args:
        log: Folder of a log that serve wrote.
        out: Gets `served`, `completions`, `dataset`, `student` and `evaluation`.
        config: The round.
        config_dir: What the path of the served folder is relative to.
        command: What the report says reproduces it.
        on_progress: Told where a stage stands.
        on_stage: Told about each stage that is complete.

    Raises:
        ConfigError: what was served is no student of a task, or the log's folder is none.
        StillhouseError: whatever a stage raises; complete stages stay complete.
    """
    started_s = time.monotonic()
    run = _Round(_Served(config_dir / config.served), out, config, command, on_progress, on_stage)
    run.answers(log)
    run.make()
    evaluation = run.judge(log)
    return RunOutcome(
        artifacts={end.name: end.artifact for end in run.ends},
        skipped=tuple(end.name for end in run.ends if end.is_skipped),
        seconds=time.monotonic() - started_s,
        report_path=evaluation.path / REPORT_NAME,
        results_path=evaluation.path / RESULTS_NAME,
    )


class _Served:
    """What was served, and what it was made from."""

    def __init__(self, folder: Path) -> None:
        if not (folder / "manifest.json").is_file():
            raise ConfigError(
                f"{folder} holds no manifest.json. Set 'served' to the folder that was served, "
                "which fit, train or certify wrote; it is relative to the config."
            )
        self.student = _last(folder, "classifier", "student")
        self.dataset = _last(self.student.path, "dataset")
        self.task = task_of(self.dataset.manifest.results)

    def completions(self) -> Artifact:
        """What its teacher had answered before it was made."""
        return _last(self.dataset.path, "completions")


def _last(folder: Path, *kinds: str) -> Artifact:
    """What an artefact was made from, of these kinds; the nearest, itself included.

    Raises:
        ConfigError: it was made from none.
    """
    nodes = lineage(folder).nodes  # parents first
    for node in reversed(nodes):
        if node.manifest.kind in kinds:
            return node
    raise ConfigError(
        f"{folder} was made from no {' or '.join(kinds)}. Set 'served' to what fit, train or "
        "certify wrote; where earlier answers are gone, set joins_earlier to false."
    )


class _Round(StepByStep):
    """One round, stage by stage."""

    def __init__(
        self,
        served: _Served,
        out: Path,
        config: RoundConfig,
        command: str,
        on_progress: Listener,
        on_stage: StageListener,
    ) -> None:
        super().__init__(on_progress, on_stage)
        self._served = served
        self._out = out
        self._config = config
        self._command = command

    def answers(self, log: Path) -> None:
        """What teachers answered, in service and before, curated."""
        from stillhouse.collect import import_completions
        from stillhouse.curate import curate

        imported, joined, dataset = (
            self._out / name for name in (_IMPORTED, _COMPLETIONS, _DATASET)
        )
        settings = self._config.import_.model_copy(update={"format": "serve-log"})
        stage = partial(import_completions, log, imported)
        completions = self.take("import", imported, settings, stage)
        if self._config.joins_earlier:
            collections = [self._served.completions(), completions]
            completions = self.take(
                "join", joined, JoinConfig(), partial(join, collections, joined)
            )
        stage = partial(curate, completions.path, dataset, task=self._served.task)
        self.take("curate", dataset, self._config.curate, stage)

    def make(self) -> None:
        """The student."""
        folder, dataset = self._out / _STUDENT, self._out / _DATASET
        served = self._served.student
        if served.manifest.kind == "student":
            from stillhouse.train import TrainConfig, train

            given = self._config.train or _as_before(served, TrainConfig)
            if given.guide != "text":
                raise ConfigError(
                    f"{served.path} learnt by {given.objective}, from more than texts, and a log "
                    "holds texts. Set 'train' of the round to an objective such as sft."
                )
            self.take("train", folder, given, partial(train, dataset, folder))
            return
        from stillhouse.fit import FitConfig, fit

        settings = self._config.fit or _as_before(served, FitConfig)
        self.take("fit", folder, settings, partial(fit, dataset, folder))

    def judge(self, log: Path) -> Artifact:
        """The student on what was held out, beside how the one before did in service."""
        from stillhouse.evaluate import evaluate_task

        folder = self._out / _EVALUATION
        stage = partial(
            evaluate_task,
            self._out / _DATASET,
            folder,
            students={_STUDENT: self._out / _STUDENT},
            title=self._config.title,
            command=self._command,
            service_log=log,
        )
        return self.take("evaluate", folder, self._config.evaluate, stage)


def _as_before(student: Artifact, settings: type[Settings]) -> Settings:
    """The settings that the served student was made with."""
    known = settings.model_fields
    given = {name: value for name, value in student.manifest.config.items() if name in known}
    return settings.model_validate(given)
