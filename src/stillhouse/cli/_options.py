"""Arguments and options that several commands share: one spelling, one meaning."""

from pathlib import Path
from typing import Annotated

import typer

PromptsArgument = Annotated[
    Path, typer.Argument(metavar="PROMPTS", help="JSONL, CSV, Parquet or a YAML recipe.")
]
MaxTokensOption = Annotated[int | None, typer.Option(help="Of the longest completion.")]
SamplesOption = Annotated[int | None, typer.Option(help="Completions per prompt.")]
TaskOption = Annotated[
    Path | None,
    typer.Option("--task", metavar="YAML", help="What is asked for; see docs/tasks.md."),
]
TeacherOption = Annotated[
    str,
    typer.Option(
        "--teacher",
        metavar="SPEC",
        help="Who answers: local:[DIR], gguf:[FILE], http(s)://host/v1#model, replay:DIR, fake:.",
    ),
]
TeachersOption = Annotated[
    list[str] | None,
    typer.Option(
        "--teacher",
        metavar="[NAME=]SPEC",
        help="Who answers: local:[DIR], gguf:[FILE], PROVIDER:MODEL (docs/providers.md), "
        "http(s)://host/v1#model, decisions:http(s)://host/v1#model, replay:DIR, fake:. "
        "Repeat it to ask several.  [default: local:]",
    ),
]
OutOption = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write.")]
TermsOption = Annotated[
    Path | None,
    typer.Option("--terms", metavar="FILE", help="What you declare of the student; docs/terms.md."),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Replace a finished artefact of other inputs in --out.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document; messages go to stderr.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", help="Show errors only.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Any other setting of the stage (docs/config.md); may be repeated.",
    ),
]
