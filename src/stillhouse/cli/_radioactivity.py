"""`stillhouse radioactivity`: was a model trained on marked text?"""

from pathlib import Path
from typing import Annotated

import typer

from stillhouse.cli._evidence import MODEL, command_text, model_of, tell_evidence
from stillhouse.cli._options import ForceOption, JsonOption, OutOption, QuietOption, SetOption
from stillhouse.cli._output import Output
from stillhouse.cli._settings import stage_settings


def radioactivity(
    suspect: Annotated[
        str,
        typer.Argument(
            metavar="SUSPECT",
            help=f"{MODEL} Of a closed one, the folder of what it answered, that collect wrote.",
        ),
    ],
    profile: Annotated[
        Path, typer.Option(metavar="FILE", help="Profile of the watermark (docs/watermark.md).")
    ],
    texts: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Marked texts that curate or collect wrote. A model reads them; of answers only "
            "contexts that they hold count.",
        ),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Key of the profile.  [default: from the key folder]"),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="What the suspect is compared with: its base, or any model without marked text.",
        ),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="The model that was marked, if the suspect has other tokens."
        ),
    ] = None,
    customer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Try the key of this customer too; may be repeated. Holm corrects."
        ),
    ] = None,
    level: Annotated[
        float | None,
        typer.Option(help="Chance of accusing an innocent model.  [default: 0.001]"),
    ] = None,
    out: OutOption = Path("radioactivity"),
    settings: SetOption = None,
    force: ForceOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Test whether a model was trained on marked text.

    What a suspect favours is held against what the secret key favours, in each context once. The
    p-value is exact, also far out, and says that marked text was in the training, not who put it
    there. Writes evidence as a page and as JSON, which stillhouse sign can sign.
    """
    from stillhouse.protect import Inputs, RadioactivityConfig
    from stillhouse.protect import radioactivity as stage
    from stillhouse.settings import check_settings

    config = check_settings(
        RadioactivityConfig, stage_settings({"level": level}, settings), where="settings"
    )
    command = command_text(
        "radioactivity",
        suspect,
        {
            "--profile": profile,
            "--texts": texts,
            "--reference": reference,
            "--tokenizer": tokenizer,
            "--level": level,
            "--customer": customer,
            "--set": settings,
        },
    )
    output = Output(is_json=json, is_quiet=quiet)
    with output.progress() as listener:
        evidence = stage(
            Inputs(
                suspect=model_of(suspect),
                texts=texts,
                reference=None if reference is None else model_of(reference),
                tokenizer=None if tokenizer is None else model_of(tokenizer),
                customers=tuple(customer or ()),
            ),
            out,
            profile=profile,
            key=key,
            config=config,
            command=command,
            replace=force,
            on_progress=listener,
        )
    tell_evidence(output, evidence, out)
