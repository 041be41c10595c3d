"""Run standard benchmarks on a student, and on its base to see what it forgot."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stillhouse.cli._options import ForceOption, JsonOption, OutOption, QuietOption, SetOption
from stillhouse.cli._output import Output, artifact_document, table_text
from stillhouse.cli._settings import stage_settings

if TYPE_CHECKING:
    from stillhouse.evaluate import BenchmarkResult, BenchmarkResults, Estimate


def benchmarks(
    student: Annotated[
        str, typer.Argument(metavar="STUDENT", help="Folder that train wrote, or any model.")
    ],
    tasks: Annotated[
        str,
        typer.Option(metavar="NAME,...", help="Tasks of lm-evaluation-harness, or of --include."),
    ],
    base: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Compare with it, item by item.")
    ] = None,
    include: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder with task files of your own.")
    ] = None,
    out: OutOption = Path("benchmarks"),
    fewshot: Annotated[
        int | None, typer.Option(help="Solved examples in front of each item.")
    ] = None,
    max_items: Annotated[int | None, typer.Option(help="Take the first so many of a task.")] = None,
    chat: Annotated[
        bool | None, typer.Option("--chat", help="Send items through the chat template.")
    ] = None,
    margin: Annotated[
        float | None, typer.Option(help="Loss against the base that is tolerated, such as 0.02.")
    ] = None,
    settings: SetOption = None,
    force: ForceOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Run standard benchmarks, and say what a student forgot.

    With lm-evaluation-harness (pip install 'stillhouse[lmeval]') on the model itself. Each figure
    comes with its interval; against --base, items are compared in pairs, with one verdict a task.
    """
    from stillhouse.evaluate import BenchmarksConfig, read_benchmark_results
    from stillhouse.evaluate import benchmarks as stage
    from stillhouse.settings import check_settings

    flags = {
        "tasks": [name.strip() for name in tasks.split(",") if name.strip()],
        "num_fewshot": fewshot,
        "max_items": max_items,
        "is_chat": chat,
        "margin": margin,
    }
    given = stage_settings(flags, settings)
    config = check_settings(BenchmarksConfig, given, where="settings")
    output = Output(is_json=json, is_quiet=quiet)
    with output.progress() as listener:
        artifact = stage(
            student,
            out,
            base=base,
            include=include,
            config=config,
            config_given=given,
            replace=force,
            on_progress=listener,
        )
    results = read_benchmark_results(artifact.file("results.json"))
    output.result(artifact_document(artifact), benchmarks_text(results))
    if base is None:
        output.say("next: add --base MODEL to see what the student forgot")


def benchmarks_text(results: "BenchmarkResults") -> str:
    """Figures by task and the verdict, for a terminal."""
    names = [model.name for model in results.models]
    header = ["task", "metric", *names, "n"]
    if results.base is not None:
        header += ["difference", "verdict"]
    lines = [table_text(header, [_row(task) for task in results.tasks]), "", results.verdict]
    lines += [
        f"note: {task.task} {task.metric}: {task.note}" for task in results.tasks if task.note
    ]
    lines += [
        f"note: no score of single items, so no interval: {one}" for one in results.not_scored
    ]
    lines += [
        f"note: {model.name}: {model.num_truncated:,} of {model.num_requests:,} requests were "
        "longer than its context and lost their beginning"
        for model in results.models
        if model.num_truncated
    ]
    return "\n".join(lines)


def _row(task: "BenchmarkResult") -> list[str]:
    metric = task.metric if task.filter == "none" else f"{task.metric} ({task.filter})"
    cells = [task.task, metric, _figure(task.student)]
    if task.base is not None:
        cells.append(_figure(task.base))
    cells.append(f"{task.student.n:,}")
    if task.base is not None:
        compared = task.comparison
        cells += [_figure(compared.difference), compared.verdict] if compared else ["-", "-"]
    return cells


def _figure(estimate: "Estimate") -> str:
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"
