"""`stillhouse verify`: is everything still what was written?"""

from pathlib import Path
from typing import Annotated

import typer

from stillhouse.cli._options import JsonOption, QuietOption
from stillhouse.cli._output import Output, path_text, size_text, table_text


def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of an artefact.")],
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Check an artefact and all that it was made from.

    Files, hashes, rows and parents: the first thing that is not what was written is named, and the
    exit code is 2.
    """
    from dataclasses import asdict

    from stillhouse.provenance import verify as check

    output = Output(is_json=json, is_quiet=quiet)
    with output.progress() as listener:
        report = check(folder, on_progress=listener)
    verified = [{**asdict(entry), "path": str(entry.path)} for entry in report.artifacts]
    rows = [
        [
            entry.kind,
            str(entry.files),
            "-" if entry.rows is None else f"{entry.rows:,}",
            size_text(entry.bytes),
            entry.manifest_sha256[:12],
            path_text(entry.path),
        ]
        for entry in report.artifacts
    ]
    table = table_text(["kind", "files", "rows", "size", "manifest", "folder"], rows)
    output.result({"artifacts": verified}, f"{table}\nverified: all files, hashes, rows, parents")
