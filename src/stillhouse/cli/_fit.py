"""`stillhouse fit`: a student that answers a task with labels."""

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillhouse.cli._options import (
    ForceOption,
    JsonOption,
    OutOption,
    QuietOption,
    SetOption,
    TermsOption,
)
from stillhouse.cli._output import Output, artifact_text
from stillhouse.cli._settings import stage_settings
from stillhouse.cli._stages import DatasetArgument, run_stage

if TYPE_CHECKING:
    from stillhouse.artifacts import Artifact


class Student(StrEnum):
    """The kinds of students that answer with labels, cheapest first."""

    ngram = "ngram"
    embedding = "embedding"
    encoder = "encoder"


def fit(
    dataset: DatasetArgument,
    student: Annotated[Student | None, typer.Option(help="What is made.  [default: ngram]")] = None,
    out: OutOption = Path("student"),
    seed: Annotated[int | None, typer.Option(help="Of the parts and the order of rows.")] = None,
    ablate: Annotated[
        bool | None, typer.Option("--ablate", help="Fit without repairs too, and compare.")
    ] = None,
    terms: TermsOption = None,
    settings: SetOption = None,
    force: ForceOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Fit a student that answers a task with labels.

    To a dataset that curate made with --task. Some training rows are set aside; the student is
    calibrated and first measured on them. Answers that are probably wrong are repaired where there
    are many, and each repair is kept.
    """
    from stillhouse.fit import FitConfig
    from stillhouse.fit import fit as stage

    flags = {
        "student": student.value if student else None,
        "seed": seed,
        "noise.ablate": ablate,
        "terms": str(terms) if terms else None,
    }
    run_stage(
        partial(stage, dataset, out),
        FitConfig,
        stage_settings(flags, settings),
        Output(is_json=json, is_quiet=quiet),
        force=force,
        then=f"stillhouse evaluate {dataset} {out}",
        describe=fit_text,
    )


def fit_text(artifact: "Artifact") -> str:
    """A student for people: where it is, and what the rows that were set aside say of it."""
    results: dict[str, Any] = artifact.manifest.results
    lines = [artifact_text(artifact)]
    if found := results.get("validation"):
        interval = f"{found['low']:.1%} to {found['high']:.1%}"
        lines.append(
            f"agreement with the teacher on rows set aside: {found['agreement']:.1%} "
            f"[{interval}, n = {found['rows']:,}]"
        )
    lines += [f"note: {warning}" for warning in results.get("warnings", [])]
    return "\n".join(lines)
