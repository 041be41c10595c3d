"""The tables of `docs/benchmarks.md`, which are written from the results and from nothing else."""

from pathlib import Path
from typing import Any

from benchmarks._parts import BENCHMARKS
from benchmarks._parts.goals import markdown_table

PAGE = BENCHMARKS.parent / "docs" / "benchmarks.md"


def circumstances(document: dict[str, Any]) -> str:
    """When each part was measured, on what."""
    rows = ((name, *_seen(entry["circumstances"])) for name, entry in document.items())
    return markdown_table(("part", "commit", "day", "cores", "load before"), rows)


def _seen(given: dict[str, Any]) -> tuple[str, str, str, str]:
    day, cores = given["measured_utc"][:10], given["machine"]["cores"]
    load = given["load_at_start"]
    return given["commit"], day, str(cores), str(load[0]) if load else "not recorded"


def with_tables(page: str, section: str, tables: dict[str, str]) -> str:
    """The page with the tables of one of its sections written anew.

    Raises:
        ValueError: the page has no place for one of them.
    """
    for name, table in tables.items():
        begin, end = f"<!-- {section} {name}: generated -->\n", f"<!-- end of {section} {name} -->"
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise ValueError(f"docs/benchmarks.md has no place for the table {name!r}")
        page = f"{before}{begin}\n{table}\n\n{end}{after}"
    return page


def write_tables(section: str, tables: dict[str, str], path: Path = PAGE) -> None:
    """Bring the page in step with the results."""
    path.write_text(with_tables(path.read_text(), section, tables))
