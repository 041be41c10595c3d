"""From a row of any artefact back to the completion and the call that it was made of."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from stillhouse.artifacts import (
    Artifact,
    PlacedRow,
    open_artifact,
    places_where,
    row_at,
    tables_of,
)
from stillhouse.errors import ConfigError
from stillhouse.provenance._calls import CallReader, placed_at
from stillhouse.provenance._history_records import RowHistory
from stillhouse.provenance._lineage import Lineage, lineage

_CALLS = "completions"
Found = tuple[Artifact, PlacedRow]


def row_history(folder: Path, row: int | str, *, ledger: Path | None = None) -> RowHistory:
    """Where a row came from.

    Args:
        folder: An artefact with rows.
        row: Its place among all rows, from 0, or `TABLE:N` for a place among those of one table.
        ledger: Where the calls were recorded; `ledger.sqlite` beside the completions when None.

    Raises:
        ConfigError: there is no such row, the artefact has none, or `ledger` does not exist.
        IntegrityError: an artefact of the lineage is not sound.
    """
    if ledger is not None and not ledger.is_file():
        raise ConfigError(f"The ledger {ledger} does not exist. Give its file, or leave it out.")
    found = open_artifact(folder)
    start = row_at(found, place_of(found, row))
    graph = lineage(folder)
    path, completions = _Search(graph).completions_of(start)
    reader = CallReader(graph, ledger)
    calls = [reader.call(node, placed) for node, placed in completions]
    notes = list(dict.fromkeys(reader.not_at_hand))
    if not calls:
        notes.insert(0, _why_no_call(found, start))
    return RowHistory(
        row=placed_at(found, start),
        path=tuple(placed_at(node, placed) for node, placed in path),
        calls=tuple(calls),
        not_at_hand=tuple(notes),
    )


def place_of(artifact: Artifact, row: int | str) -> int:
    """The place that `N` or `TABLE:N` means in an artefact.

    Raises:
        ConfigError: it is no place, or there is no such table.
    """
    table, colon, digits = str(row).rpartition(":")
    if not (digits.isascii() and digits.isdigit()):
        raise ConfigError(
            f"Row {str(row)!r:.60} is no place. Give a number from 0, or TABLE:NUMBER such as "
            "examples:12."
        )
    if not colon:
        return int(digits)
    tables = tables_of(artifact)
    places = tables.get(table)
    if places is None or int(digits) >= len(places):
        held = ", ".join(f"{name} ({len(rows)} rows)" for name, rows in tables.items()) or "none"
        raise ConfigError(f"{artifact.path} has no row {row}. Its tables are: {held}.")
    return places.start + int(digits)


class _Search:
    """Goes up a lineage, nearest artefacts first."""

    def __init__(self, graph: Lineage) -> None:
        self._graph = graph

    def completions_of(self, start: PlacedRow) -> tuple[list[Found], list[Found]]:
        """The rows on the way, and the completions, of a row of the artefact asked for."""
        path: list[Found] = []
        for number in _nearest_first(self._graph):
            node = self._graph.nodes[number]
            if node.manifest.kind == _CALLS:
                found = _matching(node, _CALLS, start)
                if found:
                    return path, found
            elif number != len(self._graph.nodes) - 1:
                for table in ("answers", "examples"):
                    path += _matching(node, table, start)
        return path, []


def _nearest_first(graph: Lineage) -> Iterator[int]:
    parents: dict[int, list[int]] = {}
    for edge in graph.edges:
        parents.setdefault(edge.child, []).append(edge.parent)
    waiting, seen = [len(graph.nodes) - 1], set[int]()
    for number in waiting:
        if number not in seen:
            seen.add(number)
            yield number
            waiting += parents.get(number, [])


def _matching(node: Artifact, table: str, start: PlacedRow) -> list[Found]:
    """The rows of a table that `start` was made of, or that it is."""
    if table not in tables_of(node):
        return []
    # A request has one completion; a prompt may have many, and an answer counts them all.
    for column, value in (
        ("request_id", start.row.get("request_id")),
        ("prompt_id", start.row.get("prompt_id")),
        ("prompt_id", start.row.get("id") if start.table == "prompts" else None),
    ):
        if isinstance(value, str) and value:
            return [(node, row_at(node, at)) for at in places_where(node, table, column, {value})]
    return []


def _why_no_call(artifact: Artifact, start: PlacedRow) -> str:
    ids: Sequence[str] = [name for name in ("request_id", "prompt_id") if start.row.get(name)]
    if not ids and start.table != "prompts":
        return f"calls: rows of {start.table} hold no id of a prompt or request."
    if not artifact.manifest.parents and artifact.manifest.kind != _CALLS:
        return "calls: the artefact has no parents, so nothing says what its rows were made of."
    return "calls: no completion with the row's id is in the artefacts that it was made from."
