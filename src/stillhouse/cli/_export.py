"""`stillhouse export`: a student in formats that other programs run."""

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stillhouse.cli._options import ForceOption, JsonOption, OutOption, QuietOption, SetOption
from stillhouse.cli._output import Output, size_text
from stillhouse.cli._settings import stage_settings
from stillhouse.cli._stages import run_stage

if TYPE_CHECKING:
    from stillhouse.artifacts import Artifact


class Format(StrEnum):
    """What a student can be exported as."""

    gguf_f16 = "gguf-f16"
    gguf_q8_0 = "gguf-q8_0"
    gguf_q4_k = "gguf-q4_k"
    safetensors = "safetensors"
    adapter = "adapter"
    wheel = "wheel"
    onnx = "onnx"
    openvino = "openvino"
    container = "container"


def export(
    student: Annotated[
        Path, typer.Argument(metavar="STUDENT", help="Folder that train or fit wrote.")
    ],
    formats: Annotated[
        list[Format], typer.Option("--format", help="What is made; may be repeated.")
    ],
    out: OutOption = Path("export"),
    data: Annotated[
        Path | None,
        typer.Option(metavar="DATASET", help="Measure the export on its held-out rows too."),
    ] = None,
    settings: SetOption = None,
    force: ForceOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write a student in formats that other programs run.

    Each format is read back by what runs it and held to the student: the same tokens, nearly the
    same distributions or answers. One that differs by more than the limits is refused, and nothing
    is written.
    """
    from stillhouse.export import ExportConfig
    from stillhouse.export import export as stage

    run_stage(
        partial(stage, student, out, dataset=data),
        ExportConfig,
        stage_settings({"formats": [given.value for given in formats]}, settings),
        Output(is_json=json, is_quiet=quiet),
        force=force,
        then=f"stillhouse verify {out}",
        describe=export_text,
    )


def export_text(artifact: "Artifact") -> str:
    """An export for people: of each format its size, and what was measured of it."""
    from stillhouse.export import REPORT_NAME, ExportReport

    report = ExportReport.model_validate_json(artifact.file(REPORT_NAME).read_bytes())
    plural = "" if len(report.formats) == 1 else "s"
    lines = [f"export in {artifact.path}: {len(report.formats)} format{plural}"]
    for made in report.formats:
        size = size_text(sum(file.bytes for file in made.files))
        lines.append(f"{made.format}: {size}, {made.verdict.replace('_', ' ')}")
        for figure in made.figures:
            interval = "" if figure.low is None else f" [{figure.low:.6g}, {figure.high:.6g}]"
            lines.append(f"  {figure.name}: {figure.value:.6g}{interval}, n = {figure.n:,}")
        if made.metric is not None:
            metric = made.metric
            lines.append(
                f"  {metric.metric}: {metric.exported:.4f}, the student {metric.student:.4f}, "
                f"difference [{metric.low:+.4f}, {metric.high:+.4f}], n = {metric.n:,}, "
                f"{metric.verdict.replace('_', ' ')}"
                + (f" (n = {metric.n_needed:,} would settle it)" if metric.n_needed else "")
            )
        lines += [f"  note: {note}" for note in made.notes]
    return "\n".join(lines)
