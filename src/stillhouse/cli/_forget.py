"""`stillhouse forget`: what was made of some rows, and everything rebuilt without them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillhouse.cli._options import JsonOption, QuietOption
from stillhouse.cli._output import Output, path_text

if TYPE_CHECKING:
    from stillhouse.pipeline import Forgotten
    from stillhouse.provenance import ForgetPlan, Selection


def forget(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR...",
            help="Folders with all that may be made of the rows; with --row first the artefact "
            "that holds it, whose neighbours are looked at where no other folder is given.",
        ),
    ],
    row: Annotated[
        str | None,
        typer.Option(metavar="N", help="A row: its place from 0, or TABLE:N such as examples:12."),
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(metavar="ID", help="A prompt, and all answers to it.")
    ] = None,
    group: Annotated[
        str | None, typer.Option(metavar="NAME", help="All prompts of a group.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="All that was imported from a file, by its name or SHA-256."
        ),
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(metavar="ID", help="All answers of a teacher or model.")
    ] = None,
    why: Annotated[str, typer.Option(help="Kept in the plan and in the manifests.")] = "",
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write plan.json and plan.txt into this folder."),
    ] = None,
    local: Annotated[
        str | None,
        typer.Option(
            metavar="SPEC", help="The local teacher, to capture signals again: local:[DIR]."
        ),
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Carry the plan out.")] = False,
    erase: Annotated[
        Path | None,
        typer.Option(
            metavar="LEDGER",
            help="With --apply: take what was asked and answered out of this ledger too; hashes, "
            "tokens and costs stay.",
        ),
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Find every artefact that is made of some rows, and rebuild without them.

    Without --apply it only says what would be done: in which order, with what left out, what is
    reused, and what it took before. With it, rows are taken out of collected answers and the stages
    after them run again; no teacher is asked, and what comes out the same is kept.
    """
    from stillhouse.errors import ConfigError
    from stillhouse.pipeline import check_found, stages_with
    from stillhouse.pipeline import forget as carry_out
    from stillhouse.provenance import plan_forgetting, plan_text
    from stillhouse.runlog import erase_calls

    output = Output(is_json=json, is_quiet=quiet)
    if erase is not None and not (apply and erase.is_file()):
        raise ConfigError(f"--erase {erase} takes a ledger that is there, and --apply. Give both.")
    given = {"row": row, "prompt": prompt, "group": group, "source": source, "teacher": teacher}
    selection, roots = _selection(folders, {name: v for name, v in given.items() if v is not None})
    plan = plan_forgetting(selection, roots, why=why, stages=stages_with(local))
    check_found(plan)
    if out is not None:
        _write(out, plan, plan_text(plan))
    if not apply:
        output.result(plan.model_dump(mode="json"), plan_text(plan))
        return
    # First: once the rows are gone from the artefacts, nothing leads to their calls any more.
    num_erased = None if erase is None else erase_calls(erase, plan.call_ids)
    with output.progress() as listener:
        made = carry_out(selection, roots, why=why, local=local, on_progress=listener)
    output.result(_document(made, num_erased), _text(made, num_erased))
    if made.failed:
        raise typer.Exit(2)


def _selection(folders: list[Path], given: dict[str, str]) -> "tuple[Selection, list[Path]]":
    from stillhouse.errors import ConfigError
    from stillhouse.provenance import Selection, select_row

    if len(given) != 1:
        named = ", ".join(f"--{name}" for name in given) or "none"
        raise ConfigError(
            f"forget takes one of --row, --prompt, --group, --source and --teacher ({named} given)."
        )
    ((what, value),) = given.items()
    if what != "row":
        return Selection(what, value), folders  # type: ignore[arg-type]
    first, *roots = folders
    return select_row(first, value), roots or [first.resolve().parent]


def _write(folder: Path, plan: "ForgetPlan", text: str) -> None:
    from stillhouse.artifacts import atomic_write_bytes
    from stillhouse.records import canonical_json

    folder.mkdir(parents=True, exist_ok=True)
    atomic_write_bytes(folder / "plan.json", canonical_json(plan) + b"\n")
    atomic_write_bytes(folder / "plan.txt", f"{text}\n".encode())


def _document(made: "Forgotten", num_erased: int | None) -> dict[str, Any]:
    return {
        "done": [{"path": path, "action": action} for path, action in made.done],
        "left": [step.model_dump(mode="json") for step in made.left],
        "failed": [{"path": path, "why": why} for path, why in made.failed],
        "erased_calls": num_erased,
    }


def _text(made: "Forgotten", num_erased: int | None) -> str:
    verbs = {
        "filter": "rows taken out of",
        "rerun": "made again:",
        "remove": "removed:",
        "kept": "kept as it was, under new parents:",
    }
    lines = [f"{verbs[action]} {path_text(Path(path))}" for path, action in made.done]
    if num_erased is not None:
        lines.append(f"calls erased from the ledger: {num_erased}")
    if made.left:
        lines += ["", "LEFT, for you to do:"]
        failed = dict(made.failed)
        lines += [
            f"  {path_text(Path(step.path))}: {failed.get(step.path, step.why)}"
            for step in made.left
        ]
    else:
        lines.append("nothing under these folders is made of it any more")
    return "\n".join(lines)
