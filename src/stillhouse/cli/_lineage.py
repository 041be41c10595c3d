"""`stillhouse lineage`: what an artefact, or one of its rows, was made from."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillhouse.cli._options import JsonOption, QuietOption
from stillhouse.cli._output import Output, path_text

if TYPE_CHECKING:
    from stillhouse.provenance import Lineage, RowHistory, RowPlace, TeacherCall


def lineage(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of an artefact.")],
    row: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="Tell where this row came from: its place from 0, or TABLE:N such as examples:12.",
        ),
    ] = None,
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the graph into this file.")
    ] = None,
    ledger: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="With --row: the ledger.  [default: beside the completions]"
        ),
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show what an artefact was made from, or where one of its rows came from.

    It reads manifests only, and with --row the rows on the way to the teacher's call; whether all
    of it is still what was written is for verify.
    """
    from stillhouse.errors import ConfigError
    from stillhouse.provenance import lineage as graph_of
    from stillhouse.provenance import lineage_svg, lineage_text, row_history

    output = Output(is_json=json, is_quiet=quiet)
    if row is not None:
        if svg is not None:
            raise ConfigError("--svg draws the artefacts, not a row. Give --row or --svg.")
        history = row_history(folder, row, ledger=ledger)
        output.result(history.model_dump(mode="json"), _history_text(history))
        return
    if ledger is not None:
        raise ConfigError("--ledger is read with --row alone. Give both, or leave it out.")
    graph = graph_of(folder)
    if svg is not None:
        svg.write_text(lineage_svg(graph), encoding="utf-8")
    document = {"artifacts": [_document(graph, number) for number in range(len(graph.nodes))]}
    output.result(document, _printable(lineage_text(graph)))


def _document(graph: "Lineage", number: int) -> dict[str, Any]:
    node = graph.nodes[number]
    manifest = node.manifest.model_dump(mode="json", by_alias=True)
    wanted = ("kind", "stage", "created_utc", "counts", "teacher", "student", "code", "usage")
    return {
        "path": str(node.path),
        "manifest_sha256": node.manifest_sha256,
        "parents": [edge.parent for edge in graph.edges if edge.child == number],
        "terms": manifest["results"].get("terms"),
        **{name: manifest[name] for name in wanted},
    }


def _printable(tree: str) -> str:
    """The tree with lines that every terminal has, where this one lacks those of boxes."""
    import sys

    try:
        tree.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return tree.translate({0x2502: "|", 0x251C: "|", 0x2514: "`", 0x2500: "-"})
    return tree


def _history_text(history: "RowHistory") -> str:
    lines = [_place_text("row", history.row)]
    lines += [_place_text("made from", place) for place in history.path]
    for call in history.calls:
        lines += ["", *_call_lines(call)]
    if history.not_at_hand:
        lines += ["", "not at hand:", *(f"  {note}" for note in history.not_at_hand)]
    return "\n".join(lines)


def _place_text(what: str, place: "RowPlace") -> str:
    return (
        f"{what} {place.row} of {path_text(Path(place.path))}, table {place.table}; leaf "
        f"{place.leaf_sha256[:12]}, manifest {place.manifest_sha256[:12]}"
    )


def _call_lines(call: "TeacherCall") -> list[str]:
    lines = [_place_text("copy", place) for place in call.copies]
    lines.append(_place_text("completion", call.place))
    usage, sampling = call.usage, call.sampling
    cost = "unknown" if usage.cost_usd is None else f"${usage.cost_usd:,.6f}"
    facts = {
        "request": call.request_id,
        "prompt": f"{call.prompt_id}, sample {call.sample_index}",
        "teacher": call.teacher,
        "model": call.model,
        "revision": call.revision,
        "sampling": None
        if sampling is None
        else ", ".join(f"{name} {value}" for name, value in sampling if value is not None),
        "asked": f"{call.created_utc:%Y-%m-%d %H:%M:%S} UTC, {usage.seconds:,.2f} s",
        "tokens": f"{usage.prompt_tokens:,} in, {usage.completion_tokens:,} out",
        "cost": cost,
        "ended": call.finish_reason,
        "terms": None if call.terms is None else call.terms.get("verdict"),
        "imported": None
        if call.imported is None
        else f"{call.imported.name}, {call.imported.place or 'place not kept'}, "
        f"sha256 {call.imported.sha256[:12]}",
        "response": None if call.ledger is None else call.ledger.response_id or "without an id",
        "ledger": None if call.ledger is None else path_text(Path(call.ledger.path)),
    }
    return lines + [f"  {name:9} {value}" for name, value in facts.items() if value is not None]
