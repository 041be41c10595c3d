"""The tables of `docs/benchmarks.md` on collecting, out of the results alone."""

from collections.abc import Iterator
from typing import Any

from benchmarks._collect.goals import GOALS
from benchmarks._parts.goals import goals_table, markdown_table
from benchmarks._parts.pages import circumstances


def tables(document: dict[str, Any]) -> dict[str, str]:
    """Each generated table by its name."""
    return {
        "goals": goals_table(document, GOALS),
        "peers": peers_table(document),
        "circumstances": circumstances(document),
    }


def peers_table(document: dict[str, Any]) -> str:
    """What each client needs for a completion, as a table in Markdown; medians."""
    clients: dict[str, Any] = document.get("cost", {}).get("clients", {})
    kills: dict[str, Any] = document.get("kills", {}).get("one_kill", {})
    imports: dict[str, Any] = document.get("startup", {}).get("import_s", {})

    def cells(name: str) -> Iterator[str]:
        figures = clients[name]
        yield f"{name} {figures['version']}"
        yield f"{figures['cpu_ms']['median']:.2f} ms"
        yield f"{figures['per_s']['median']:,.0f}"
        yield f"{figures['peak_rss_mb']['median']:,.0f} MB"
        yield f"{imports[name]['median']:.2f} s" if name in imports else ""
        yield _paid_twice(kills[name]) if name in kills else "starts anew"

    header = ("", "CPU each", "per second", "peak memory", "import", "paid twice after a kill")
    return markdown_table(header, (tuple(cells(name)) for name in clients))


def _paid_twice(kill: dict[str, Any]) -> str:
    text = f"{kill['paid_twice']:,} of {kill['num_prompts']:,}"
    return text if kill["has_finished"] else f"{text}, did not finish"
