"""`stillhouse attribute`: from which of several teachers a model was distilled, or from none."""

from pathlib import Path
from typing import Annotated

import typer

from stillhouse.cli._evidence import MODEL, command_text, model_of, tell_evidence
from stillhouse.cli._options import ForceOption, JsonOption, OutOption, QuietOption, SetOption
from stillhouse.cli._output import Output
from stillhouse.cli._settings import stage_settings


def attribute(
    suspect: Annotated[str, typer.Argument(metavar="SUSPECT", help=MODEL)],
    teacher: Annotated[
        list[str],
        typer.Option(metavar="[NAME=]MODEL", help="A possible teacher; two or more."),
    ],
    control: Annotated[
        list[str],
        typer.Option(
            metavar="MODEL",
            help="A model of the suspect's base that learnt from none of them; three or more.",
        ),
    ],
    texts: Annotated[
        Path,
        typer.Option(metavar="DIR", help="What all models read, that curate or collect wrote."),
    ],
    level: Annotated[
        float | None,
        typer.Option(help="Chance of naming a teacher of an innocent model.  [default: 0.01]"),
    ] = None,
    out: OutOption = Path("attribution"),
    settings: SetOption = None,
    force: ForceOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Find the teacher that a model was distilled from, without a watermark.

    A teacher is named where the suspect is closer to it than to the other teachers, by more than
    models of the same base that learnt from none of them; else it says that none can be. Writes
    evidence as a page and as JSON, which stillhouse sign can sign.
    """
    from stillhouse.protect import AttributionConfig, Lineup, attribution
    from stillhouse.settings import check_settings

    config = check_settings(
        AttributionConfig, stage_settings({"level": level}, settings), where="settings"
    )
    command = command_text(
        "attribute",
        suspect,
        {
            "--teacher": teacher,
            "--control": control,
            "--texts": texts,
            "--level": level,
            "--set": settings,
        },
    )
    output = Output(is_json=json, is_quiet=quiet)
    with output.progress() as listener:
        evidence = attribution(
            Lineup(
                suspect=model_of(suspect),
                teachers=_by_name(teacher),
                controls=[model_of(given) for given in control],
                texts=texts,
            ),
            out,
            config=config,
            command=command,
            replace=force,
            on_progress=listener,
        )
    tell_evidence(output, evidence, out)


def _by_name(given: list[str]) -> dict[str, str]:
    """Models by their names, or where they have none by what they are."""
    from stillhouse.errors import ConfigError

    named: dict[str, str] = {}
    for one in given:
        name, equals, model = one.partition("=")
        if not equals:
            name, model = one, one
        if name in named:
            raise ConfigError(f"Two teachers are called {name!r:.80}. Give each another name.")
        named[name] = model_of(model)
    return named
