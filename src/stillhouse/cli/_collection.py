"""What the commands about collections share: teachers by name, money and ranges as text."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stillhouse.cli._output import artifact_text, table_text
from stillhouse.errors import ConfigError

if TYPE_CHECKING:
    from stillhouse.artifacts import Artifact

_DEFAULT = "local:"
_MOST_LISTED = 10


def named_teachers(given: Sequence[str] | None) -> str | dict[str, str]:
    """One spec, or specs by name; a spec without a name is called what it says.

    Raises:
        ConfigError: two have one name.
    """
    if not given:
        return _DEFAULT
    teachers: dict[str, str] = {}
    for text in given:
        name, equals, spec = text.partition("=")
        if not equals or ":" in name:  # an option of a spec: fake:?parallel=2
            name = spec = text
        if name in teachers:
            raise ConfigError(f"Two teachers are called {name!r}. Name them: --teacher NAME=SPEC.")
        teachers[name] = spec
    only = next(iter(teachers.items()))
    return only[1] if len(teachers) == 1 and only[0] == only[1] else teachers


def outcomes_text(artifact: "Artifact") -> str:
    """A collection for people: a line, and a table by teacher and finish reason."""
    rows = artifact.manifest.results["by_teacher"]
    lines = [artifact_text(artifact)]
    if rows:
        header = ("teacher", "ended", "completions", "prompt tokens", "tokens written", "cost")
        table = [
            (
                row["teacher"],
                row["finish_reason"],
                f"{row['num_completions']:,}",
                f"{row['prompt_tokens']:,}",
                f"{row['completion_tokens']:,}",
                money_text(row["cost_usd"]),
            )
            for row in rows
        ]
        lines += ["", table_text(header, table)]
    if maybe_paid := artifact.manifest.results["calls_maybe_paid"]:
        lines += ["", f"{len(maybe_paid):,} calls of processes that are gone, maybe paid:"]
        lines += [
            f"  {call['sent_utc'][:19]} prompt {call['prompt_id']} to {call['teacher']}"
            for call in maybe_paid[:_MOST_LISTED]
        ]
        if len(maybe_paid) > _MOST_LISTED:
            lines.append("  ... all of them are in manifest.json, under results")
    return "\n".join(lines)


def money_text(usd: float | None) -> str:
    """An amount, to the digits that small ones need."""
    if usd is None:
        return "price unknown"
    return f"${usd:,.2f}" if usd >= 100 else f"${usd:,.4f}"
