"""`stillhouse documents`: cards, bills of materials and summaries, written from the records."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillhouse.cli._options import JsonOption, QuietOption
from stillhouse.cli._output import Output, path_text, table_text

if TYPE_CHECKING:
    from stillhouse.documents import Explanation


def _print_schema(is_asked: bool) -> None:
    if is_asked:
        import json

        from stillhouse.documents import About

        print(json.dumps(About.model_json_schema(), indent=2))
        raise typer.Exit


def documents(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="A student, classifier, cascade, export or dataset."),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Folder to make.")
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Of hf, cyclonedx, spdx, croissant, eu, california, notice, with commas between.",
        ),
    ] = None,
    about: Annotated[
        Path | None,
        typer.Option(
            metavar="YAML", help="What only you can say: name, licence, intended use, contact."
        ),
    ] = None,
    evaluation: Annotated[
        list[Path] | None,
        typer.Option(
            "--evaluation",
            metavar="DIR",
            help="An evaluation that does not lie beside the student; may be repeated.",
        ),
    ] = None,
    explain: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD",
            help="Write nothing; say where a field comes from, as in model_card:/license.",
        ),
    ] = None,
    schema: Annotated[
        bool,
        typer.Option(
            "--schema",
            callback=_print_schema,
            is_eager=True,
            help="Print the JSON Schema of --about, for editors, and exit.",
        ),
    ] = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write model card, ML-BOM, SPDX, Croissant, EU and California pages, NOTICE.

    All from one verified lineage: what no record holds is said not to be recorded, and
    trace.json says which record each field comes from. A record, not legal advice.
    """
    from dataclasses import asdict

    from stillhouse.documents import write_documents
    from stillhouse.errors import ConfigError

    output = Output(is_json=json, is_quiet=quiet)
    if (out is None) == (explain is None):
        raise ConfigError("documents takes --out FOLDER, or --explain FIELD. Give one of the two.")
    with output.progress() as listener:
        if explain is not None:
            found = _explained(explain, folder, about, evaluation or [], listener)
        else:
            assert out is not None
            names = [name.strip() for name in only.split(",")] if only is not None else []
            written = write_documents(
                folder,
                out,
                only=names,
                evaluations=evaluation or [],
                about=about,
                on_progress=listener,
            )
    if explain is not None:
        document = [entry.model_dump(mode="json") for entry in found]
        output.result({"fields": document}, "\n".join(map(_explanation_text, found)))
        return
    assert out is not None
    rows = [[one.file, one.standard, str(one.num_fields)] for one in written]
    table = table_text(["file", "standard", "fields"], rows)
    output.result(
        {"folder": str(out), "documents": [asdict(one) for one in written]},
        f"{table}\ndocuments in {path_text(out)}. A record, not legal advice.",
    )


def _explained(
    field: str, folder: Path, about: Path | None, evaluations: list[Path], listener: Any
) -> "tuple[Explanation, ...]":
    from stillhouse.documents import explain, gather, make_documents, read_graph

    graph = read_graph(folder, evaluations=evaluations, about=about, on_progress=listener)
    return explain(field, make_documents(gather(graph)), graph)


def _explanation_text(entry: "Explanation") -> str:
    value = "not recorded" if entry.fact.value is None else str(entry.fact.value)
    lines = [f"{entry.field} = {value}", f"  {entry.fact.rule}"]
    for source, chain in zip(entry.fact.sources, entry.chain, strict=True):
        where = source.file if source.record == source.file else f"{source.record}: {source.file}"
        place = f"{where} {source.pointer}".rstrip()
        digest = f", SHA-256 {source.sha256}" if source.sha256 else ""
        lines.append(f"  from {place}{digest}")
        if len(chain) > 1:
            lines.append(f"    by way of {' > '.join(chain)}")
    return "\n".join(lines)
