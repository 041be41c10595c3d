"""What a command prints: results on stdout, everything else on stderr."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from stillhouse.cli._progress import Display, open_display

if TYPE_CHECKING:
    from pathlib import Path

    from stillhouse.artifacts import Artifact
    from stillhouse.runlog import Listener

_WIDTH_WITHOUT_TERMINAL = 160
_OF_USED_ROWS = ("student", "classifier", "evaluation", "cascade")


class Output:
    """The streams of one command, as `--json` and `--quiet` want them.

    With `--json` stdout carries exactly one document; with `--quiet` it carries nothing else and
    stderr carries errors only.
    """

    def __init__(self, *, is_json: bool, is_quiet: bool) -> None:
        self.is_json = is_json
        self.is_quiet = is_quiet
        self._display: Display | None = None

    @contextmanager
    def progress(self) -> Iterator["Listener"]:
        """A listener for stages, drawn on stderr while the block runs."""
        with open_display(is_quiet=self.is_quiet) as display:
            self._display = display
            try:
                yield display.show
            finally:
                self._display = None

    def say(self, text: str) -> None:
        """Tell the user something that is no result."""
        if self.is_quiet:
            return
        if self._display is not None:
            self._display.say(text)
        else:
            print(text, file=sys.stderr)

    def result(self, document: Any, text: str) -> None:
        """Print the result: `document` for programs or `text` for people."""
        if self.is_json:
            # ASCII: a pipe in another encoding cannot damage it.
            print(json.dumps(document, indent=2))
        elif not self.is_quiet:
            print(text)


def table_text(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of plain text, its columns aligned; wrapped only where a terminal is narrow."""
    import io

    from rich.console import Console
    from rich.table import Table

    table = Table(*header, box=None, pad_edge=False, padding=(0, 3, 0, 0), show_edge=False)
    for row in rows:
        # Quoted texts may hold brackets, which rich would read as markup.
        table.add_row(*(_plain(cell) for cell in row))
    # None asks rich for the terminal's width; a pipe has none, and must not be cut to 80.
    width = None if sys.stdout.isatty() else _WIDTH_WITHOUT_TERMINAL
    console = Console(file=io.StringIO(), width=width, no_color=True, highlight=False)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def artifact_document(artifact: "Artifact") -> dict[str, Any]:
    """An artefact for programs."""
    manifest = artifact.manifest.model_dump(mode="json", by_alias=True)
    wanted = ("kind", "stage", "counts", "usage", "results")
    return {"path": str(artifact.path), **{name: manifest[name] for name in wanted}}


def artifact_text(artifact: "Artifact") -> str:
    """An artefact for people, in one line."""
    counts, usage = artifact.manifest.counts, artifact.manifest.usage
    verb = "used" if artifact.manifest.kind in _OF_USED_ROWS else "kept"
    parts = [f"{counts.kept:,} of {counts.num_in:,} {verb}"]
    parts += [f"{number:,} {reason}" for reason, number in counts.dropped.items()]
    if usage.completion_tokens:
        parts.append(f"{usage.completion_tokens:,} tokens")
    if usage.cost_usd:
        parts.append(f"${usage.cost_usd:,.4f}")
    return f"{artifact.manifest.kind} in {artifact.path}: {', '.join(parts)}"


def size_text(num_bytes: int) -> str:
    """A size with the unit that suits it."""
    if num_bytes < 1e6:
        return f"{num_bytes / 1e3:,.1f} kB"
    return f"{num_bytes / 1e6:,.1f} MB" if num_bytes < 1e9 else f"{num_bytes / 1e9:,.2f} GB"


def path_text(path: "Path") -> str:
    """A path as a person would type it here."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def _plain(cell: str) -> Any:
    from rich.text import Text

    return Text(cell)
