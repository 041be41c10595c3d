"""What commands that write evidence share."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillhouse.cli._output import Output, table_text

if TYPE_CHECKING:
    from stillhouse.protect import Evidence

MODEL = "A model: folder, .gguf file, hub name."
"""What a suspect may be."""


def model_of(given: str) -> str:
    """`local:` and `local:DIR` as teachers are named, else as it is."""
    return given.removeprefix("local:")


def command_text(command: str, suspect: str, given: Mapping[str, Any]) -> str:
    """The command as a line of a shell, for the evidence.

    Args:
        command: Its name.
        suspect: The model.
        given: Values by option; None is left out, and a list is given one by one.
    """
    words = ["stillhouse", command, suspect]
    for option, value in given.items():
        values: Sequence[Any] = value if isinstance(value, list) else [value]
        words += [word for one in values if one is not None for word in (option, str(one))]
    return shlex.join(words)


def tell_evidence(output: Output, evidence: "Evidence", out: Path) -> None:
    """Print evidence, and what can be done with it."""
    output.result(evidence.model_dump(mode="json"), _text(evidence))
    output.say(f"next: open {out / 'evidence.html'} in a browser, or stillhouse sign {out}")


def _text(evidence: "Evidence") -> str:
    """Evidence for people: the verdict, the tables, and what it must not be taken for."""
    parts = [evidence.verdict, ""]
    for table in evidence.tables:
        parts += [table_text(table.header, table.rows), ""]
    parts += [f"{question} {answer}" for question, answer in evidence.shows]
    return "\n".join([*parts, "", "It does not show:", *(f"- {one}" for one in evidence.not_shown)])
