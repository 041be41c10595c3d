"""The tables of `docs/benchmarks.md`, which are written from the results and from nothing else."""

from pathlib import Path
from typing import Any

from benchmarks._collect.goals import goals_table, peers_table
from benchmarks._collect.options import BENCHMARKS

PAGE = BENCHMARKS.parent / "docs" / "benchmarks.md"


def tables(document: dict[str, Any]) -> dict[str, str]:
    """Each generated table by its name."""
    return {
        "goals": goals_table(document),
        "peers": peers_table(document),
        "circumstances": circumstances(document),
    }


def circumstances(document: dict[str, Any]) -> str:
    """When each part was measured, on what."""
    lines = ["| part | commit | day | cores | load before |", "| --- | --- | --- | --- | --- |"]
    for name, entry in document.items():
        seen = entry["circumstances"]
        day, cores = seen["measured_utc"][:10], seen["machine"]["cores"]
        lines.append(
            f"| {name} | {seen['commit']} | {day} | {cores} | {seen['load_at_start'][0]} |"
        )
    return "\n".join(lines)


def with_tables(page: str, document: dict[str, Any]) -> str:
    """The page with its tables as the results have them."""
    return placed(page, "collect", tables(document))


def placed(page: str, section: str, tables: dict[str, str]) -> str:
    """The page with the tables of one of its sections written anew."""
    for name, table in tables.items():
        begin, end = f"<!-- {section} {name}: generated -->\n", f"<!-- end of {section} {name} -->"
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise ValueError(f"docs/benchmarks.md has no place for the table {name!r}")
        page = f"{before}{begin}\n{table}\n\n{end}{after}"
    return page


def write_tables(document: dict[str, Any], path: Path = PAGE) -> None:
    """Bring the page in step with the results."""
    path.write_text(with_tables(path.read_text(), document))
