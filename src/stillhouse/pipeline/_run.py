"""Run the stages one after the other; what has not changed is not done again."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from stillhouse.artifacts import Artifact
from stillhouse.collect import read_prompts
from stillhouse.errors import ConfigError
from stillhouse.pipeline._config import RunConfig
from stillhouse.pipeline._steps import StageEnd, StageListener, Step, ignore_stages, take
from stillhouse.pipeline._terms import terms_of_config
from stillhouse.provenance import terms_given
from stillhouse.records import Prompt
from stillhouse.runlog import Listener, ignore_progress
from stillhouse.teachers import check_has_weights
from stillhouse.terms import check_allowed
from stillhouse.train import TrainConfig

LEDGER_NAME = "ledger.sqlite"
REPORT_NAME = "report.html"
RESULTS_NAME = "results.json"
_EVALUATION = "evaluation"


@dataclass(frozen=True)
class RunOutcome:
    """What a run left.

    Attributes:
        artifacts: By stage name, in the order of the stages.
        skipped: Names of the stages that were complete already.
        seconds: How long the run took this time.
        report_path: The report, an HTML file.
        results_path: What was measured, a JSON file.
    """

    artifacts: dict[str, Artifact]
    skipped: tuple[str, ...]
    seconds: float
    report_path: Path
    results_path: Path


def run(
    config: RunConfig,
    out: Path,
    *,
    config_dir: Path,
    command: str = "stillhouse run",
    on_progress: Listener = ignore_progress,
    on_stage: StageListener = ignore_stages,
) -> RunOutcome:
    """Run every stage of `config` into folders under `out`.

    Stages whose inputs have not changed are skipped; an earlier output of other inputs is
    replaced. Answers stay in `out/ledger.sqlite`, so nothing is asked or paid twice.

    Args:
        config: The run.
        out: Gets `completions`, `dataset`, `signal`, `students/NAME` and `evaluation`.
        config_dir: What the path of the prompts is relative to.
        command: What the report says reproduces it.
        on_progress: Told where a stage stands.
        on_stage: Told about each stage that is complete.

    Raises:
        LogprobsUnavailableError: the teacher only answers in text, which `evaluate` could not
            measure against.
        TermsError: the terms of teacher and bases together are not known to allow it.
        StillhouseError: whatever a stage raises; complete stages stay complete.
    """
    check_has_weights(config.teacher)
    config = _with_terms(config, config_dir)
    started_s = time.monotonic()
    ends: list[StageEnd] = []
    prompts = _chosen_prompts(config, config_dir)
    for step in _steps(config, out, prompts, command):
        ends.append(take(step, on_progress))
        on_stage(ends[-1])
    return RunOutcome(
        artifacts={end.name: end.artifact for end in ends},
        skipped=tuple(end.name for end in ends if end.is_skipped),
        seconds=time.monotonic() - started_s,
        report_path=out / _EVALUATION / REPORT_NAME,
        results_path=out / _EVALUATION / RESULTS_NAME,
    )


def _with_terms(config: RunConfig, config_dir: Path) -> RunConfig:
    """The same with the declaration in every stage, if terms allow the whole of it."""
    terms = terms_given(config_dir / config.terms if config.terms is not None else None)
    check_allowed(terms_of_config(config, config_dir, terms), terms)
    if config.terms is None:
        return config
    named = {"terms": str(config_dir / config.terms)}
    students = {
        name: one if one.terms else one.model_copy(update=named)
        for name, one in config.students.items()
    }
    collect = config.collect if config.collect.terms else config.collect.model_copy(update=named)
    return config.model_copy(update={"students": students, "collect": collect})


def _steps(config: RunConfig, out: Path, prompts: list[Prompt], command: str) -> Iterator[Step]:
    # Imported here, each when its turn comes: some of them load torch, which takes seconds.
    from stillhouse.collect import collect
    from stillhouse.curate import curate

    completions, dataset = out / "completions", out / "dataset"
    ask = partial(collect, prompts, completions, teacher=config.teacher, ledger=out / LEDGER_NAME)
    yield Step("collect", completions, config.collect, ask)
    yield Step("curate", dataset, config.curate, partial(curate, completions, dataset))
    yield from _learning_steps(config, out)

    from stillhouse.evaluate import evaluate

    measure = partial(
        evaluate,
        dataset,
        out / _EVALUATION,
        teacher=config.teacher,
        students={name: _student_dir(out, name) for name in config.students},
        title=config.title,
        command=command,
    )
    yield Step("evaluate", out / _EVALUATION, config.evaluate, measure)


def _learning_steps(config: RunConfig, out: Path) -> Iterator[Step]:
    from stillhouse.collect import capture
    from stillhouse.train import train

    completions, dataset, signal = out / "completions", out / "dataset", out / "signal"
    if any(_needs_signal(settings) for settings in config.students.values()):
        keep = partial(capture, dataset, signal, teacher=config.teacher, completions=completions)
        yield Step("capture", signal, config.capture, keep)
    for name, settings in config.students.items():
        folder = _student_dir(out, name)
        learn = partial(train, dataset, folder, signal=signal if _needs_signal(settings) else None)
        yield Step(f"train {name}", folder, settings, learn)


def _needs_signal(settings: TrainConfig) -> bool:
    return settings.guide == "signal"


def _student_dir(out: Path, name: str) -> Path:
    return out / "students" / name


def _chosen_prompts(config: RunConfig, config_dir: Path) -> list[Prompt]:
    prompts = read_prompts(config_dir / config.prompts)
    limits = {"train": config.max_train_prompts, "held_out": config.max_held_out_prompts}
    chosen: list[Prompt] = []
    for split, limit in limits.items():
        found = [prompt for prompt in prompts if prompt.split == split]
        if not found:
            raise ConfigError(
                f"{config.prompts} has no {split} prompts; a run trains on one split and measures "
                "on the other. Set 'split' to train or held_out in its rows."
            )
        chosen.extend(found[:limit])
    return chosen
