"""`stillhouse verify`: is everything still what was written?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillhouse.cli._options import JsonOption, QuietOption
from stillhouse.cli._output import Output, path_text, size_text, table_text

if TYPE_CHECKING:
    from stillhouse.provenance import VerifiedArtifact, VerifyReport


def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of an artefact.")],
    trust: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Whose signatures count; without, any that is whole."),
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Check an artefact and all that it was made from.

    Files, hashes, rows, parents and signatures: the first thing that is not what was written is
    named, and the exit code is 2. With --trust the artefact must be signed by somebody whom the
    file names.
    """
    from stillhouse.provenance import verify as check
    from stillhouse.signing import load_trust

    output = Output(is_json=json, is_quiet=quiet)
    trusted = None if trust is None else load_trust(trust)
    with output.progress() as listener:
        report = check(folder, trust=trusted, on_progress=listener)
    output.result(
        {"artifacts": [_document(entry) for entry in report.artifacts]},
        f"{_table(report)}\n{_verdict(report, is_trusted=trusted is not None)}",
    )


def _document(entry: "VerifiedArtifact") -> dict[str, Any]:
    from dataclasses import asdict

    attestations = [
        {**asdict(one), "signed_utc": one.signed_utc.isoformat()} for one in entry.attestations
    ]
    return {**asdict(entry), "path": str(entry.path), "attestations": attestations}


def _table(report: "VerifyReport") -> str:
    rows = [
        [
            entry.kind,
            str(entry.files),
            "-" if entry.rows is None else f"{entry.rows:,}",
            size_text(entry.bytes),
            entry.manifest_sha256[:12],
            _signers(entry),
            path_text(entry.path),
        ]
        for entry in report.artifacts
    ]
    header = ["kind", "files", "rows", "size", "manifest", "signed by", "folder"]
    return table_text(header, rows)


def _signers(entry: "VerifiedArtifact") -> str:
    """Who signed, with a question mark where that does not count for the reader."""
    doubtful = _doubtful(entry)
    return ", ".join(f"{name}?" if bad else name for name, bad in doubtful.items()) or "-"


def _doubtful(entry: "VerifiedArtifact") -> dict[str, bool]:
    """By signer: whether something that it signed does not count for the reader."""
    found: dict[str, bool] = {}
    for one in entry.attestations:
        found[one.signer] = found.get(one.signer, False) or one.problem is not None
    return found


def _verdict(report: "VerifyReport", *, is_trusted: bool) -> str:
    # Strangers may sign what a trusted artefact was made from; those are not counted.
    num_signed = sum(not all(_doubtful(entry).values()) for entry in report.artifacts)
    checked = "verified: all files, hashes, rows, parents"
    if not num_signed:
        return checked
    whose = "by keys that you trust" if is_trusted else "whose keys they are: give --trust FILE"
    return f"{checked}, and the signatures of {num_signed} artefacts ({whose})"
