"""`stillhouse scan`: what a log promises, before anything is trained."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stillhouse.cli._options import JsonOption, QuietOption, SetOption
from stillhouse.cli._output import Output, table_text
from stillhouse.cli._settings import stage_settings

if TYPE_CHECKING:
    from stillhouse.pipeline import PartResult, ScanResults

_MAX_NAME_CHARS = 40


def scan(
    log: Annotated[
        Path,
        typer.Argument(
            metavar="LOG", help="Completions (folder), a ledger, or an export that import reads."
        ),
    ],
    task: Annotated[
        Path | None,
        typer.Option(metavar="TASK", help="YAML of the task; found in the answers when left out."),
    ] = None,
    target: Annotated[
        float | None, typer.Option(help="Agreement with the teacher to reach.  [default: 0.97]")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Folder for scan.html, scan.json and the tasks found."
        ),
    ] = None,
    settings: SetOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Tell how much of a log's traffic a small student could take over.

    A few hundred logged answers will do, and no large model is trained. Nothing is promised that
    exact bounds on prompts kept back do not carry; where they are too few, it says how many would
    do.
    """
    from stillhouse.pipeline import ScanConfig
    from stillhouse.pipeline import scan as scan_log
    from stillhouse.settings import check_settings
    from stillhouse.tasks import read_task

    given = stage_settings({"target": target}, settings)
    config = check_settings(ScanConfig, given, where="settings")
    words = ["stillhouse", "scan", str(log)]
    words += [] if task is None else ["--task", str(task)]
    words += [] if target is None else ["--target", f"{target:g}"]
    words += [] if out is None else ["--out", str(out)]
    words += [word for assignment in settings or () for word in ("--set", assignment)]
    output = Output(is_json=json, is_quiet=quiet)
    read = None if task is None else read_task(task)
    with output.progress() as listener:
        results = scan_log(
            log, config=config, task=read, out=out, command=shlex.join(words), on_progress=listener
        )
    output.result(results.model_dump(mode="json"), scan_text(results))
    output.say(f"next: {_next(results, log, task, out)}")


def scan_text(results: "ScanResults") -> str:
    """A scan for people: the verdict, a line of facts, a row for each kind of prompts."""
    header = ("calls", "prompts", "kind", "student agrees in", "promise at target", "prompts of it")
    table = table_text(header, [_row(part) for part in results.parts])
    counts = (
        f"{results.num_calls:,} calls, {results.num_prompts:,} distinct prompts, "
        f"{results.num_scanned:,} looked at"
    )
    lines = [results.verdict, "", counts, "", table]
    lines += [f"note: {note}" for part in results.parts for note in part.notes]
    return "\n".join(lines)


def _row(part: "PartResult") -> tuple[str, ...]:
    best = max(part.tried, key=lambda tried: tried.agreement.value, default=None)
    agreement = "not measured"
    if best is not None:
        found = best.agreement
        agreement = f"{found.value:.1%} [{found.low:.1%}, {found.high:.1%}] ({best.student})"
    if part.promise is not None:
        share = part.promise.share
        promise = f"{share.value:.0%} [{share.low:.0%}, {share.high:.0%}]"
    elif part.prompts_needed is not None:
        promise = f"none; n = {part.prompts_needed:,} might do"
    else:
        promise = "none"
    name = part.name if len(part.name) <= _MAX_NAME_CHARS else f"{part.name[:_MAX_NAME_CHARS]}..."
    return (
        f"{part.share_of_calls:.0%}",
        f"{part.num_prompts:,}",
        part.kind,
        agreement,
        promise,
        name,
    )


def _next(results: "ScanResults", log: Path, task: Path | None, out: Path | None) -> str:
    if out is None:
        return f"stillhouse scan {shlex.quote(str(log))} --out DIR writes the page and the tasks"
    file = task or out / (results.parts[0].task_file or "")
    completions = log if log.is_dir() else out / "completions"
    words = ["stillhouse", "bakeoff", str(file), "--from", str(completions), "--out", "bakeoff"]
    return f"open {out / 'scan.html'}; then {shlex.join(words)}"
