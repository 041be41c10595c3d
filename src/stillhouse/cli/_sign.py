"""The `sign` command: say with a key what an artefact was made from."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from stillhouse.cli._options import JsonOption, QuietOption
from stillhouse.cli._output import Output
from stillhouse.cli._signing_keys import KeyFolderOption, is_key_file, passphrase_of, signing_key


class Format(StrEnum):
    """What is written."""

    stillhouse = "stillhouse"
    oms = "oms"


def sign(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of an artefact.")],
    key: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE",
            help="A key of the key folder, or the file of a private key (with a / in it, or .pem).",
        ),
    ],
    format: Annotated[
        Format,
        typer.Option(
            "--format",
            help="stillhouse: attestations.jsonl in DIR. oms: an OpenSSF model-signing bundle "
            "beside it, by a key of a NIST curve.",
        ),
    ] = Format.stillhouse,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Of the format oms: the bundle.  [default: DIR.sig]"),
    ] = None,
    key_folder: KeyFolderOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Sign what an artefact was made from, after checking every byte of it.

    Two statements go into attestations.jsonl beside the manifest: the distillation, with its
    teachers, datasets, terms and verdict, and SLSA provenance. `verify --trust` checks them,
    offline (docs/signatures.md).
    """
    from datetime import UTC, datetime

    from stillhouse.errors import ConfigError
    from stillhouse.provenance import attest, sign_oms

    output = Output(is_json=json, is_quiet=quiet)
    if out is not None and format is not Format.oms:
        raise ConfigError(
            "--out is for --format oms; the format stillhouse writes attestations.jsonl into the "
            "artefact. Leave it out."
        )
    if format is Format.oms:
        if not is_key_file(key):
            raise ConfigError(
                f"--key {key!r:.80} is a name; --format oms takes the file of a key of a NIST "
                "curve, since OpenSSF model signing takes no Ed25519. Give ./FILE.pem."
            )
        with output.progress() as listener:
            place = sign_oms(folder, Path(key), out, ask=passphrase_of(key), on_progress=listener)
        output.result(
            {"path": str(place), "format": format.value},
            f"{place} is an OpenSSF model-signing bundle of {folder}. Check it: model_signing "
            f"verify key {folder} --signature {place} --public_key FILE",
        )
        return
    private = signing_key(key, key_folder)
    with output.progress() as listener:
        signed = attest(folder, private, now=datetime.now(UTC), on_progress=listener)
    output.result(
        {
            "path": str(folder / "attestations.jsonl"),
            "format": format.value,
            "statements": [
                {
                    "predicate_type": one.predicate_type,
                    "signer": one.signer,
                    "key_id": one.key_id,
                    "signed_utc": one.signed_utc.isoformat(),
                }
                for one in signed
            ],
        },
        f"{folder} is signed by {private.public.name} ({private.key_id[:12]}): "
        f"{', '.join(one.predicate_type for one in signed)}",
    )
