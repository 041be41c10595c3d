"""`stillhouse init` and `stillhouse doctor`: before the first run."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from stillhouse.cli._options import JsonOption, QuietOption
from stillhouse.cli._output import Output

_COLOURS = {"ok": "32", "warn": "33", "fail": "31"}


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write.")] = Path(),
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write a config to edit, with example prompts.

    A JSON Schema beside it lets editors complete and check the config.
    """
    from stillhouse.pipeline import init as write_project

    output = Output(is_json=json, is_quiet=quiet)
    written = write_project(folder)
    lines = [f"wrote {path}" for path in written]
    output.result({"files": [str(path) for path in written]}, "\n".join(lines))
    output.say(f"next: stillhouse run {written[0]}")


def doctor(json: JsonOption = False, quiet: QuietOption = False) -> None:
    """Check this machine for what a run needs.

    The exit code is 2 if something that the demo needs is missing.
    """
    from dataclasses import asdict

    from stillhouse.pipeline import examine

    output = Output(is_json=json, is_quiet=quiet)
    checks = examine(Path.cwd())
    failed = [check for check in checks if check.status == "fail"]
    lines = []
    for check in checks:
        lines.append(f"{_coloured(check.status)} {check.name:<18}{check.found}")
        if check.advice:
            lines.append(f"{'':<24}{check.advice}")
    lines.append(
        f"{len(failed)} of {len(checks)} checks failed: the demo needs them."
        if failed
        else "All that the demo needs is here. Run: stillhouse demo"
    )
    output.result(
        {"is_ready": not failed, "checks": [asdict(check) for check in checks]}, "\n".join(lines)
    )
    if failed:
        raise typer.Exit(2)


def _coloured(status: str) -> str:
    text = f"{status:<5}"
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{_COLOURS[status]}m{text}\x1b[0m"
