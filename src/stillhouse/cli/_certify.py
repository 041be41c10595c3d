"""`stillhouse certify`: when a student may answer in place of its teacher."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stillhouse.cli._options import ForceOption, JsonOption, OutOption, QuietOption, SetOption
from stillhouse.cli._output import Output, artifact_text
from stillhouse.cli._settings import stage_settings
from stillhouse.cli._stages import DatasetArgument, run_stage

if TYPE_CHECKING:
    from stillhouse.artifacts import Artifact


def certify(
    student: Annotated[
        Path, typer.Argument(metavar="STUDENT", help="Folder that fit or train wrote.")
    ],
    dataset: DatasetArgument,
    target: Annotated[
        float | None,
        typer.Option(help="Agreement with the teacher over all requests.  [default: 0.97]"),
    ] = None,
    out: OutOption = Path("cascade"),
    confidence: Annotated[
        float | None, typer.Option(help="How sure that has to be.  [default: 0.95]")
    ] = None,
    grades: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Scores given elsewhere, by a judge for one."),
    ] = None,
    settings: SetOption = None,
    force: ForceOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Certify when a student may answer in place of its teacher.

    On rows that it was not fitted to: those that DATASET held out or, where the student was made of
    another dataset, all of DATASET. The student answers when it is confident enough and the text is
    like its training texts. At most 1 - target of all requests are then answered unlike the
    teacher. Where the rows cannot certify that, it says which number of rows or which target would
    do, and exits with 2.
    """
    from stillhouse.certify import CertifyConfig
    from stillhouse.certify import certify as stage

    run_stage(
        partial(stage, student, dataset, out, grades=grades),
        CertifyConfig,
        stage_settings({"target": target, "confidence": confidence}, settings),
        Output(is_json=json, is_quiet=quiet),
        force=force,
        then=f"stillhouse verify {out}",
        describe=certify_text,
    )


def certify_text(artifact: "Artifact") -> str:
    """A certificate for people: what is promised, and on what."""
    return f"{artifact.manifest.results['statement']}\n{artifact_text(artifact)}"
