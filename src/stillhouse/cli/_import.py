"""The `import` command: another tool's export becomes completions."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from stillhouse.cli._options import (
    ForceOption,
    JsonOption,
    OutOption,
    QuietOption,
    SetOption,
    TermsOption,
)
from stillhouse.cli._output import Output, artifact_document, artifact_text
from stillhouse.cli._settings import stage_settings


class ExportFormat(StrEnum):
    """Whose export a file is."""

    auto = "auto"
    ledger = "ledger"
    serve_log = "serve-log"
    openai = "openai"
    openai_evals = "openai-evals"
    anthropic = "anthropic"
    openpipe = "openpipe"
    langfuse = "langfuse"
    promptfoo = "promptfoo"
    plain = "plain"


def import_(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="An export (.jsonl, .ndjson, .json, .csv), a ledger, or a log of serve.",
        ),
    ],
    source_format: Annotated[
        ExportFormat, typer.Option("--from", help="Whose export it is (docs/import.md).")
    ] = ExportFormat.auto,
    out: OutOption = Path("completions"),
    is_scrubbed: Annotated[
        bool,
        typer.Option("--scrub/--no-scrub", help="Replace personal data and secrets."),
    ] = True,
    model: Annotated[
        str | None, typer.Option(help="What answered, where the rows do not say.")
    ] = None,
    terms: TermsOption = None,
    settings: SetOption = None,
    force: ForceOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Take completions from another tool's export, or from a ledger of ours.

    What was paid for elsewhere is a teacher's output as well: `curate` reads the result, and
    `replay:DIR` answers from it.
    """
    from stillhouse.collect import ImportConfig, import_completions
    from stillhouse.settings import check_settings

    flags = {
        "format": source_format.value,
        "model": model,
        "terms": str(terms) if terms else None,
    }
    given = stage_settings(flags | {"scrub": None if is_scrubbed else False}, settings)
    config = check_settings(ImportConfig, given, where="settings")
    output = Output(is_json=json, is_quiet=quiet)
    with output.progress() as listener:
        artifact = import_completions(
            source, out, config=config, config_given=given, replace=force, on_progress=listener
        )
    output.result(artifact_document(artifact), artifact_text(artifact))
    results = artifact.manifest.results
    output.say(f"read as {results['format']}; {_scrubbed_text(results['scrubbed'])}")
    output.say(f"next: stillhouse curate {out}")


def _scrubbed_text(counts: dict[str, int] | None) -> str:
    if counts is None:
        return "nothing was scrubbed, as asked"
    if not counts:
        return "nothing to scrub was found"
    return "scrubbed " + ", ".join(f"{number:,} {kind}" for kind, number in counts.items())
