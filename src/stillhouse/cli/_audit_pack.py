"""`stillhouse audit-pack`: all that is needed to check where something comes from, in one file."""

from pathlib import Path
from typing import Annotated

import typer

from stillhouse.cli._options import JsonOption, QuietOption
from stillhouse.cli._output import Output, path_text, size_text


def audit_pack(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="A student, classifier, cascade, export or dataset."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE.zip", help="File to write.")],
    rows: Annotated[int, typer.Option(metavar="K", help="Rows to prove, drawn by hash.")] = 5,
    hide_rows: Annotated[
        bool,
        typer.Option("--hide-rows", help="Tell hashes of them only, and not their history."),
    ] = False,
    trust: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keys that must have signed; goes into the pack."),
    ] = None,
    evaluation: Annotated[
        list[Path] | None,
        typer.Option(
            "--evaluation",
            metavar="DIR",
            help="An evaluation that does not lie beside the student; may be repeated.",
        ),
    ] = None,
    about: Annotated[
        Path | None, typer.Option(metavar="YAML", help="What only you can say, for the documents.")
    ] = None,
    assumptions: Annotated[
        Path | None, typer.Option(metavar="YAML", help="What the economics take for granted.")
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Pack documents, proofs, signatures, terms and economics with their verifier.

    Whoever gets the file checks it offline with plain Python, as its README.txt says. Tell them
    the SHA-256 that this prints by another way. A record, not legal advice.
    """
    from dataclasses import asdict

    from stillhouse.economics import read_assumptions
    from stillhouse.pipeline import audit_pack as make

    output = Output(is_json=json, is_quiet=quiet)
    with output.progress() as listener:
        found = make(
            folder,
            out,
            num_rows=rows,
            hide_rows=hide_rows,
            evaluations=evaluation or (),
            about=about,
            assumptions=None if assumptions is None else read_assumptions(assumptions),
            trust=trust,
            on_progress=listener,
        )
    lines = [
        f"{path_text(out)}: {found.num_files} files, {size_text(found.num_bytes)}",
        *found.checked[:-1],
        f"SHA-256 of its PACK.json: {found.pack_sha256}",
    ]
    document = {**asdict(found), "path": str(found.path), "checked": list(found.checked)}
    output.result(document, "\n".join(lines))
