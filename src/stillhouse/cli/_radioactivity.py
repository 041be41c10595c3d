"""`stillhouse radioactivity`: was a model trained on marked text?"""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stillhouse.cli._options import ForceOption, JsonOption, QuietOption, SetOption
from stillhouse.cli._output import Output, table_text
from stillhouse.cli._settings import stage_settings

if TYPE_CHECKING:
    from stillhouse.protect import Evidence


def radioactivity(
    suspect: Annotated[
        str,
        typer.Argument(
            metavar="SUSPECT",
            help="A model: folder, .gguf file, hub name. Of a closed one, the folder of what it "
            "answered, that collect wrote.",
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
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write.")] = Path(
        "radioactivity"
    ),
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
    words = ["stillhouse", "radioactivity", suspect, "--profile", str(profile)]
    given = {"--texts": texts, "--reference": reference, "--tokenizer": tokenizer, "--level": level}
    for flag, value in given.items():
        words += [] if value is None else [flag, str(value)]
    words += [word for name in customer or () for word in ("--customer", name)]
    words += [word for assignment in settings or () for word in ("--set", assignment)]
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
            command=shlex.join(words),
            replace=force,
            on_progress=listener,
        )
    output.result(evidence.model_dump(mode="json"), evidence_text(evidence))
    output.say(f"next: open {out / 'evidence.html'} in a browser, or stillhouse sign {out}")


def model_of(given: str) -> str:
    """`local:` and `local:DIR` as teachers are named, else as it is."""
    return given.removeprefix("local:")


def evidence_text(evidence: "Evidence") -> str:
    """Evidence for people: the verdict, the tables, and what it must not be taken for."""
    parts = [evidence.verdict, ""]
    for table in evidence.tables:
        parts += [table_text(table.header, table.rows), ""]
    parts += [f"{question} {answer}" for question, answer in evidence.shows]
    return "\n".join([*parts, "", "It does not show:", *(f"- {one}" for one in evidence.not_shown)])
