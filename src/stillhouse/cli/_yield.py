"""`stillhouse yield`: what more calls of the teacher would bring."""

import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stillhouse.cli._options import JsonOption, QuietOption, SetOption
from stillhouse.cli._output import Output, table_text
from stillhouse.cli._progress import duration_text
from stillhouse.cli._settings import stage_settings

if TYPE_CHECKING:
    from stillhouse.pipeline import YieldPoint, YieldResults


class YieldStudent(StrEnum):
    """What is made at each budget."""

    ngram = "ngram"
    embedding = "embedding"
    encoder = "encoder"
    lm = "lm"


def yield_(
    dataset: Annotated[
        Path, typer.Argument(metavar="DATASET", help="Folder that curate wrote with a task.")
    ],
    student: Annotated[
        YieldStudent | None, typer.Option(help="What is made.  [default: embedding]")
    ] = None,
    budgets: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,...", help="Calls, four numbers or more.  [default: all, and halves of it]"
        ),
    ] = None,
    target: Annotated[
        float | None, typer.Option(help="Agreement to predict the calls for.  [default: 0.9]")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Students at each budget.  [default: 3]")
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write.")] = Path(
        "yield"
    ),
    settings: SetOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Predict how many calls of the teacher a target takes.

    Trains at several budgets, fits a curve, and checks its prediction on the largest budget, which
    was held back. For the maker of a student it is a shopping list; for the owner of a teacher it
    is the price of a copy. A stopped run goes on where it was.
    """
    from stillhouse.pipeline import YieldConfig, yield_curve
    from stillhouse.settings import check_settings

    flags = {
        "student": student.value if student else None,
        "budgets": None if budgets is None else [one.strip() for one in budgets.split(",")],
        "target": target,
        "seeds": seeds,
    }
    config = check_settings(YieldConfig, stage_settings(flags, settings), where="settings")
    named = {"--student": flags["student"], "--budgets": budgets, "--target": target}
    words = ["stillhouse", "yield", str(dataset), "--out", str(out)]
    for flag, value in {**named, "--seeds": seeds}.items():
        words += [] if value is None else [flag, str(value)]
    words += [word for assignment in settings or () for word in ("--set", assignment)]
    output = Output(is_json=json, is_quiet=quiet)
    with output.progress() as listener:
        results = yield_curve(
            dataset, out, config=config, command=shlex.join(words), on_progress=listener
        )
    output.result(results.model_dump(mode="json"), yield_text(results))
    output.say(f"next: open {out / 'yield.html'} in a browser")


def yield_text(results: "YieldResults") -> str:
    """A yield curve for people: a row for each budget, the verdict and both readings."""
    header = ("calls", "rows", "as the teacher", "right", "making one")
    table = table_text(header, [_row(point) for point in results.points])
    lines = [table, "", results.verdict, "", f"maker: {results.maker}", f"owner: {results.owner}"]
    return "\n".join([*lines, *(f"note: {note}" for note in results.notes)])


def _row(point: "YieldPoint") -> tuple[str, ...]:
    agreement, gold = point.agreement, point.gold
    return (
        f"{point.calls:,.0f}",
        f"{point.rows:,.0f}",
        f"{agreement.value:.1%} [{agreement.low:.1%}, {agreement.high:.1%}]",
        "-" if gold is None else f"{gold.value:.1%} [{gold.low:.1%}, {gold.high:.1%}]",
        duration_text(point.seconds),
    )
