"""`stillhouse economics`: who pays and who earns by a student."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stillhouse.cli._options import JsonOption, QuietOption
from stillhouse.cli._output import Output, table_text

if TYPE_CHECKING:
    from stillhouse.economics import Economics, Flow


def economics(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="Folder of a student, cascade or evaluation."),
    ] = None,
    assumptions: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="YAML of what no record says; see docs/economics.md."),
    ] = None,
    volume: Annotated[
        float | None,
        typer.Option(metavar="N", help="Requests to draw up the accounts for.  [default: 1000000]"),
    ] = None,
    evaluation: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where the student was timed, unless DIR is that."),
    ] = None,
    log: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="What a server logged: how fast, how often the teacher."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="Gets economics.html and economics.json."),
    ] = None,
    write_assumptions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the assumptions to edit, with their schema, and exit."
        ),
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Tell who pays and who earns by a student, and when it pays back.

    From logged tokens, seconds and prices of the lineage, and assumptions that are listed with
    their sources. What is unknown is named, and counts in no sum.
    """
    from stillhouse.economics import read_assumptions
    from stillhouse.errors import ConfigError
    from stillhouse.pipeline import economics_of

    output = Output(is_json=json, is_quiet=quiet)
    if write_assumptions is not None:
        _write(write_assumptions, folder, output)
        return
    if folder is None:
        raise ConfigError("economics takes the folder of an artefact. Give DIR.")
    words = ["stillhouse", "economics", str(folder)]
    flags = {"--assumptions": assumptions, "--volume": None if volume is None else f"{volume:g}"}
    for flag, value in {**flags, "--evaluation": evaluation, "--log": log, "--out": out}.items():
        words += [] if value is None else [flag, str(value)]
    found = economics_of(
        folder,
        assumptions=None if assumptions is None else read_assumptions(assumptions),
        volume=volume,
        evaluation=evaluation,
        log=log,
        out=out,
        command=shlex.join(words),
    )
    output.result(found.model_dump(mode="json"), economics_text(found))
    if out is not None:
        output.say(f"next: open {out / 'economics.html'} in a browser")


def economics_text(found: "Economics") -> str:
    """The accounts for people: the verdict, what is missing, and every payment."""
    flows = table_text(
        ["what", "from", "to", "amount", "basis"], [_row(one) for one in found.flows]
    )
    lines = [found.verdict, "", f"over {found.requests:,.0f} requests:", flows]
    # The verdict says the first one.
    lines += [f"missing: {line}" for line in found.missing[1:]]
    return "\n".join(lines)


def _row(flow: "Flow") -> tuple[str, ...]:
    from stillhouse.pages import money

    amount = "-" if flow.usd is None else money(flow.usd.value)
    return flow.item, flow.payer, flow.receiver, amount, flow.basis


def _write(path: Path, folder: Path | None, output: Output) -> None:
    from stillhouse.economics import write_assumptions
    from stillhouse.errors import ConfigError

    if folder is not None:
        raise ConfigError(
            "--write-assumptions writes the file to edit and nothing else. Leave "
            f"{folder} out, then give --assumptions {path}."
        )
    written, schema = write_assumptions(path)
    document = {"assumptions": str(written), "schema": str(schema)}
    output.result(document, f"wrote {written} and {schema}")
