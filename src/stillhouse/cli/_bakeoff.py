"""`stillhouse bakeoff`: students of a task side by side."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillhouse.cli._options import JsonOption, QuietOption, SamplesOption, SetOption
from stillhouse.cli._output import Output, artifact_document, artifact_text, size_text, table_text
from stillhouse.cli._progress import duration_text
from stillhouse.cli._settings import stage_settings

if TYPE_CHECKING:
    from stillhouse.evaluate import TaskResults
    from stillhouse.pipeline import BakeoffOutcome, StageEnd

_UNKNOWN = "-"
_SEVERAL_SAMPLES_TEMPERATURE = 1.0


def bakeoff(
    task: Annotated[Path, typer.Argument(metavar="TASK", help="YAML of the task.")],
    inputs: Annotated[
        Path | None,
        typer.Argument(metavar="[INPUTS]", help="JSONL, CSV or Parquet with the task's inputs."),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(metavar="SPEC", help="Who answers, as for collect.  [default: local:]"),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write.")] = Path(
        "bakeoff"
    ),
    students: Annotated[
        str | None,
        typer.Option(
            metavar="LIST", help="Of ngram, embedding, encoder, lm.  [default: by the task's kind]"
        ),
    ] = None,
    completions: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="COMPLETIONS",
            help="Logged answers, in place of INPUTS and --teacher.",
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="RULE", help="all, or good-enough to stop early.  [default: all]"),
    ] = None,
    budget: Annotated[
        float | None, typer.Option(metavar="USD", help="The most that answers may cost.")
    ] = None,
    samples: SamplesOption = None,
    settings: SetOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Find the smallest student that is good enough for a task.

    Asks the teacher, makes each kind of student, cheapest first, and judges all of them on prompts
    that none has seen. Stages whose inputs have not changed are skipped, and a stopped bake-off
    goes on where it was.
    """
    from stillhouse.evaluate import read_task_results
    from stillhouse.pipeline import BakeoffConfig
    from stillhouse.pipeline import bakeoff as run_bakeoff
    from stillhouse.settings import check_settings
    from stillhouse.tasks import read_task

    flags = {
        "students": None if students is None else [one.strip() for one in students.split(",")],
        "until": until,
        "collect.access.budget_usd": budget,
        "collect.samples_per_prompt": samples,
        # Several greedy answers would be one answer several times.
        "collect.sampling.temperature": _temperature(samples, settings),
    }
    config = check_settings(BakeoffConfig, stage_settings(flags, settings), where="settings")
    output = Output(is_json=json, is_quiet=quiet)

    def tell(end: "StageEnd") -> None:
        unchanged = "unchanged, skipped" if end.is_skipped else artifact_text(end.artifact)
        output.say(f"{end.name}: {unchanged}")

    named = {
        "--teacher": teacher,
        "--from": completions,
        "--students": students,
        "--until": until,
        "--budget": budget,
        "--samples": samples,
        "--out": out,
    }
    with output.progress() as listener:
        outcome = run_bakeoff(
            read_task(task),
            inputs,
            out,
            config=config,
            teacher=teacher,
            completions=completions,
            command=_command(task, inputs, named, settings),
            on_progress=listener,
            on_stage=tell,
        )
    results = read_task_results(outcome.results_path)
    output.result(_document(outcome, results), _text(outcome, results))


def systems_text(results: "TaskResults") -> str:
    """Every system of a task's evaluation in a row: quality with intervals, size, speed, cost."""
    header = ("system", "as the teacher", "right", "valid", "size", "latency", "per 1,000")
    rows = [
        (
            system.name,
            _estimate(system.agreement),
            _estimate(system.gold),
            _estimate(system.valid),
            _UNKNOWN if system.num_bytes is None else size_text(system.num_bytes),
            _UNKNOWN if system.latency is None else _ms(system.latency.median_s.value),
            _UNKNOWN if system.usd_per_1000 is None else _usd(system.usd_per_1000.value),
        )
        for system in results.systems
    ]
    shown = [
        column
        for column in range(len(header))
        if column == 0 or any(row[column] != _UNKNOWN for row in rows)
    ]
    table = table_text(
        [header[column] for column in shown], [[row[column] for column in shown] for row in rows]
    )
    counts = results.counts
    note = f"{counts.held_out:,} held-out messages; [95 %]"
    return f"{table}\n{note}"


def _temperature(samples: int | None, settings: list[str] | None) -> float | None:
    name = "collect.sampling.temperature"
    is_set = any(assignment.partition("=")[0] == name for assignment in settings or ())
    several = samples is not None and samples > 1
    return _SEVERAL_SAMPLES_TEMPERATURE if several and not is_set else None


def _command(
    task: Path, inputs: Path | None, named: dict[str, Any], settings: list[str] | None
) -> str:
    words = ["stillhouse", "bakeoff", str(task), *([str(inputs)] if inputs is not None else [])]
    given = {flag: value for flag, value in named.items() if value is not None}
    words += [str(word) for pair in given.items() for word in pair]
    words += [word for assignment in settings or () for word in ("--set", assignment)]
    return shlex.join(words)


def _document(outcome: "BakeoffOutcome", results: "TaskResults") -> dict[str, Any]:
    return {
        "artifacts": {
            name: artifact_document(artifact) for name, artifact in outcome.artifacts.items()
        },
        "skipped": list(outcome.skipped),
        "stopped": outcome.stopped,
        "seconds": round(outcome.seconds, 3),
        "report": str(outcome.report_path),
        "results": results.model_dump(mode="json"),
    }


def _text(outcome: "BakeoffOutcome", results: "TaskResults") -> str:
    lines = ["", systems_text(results), "", results.verdict]
    lines += [f"warning: {warning}" for warning in results.warnings]
    lines += [outcome.stopped] if outcome.stopped else []
    earlier = f" ({len(outcome.skipped)} stages were complete)" if outcome.skipped else ""
    lines += ["", f"time    {duration_text(outcome.seconds)}{earlier}"]
    lines += [f"report  {outcome.report_path}"]
    return "\n".join(lines)


def _estimate(estimate: Any) -> str:
    if estimate is None:
        return _UNKNOWN
    value, low, high = (f"{100 * end:.1f}" for end in (estimate.value, estimate.low, estimate.high))
    return f"{value} % [{low}, {high}]"


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.2f} ms" if seconds < 0.1 else f"{1e3 * seconds:,.0f} ms"


def _usd(usd: float) -> str:
    return f"${usd:.2g}" if usd < 1 else f"${usd:,.2f}"
