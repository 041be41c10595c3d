"""One command per stage: the stage's function, with its settings as flags."""

import os
import shlex
from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillhouse.cli._collection import named_teachers, outcomes_text
from stillhouse.cli._options import (
    ForceOption,
    JsonOption,
    MaxTokensOption,
    OutOption,
    PromptsArgument,
    QuietOption,
    SamplesOption,
    SetOption,
    TaskOption,
    TeacherOption,
    TeachersOption,
    TermsOption,
)
from stillhouse.cli._output import Output, artifact_document, artifact_text
from stillhouse.cli._settings import stage_settings
from stillhouse.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from stillhouse.artifacts import Artifact
    from stillhouse.runlog import Listener

DatasetArgument = Annotated[
    Path, typer.Argument(metavar="DATASET", help="Folder that curate wrote.")
]


BudgetOption = Annotated[
    float | None, typer.Option(metavar="USD", help="The most that it may cost.")
]


class Tier(StrEnum):
    """How an API teacher is asked."""

    standard = "standard"
    batch = "batch"
    auto = "auto"


class Engine(StrEnum):
    """What does the work."""

    local = "local"
    ray = "ray"


def collect(
    prompts: PromptsArgument,
    teacher: TeachersOption = None,
    out: OutOption = Path("completions"),
    task: TaskOption = None,
    ledger: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Record of requests.  [default: beside --out]"),
    ] = None,
    temperature: Annotated[float | None, typer.Option(help="Of the sampling; 0 is greedy.")] = None,
    max_tokens: MaxTokensOption = None,
    top_logprobs: Annotated[
        int | None, typer.Option(help="Largest log-probabilities to keep of each token.")
    ] = None,
    samples: SamplesOption = None,
    tier: Annotated[
        Tier | None, typer.Option(help="batch takes up to a day and costs half; see docs/batch.md.")
    ] = None,
    budget: BudgetOption = None,
    rpm: Annotated[int | None, typer.Option(help="Requests per minute at most.")] = None,
    tpm: Annotated[int | None, typer.Option(help="Tokens per minute at most.")] = None,
    concurrency: Annotated[int | None, typer.Option(help="Requests under way at once.")] = None,
    engine: Annotated[
        Engine | None, typer.Option(help="ray asks from workers on a cluster; see docs/ray.md.")
    ] = None,
    terms: TermsOption = None,
    settings: SetOption = None,
    force: ForceOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Ask teachers every prompt and keep the completions.

    Every request and answer goes through the ledger, so that a stopped collection asks for no
    recorded answer again. A prompt with `teacher: NAME` goes to that teacher only. With --task,
    PROMPTS holds the inputs of the task, which makes prompts of them.
    """
    from stillhouse.collect import CollectConfig
    from stillhouse.collect import collect as stage
    from stillhouse.tasks import read_task, read_task_prompts

    flags = {
        "sampling.temperature": temperature,
        "sampling.max_tokens": max_tokens,
        "sampling.top_logprobs": top_logprobs,
        "samples_per_prompt": samples,
        "access.tier": tier.value if tier else None,
        "access.budget_usd": budget,
        "access.requests_per_minute": rpm,
        "access.tokens_per_minute": tpm,
        "access.concurrency": concurrency,
        "engine": engine.value if engine else None,
        "terms": str(terms) if terms else None,
    }
    asked = list(read_task_prompts(prompts, read_task(task))) if task else prompts
    run_stage(
        partial(stage, asked, out, teacher=named_teachers(teacher), ledger=ledger),
        CollectConfig,
        stage_settings(flags, settings),
        Output(is_json=json, is_quiet=quiet),
        force=force,
        then=f"stillhouse curate {out}" + (f" --task {task}" if task else ""),
        describe=outcomes_text,
    )


def curate(
    completions: Annotated[
        Path, typer.Argument(metavar="COMPLETIONS", help="Folder that collect wrote.")
    ],
    out: OutOption = Path("dataset"),
    task: TaskOption = None,
    settings: SetOption = None,
    force: ForceOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Turn completions into a dataset.

    What is dropped is counted by reason. Held-out rows are kept unless they are empty or equal,
    so that no filter flatters the student. With --task, answers are read as what the task asks for.
    """
    from stillhouse.curate import CurateConfig
    from stillhouse.curate import curate as stage
    from stillhouse.tasks import read_task

    run_stage(
        partial(stage, completions, out, task=read_task(task) if task else None),
        CurateConfig,
        stage_settings({}, settings),
        Output(is_json=json, is_quiet=quiet),
        force=force,
        then=f"stillhouse fit {out}"
        if task
        else f"stillhouse capture {out} --completions {completions}",
    )


