"""`stillhouse attribute`: from which of several teachers a model was distilled, or from none."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from stillhouse.cli._options import ForceOption, JsonOption, QuietOption, SetOption
from stillhouse.cli._output import Output
from stillhouse.cli._radioactivity import evidence_text, model_of
from stillhouse.cli._settings import stage_settings


def attribute(
    suspect: Annotated[
        str, typer.Argument(metavar="SUSPECT", help="A model: folder, .gguf file, hub name.")
    ],
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
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write.")] = Path(
        "attribution"
    ),
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
    words = ["stillhouse", "attribute", suspect]
    words += [word for given in teacher for word in ("--teacher", given)]
    words += [word for given in control for word in ("--control", given)]
    words += ["--texts", str(texts)] + ([] if level is None else ["--level", str(level)])
    words += [word for assignment in settings or () for word in ("--set", assignment)]
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
            command=shlex.join(words),
            replace=force,
            on_progress=listener,
        )
    output.result(evidence.model_dump(mode="json"), evidence_text(evidence))
    output.say(f"next: open {out / 'evidence.html'} in a browser, or stillhouse sign {out}")


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
