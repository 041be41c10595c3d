"""`stillhouse preflight`: what train would refuse, without training."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillhouse.cli._options import JsonOption, QuietOption, SetOption
from stillhouse.cli._output import Output, table_text
from stillhouse.cli._settings import stage_settings

if TYPE_CHECKING:
    from stillhouse.train import PreflightReport


def preflight(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder that curate wrote.")],
    signal: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder that capture wrote.")
    ] = None,
    base: Annotated[
        str | None, typer.Option(metavar="MODEL", help="What the student is cut from.")
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Weights of the teacher, where the base is another."),
    ] = None,
    settings: SetOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Check a dataset and a signal as train does before its first step.

    Tokens, mask, end of turn, template, held-out prompts; the signal against the text; and the
    teacher's weights where they are at hand. Takes the settings of train.
    """
    from stillhouse.settings import check_settings
    from stillhouse.train import TrainConfig
    from stillhouse.train import preflight as check

    flags = {"base": base, "preflight.teacher": teacher}
    if signal is None:
        flags["objective"] = "sft"
    config = check_settings(TrainConfig, stage_settings(flags, settings), where="settings")
    report = check(dataset, config=config, signal=signal)
    Output(is_json=json, is_quiet=quiet).result(report.document(), _text(report))
    report.require()


def _text(report: "PreflightReport") -> str:
    rows = [
        (
            "ok" if check.problem is None else "WRONG",
            check.name,
            _number(check.value, check.unit),
            _number(check.limit, check.unit),
        )
        for check in report.checks
    ]
    return table_text(("", "check", "measured", "at most"), rows)


def _number(value: Any, unit: str) -> str:
    return "" if value is None else f"{value:.4g} {unit}".strip()