def capture(
    dataset: DatasetArgument,
    teacher: TeacherOption = "local:",
    out: OutOption = Path("signal"),
    completions: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Take distributions that collect kept from here."),
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(help="Log-probabilities to keep of each token.")
    ] = None,
    settings: SetOption = None,
    force: ForceOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Keep the teacher's distributions on a dataset.

    At each token: its largest log-probabilities and the mass outside them. `train` learns from
    them with the objective forward_kl.
    """
    from stillhouse.collect import CaptureConfig
    from stillhouse.collect import capture as stage

    run_stage(
        partial(stage, dataset, out, teacher=teacher, completions=completions),
        CaptureConfig,
        stage_settings({"top_k": top_k}, settings),
        Output(is_json=json, is_quiet=quiet),
        force=force,
        then=f"stillhouse train {dataset} --signal {out}",
    )


def train(
    dataset: DatasetArgument,
    out: OutOption = Path("student"),
    signal: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder that capture wrote; sft needs none.")
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="sft, forward_kl, reverse_kl ...; docs/objectives.md."),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="dataset, rollouts, mixed or speculative."),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Ask it in every step, instead of reading --signal."),
    ] = None,
    base: Annotated[
        str | None, typer.Option(metavar="MODEL", help="What the student is cut from.")
    ] = None,
    layers: Annotated[int | None, typer.Option(help="Layers of the base that it keeps.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the dataset.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="At its highest.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Examples per step.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the order of the examples.")] = None,
    engine: Annotated[
        Engine | None, typer.Option(help="ray trains on a cluster; see docs/training.md.")
    ] = None,
    track: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Send metrics to trackio, wandb or tensorboard too."),
    ] = None,
    terms: TermsOption = None,
    settings: SetOption = None,
    force: ForceOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train a student on a dataset.

    A stopped training goes on from its last checkpoint, to the same bits.
    """
    from stillhouse.train import TrainConfig
    from stillhouse.train import train as stage

    flags = {
        "objective": objective,
        "source": source,
        "live.teachers.teacher": teacher,
        "base": base,
        "keep_layers": layers,
        "epochs": epochs,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "seed": seed,
        "engine": engine.value if engine else None,
        "terms": str(terms) if terms else None,
    }
    # Of several processes that torchrun started, the first one speaks.
    is_heard = int(os.environ.get("RANK", "0")) == 0
    run_stage(
        _tracked(partial(stage, dataset, out, signal=signal), track if is_heard else None, out),
        TrainConfig,
        stage_settings(flags, settings),
        Output(is_json=json and is_heard, is_quiet=quiet or not is_heard),
        force=force,
        then=f"stillhouse evaluate {dataset} {out}",
    )


def evaluate(
    dataset: DatasetArgument,
    students: Annotated[
        list[str],
        typer.Argument(metavar="[NAME=]STUDENT...", help="Folders that train wrote."),
    ],
    teacher: TeacherOption = "local:",
    out: OutOption = Path("evaluation"),
    title: Annotated[str, typer.Option(help="Of the report.")] = "Student and teacher",
    service_log: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Of a task: log of serve, which the report tells about."),
    ] = None,
    settings: SetOption = None,
    force: ForceOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure students against their teacher.

    On held-out prompts, with intervals; writes results.json and report.html. Where the dataset was
    curated with a task, its answers are what is compared, and no teacher is asked.
    """
    words = ["stillhouse", "evaluate", str(dataset), *students, "--teacher", teacher]
    words += ["--out", str(out), "--title", title]
    words += ["--service-log", str(service_log)] if service_log is not None else []
    words += [word for assignment in settings or () for word in ("--set", assignment)]
    named = _named_students(students)
    stage, config_type = _measuring(dataset, teacher, service_log)
    run_stage(
        partial(
            stage,
            dataset,
            out,
            students=named,
            title=title,
            command=shlex.join(words),
        ),
        config_type,
        stage_settings({}, settings),
        Output(is_json=json, is_quiet=quiet),
        force=force,
        then=f"open {out / 'report.html'} in a browser",
    )


def _measuring(
    dataset: Path, teacher: str, service_log: Path | None
) -> "tuple[Callable[..., Artifact], type[BaseModel]]":
    """The stage that suits the dataset, and its settings: answers to a task, or distributions."""
    from stillhouse.artifacts import open_artifact

    if "task" in open_artifact(dataset, kind="dataset").manifest.results:
        from stillhouse.evaluate import TaskEvaluateConfig, evaluate_task

        return partial(evaluate_task, service_log=service_log), TaskEvaluateConfig
    if service_log is not None:
        raise ConfigError(
            f"{dataset} was curated without a task, and only the report on one tells about a log. "
            f"Leave --service-log out, and run: stillhouse served {service_log}"
        )
    from stillhouse.evaluate import EvaluateConfig
    from stillhouse.evaluate import evaluate as stage

    return partial(stage, teacher=teacher), EvaluateConfig


def run_stage(
    stage: "Callable[..., Artifact]",
    config_type: "type[BaseModel]",
    given: dict[str, Any],
    output: Output,
    *,
    force: bool,
    then: str,
    describe: "Callable[[Artifact], str]" = artifact_text,
) -> None:
    from stillhouse.settings import check_settings

    config = check_settings(config_type, given, where="settings")
    with output.progress() as listener:
        artifact = stage(config=config, config_given=given, replace=force, on_progress=listener)
    output.result(artifact_document(artifact), describe(artifact))
    output.say(f"next: {then}")


def _tracked(
    stage: "Callable[..., Artifact]", tracker: str | None, out: Path
) -> "Callable[..., Artifact]":
    """The stage with its metrics sent to a tracker too, if one is named."""
    if tracker is None:
        return stage

    def run(*, on_progress: "Listener", **rest: Any) -> "Artifact":
        from stillhouse.runlog import joined_listeners, open_tracker

        with open_tracker(tracker, run=out.resolve().name, folder=out.parent / "runs") as listener:
            return stage(on_progress=joined_listeners(on_progress, listener), **rest)

    return run


def _named_students(given: Sequence[str]) -> dict[str, Path]:
    """Folders by student name; the folder's own name where none is given."""
    students: dict[str, Path] = {}
    for text in given:
        name, equals, folder = text.partition("=")
        path = Path(folder if equals and not Path(text).exists() else text)
        name = name if path != Path(text) else path.resolve().name
        if name in students:
            raise ConfigError(f"Two students are called {name!r}. Name them: NAME=DIR.")
        students[name] = path
    return students
