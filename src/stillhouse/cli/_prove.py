"""`stillhouse prove`: that a row is in an artefact, for those who have its manifest alone."""

from pathlib import Path
from typing import Annotated

import typer

from stillhouse.cli._options import JsonOption, QuietOption
from stillhouse.cli._output import Output, path_text


def prove(
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Folder of an artefact with rows.")
    ] = None,
    row: Annotated[
        str | None,
        typer.Option(
            metavar="N", help="Which row: its place from 0, or TABLE:N such as examples:12."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it here, not to stdout.")
    ] = None,
    hide_row: Annotated[
        bool, typer.Option("--hide-row", help="Put the row's hash into the proof, not the row.")
    ] = False,
    verifier: Annotated[
        bool,
        typer.Option("--verifier", help="Give the program that checks proofs, and no proof."),
    ] = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Prove that a row is in an artefact.

    Anyone with Python can check the proof against the artefact's manifest: the program for it is
    what --verifier gives.
    """
    from stillhouse.artifacts import atomic_write_bytes
    from stillhouse.errors import ConfigError
    from stillhouse.provenance import proof_verifier
    from stillhouse.provenance import prove as make

    if verifier:
        if folder is not None or row is not None:
            raise ConfigError("--verifier prints a program and takes no artefact. Leave it out.")
        if out is None:
            print(proof_verifier(), end="")
        else:
            atomic_write_bytes(out, proof_verifier().encode())
        return
    if folder is None or row is None:
        raise ConfigError("prove takes the folder of an artefact and --row N. Give both.")
    output = Output(is_json=json, is_quiet=quiet)
    proof = make(folder, row, hide_row=hide_row)
    if out is None:
        output.result(proof.document(), proof.to_bytes().decode().rstrip("\n"))
        return
    atomic_write_bytes(out, proof.to_bytes())
    output.result(
        {"path": str(out), "manifest_sha256": proof.manifest_sha256, "rows_root": proof.root},
        f"proof in {path_text(out)}, of row {proof.index} of {proof.size:,}; check it with:\n"
        "stillhouse prove --verifier --out check_proof.py\n"
        f"python check_proof.py {path_text(out)} {path_text(folder / 'manifest.json')}\n"
        f"It holds for the manifest with the SHA-256 {proof.manifest_sha256}",
    )
