"""`stillhouse range`: attack against defence, end to end."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stillhouse.cli._options import JsonOption, QuietOption, SetOption
from stillhouse.cli._output import Output, path_text, table_text
from stillhouse.cli._settings import stage_settings

if TYPE_CHECKING:
    from stillhouse.pipeline import RangeResults, RangeRow


def range_(
    config: Annotated[
        Path | None,
        typer.Argument(
            metavar="CONFIG", help="YAML of fields, defences and attacks.  [default: our own]"
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="The default range on much less: minutes, not an hour.")
    ] = False,
    write_config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the default config there, to edit, and stop."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write.")] = Path(
        "range"
    ),
    settings: SetOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Try attacks on a model against defences, with real students.

    For each pair: how good a copy comes out, what the owner can prove against it, and what the
    defence costs honest users, in numbers and as one plot. A stopped range goes on where it was.
    """
    from stillhouse.pipeline import RANGE_DIR, attack_range, range_config

    output = Output(is_json=json, is_quiet=quiet)
    if write_config is not None:
        _write(write_config)
        output.result({"config": str(write_config)}, f"wrote {write_config}")
        output.say(f"next: stillhouse range {shlex.quote(path_text(write_config))}")
        return
    chosen = range_config(config, stage_settings({}, settings), quick=quick)
    words = ["stillhouse", "range", *([] if config is None else [str(config)])]
    words += ["--quick"] if quick else []
    words += ["--out", str(out)]
    words += [word for assignment in settings or () for word in ("--set", assignment)]
    with output.progress() as listener:
        results = attack_range(
            out,
            config=chosen,
            config_dir=RANGE_DIR if config is None else config.parent,
            command=shlex.join(words),
            on_progress=listener,
        )
    output.result(results.model_dump(mode="json"), range_text(results))
    output.say(f"next: open {out / 'range.html'} in a browser")


def _write(path: Path) -> None:
    from stillhouse.errors import ConfigError
    from stillhouse.pipeline import default_range_text

    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(default_range_text())
    except FileExistsError as err:
        raise ConfigError(f"{path} exists; nothing is overwritten. Give another name.") from err
    except OSError as err:
        raise ConfigError(
            f"{path} cannot be written ({err.strerror}). Give another place."
        ) from err


def range_text(results: "RangeResults") -> str:
    """A range for people: a table for each field, the verdict and the notes."""
    header = ("defence", "attack", "learnt", "gap closed", "log10 p", "test", "worse off")
    parts = []
    for field in results.fields:
        parts += [f"{field.name}:", table_text(header, [_row(row) for row in field.rows]), ""]
    notes = [f"note: {note}" for note in results.notes]
    return "\n".join([*parts, results.verdict, *notes])


def _row(row: "RangeRow") -> tuple[str, ...]:
    gap, cost, detection = row.quality.gap_closed, row.cost.share, row.detection
    return (
        row.defence,
        row.attack,
        f"{row.num_lessons:,} {row.learns}",
        f"{gap.value:.1%} [{gap.low:.1%}, {gap.high:.1%}]",
        "-" if detection.log10_p is None else f"{detection.log10_p:.1f}",
        detection.reason or detection.test,
        f"{cost.value:.1%} [{cost.low:.1%}, {cost.high:.1%}]",
    )
