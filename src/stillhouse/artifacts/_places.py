"""Single rows of an artefact, by their place among the leaves of its Merkle tree.

Places count from 0 over the files with rows in the order of their names (docs/format.md, section
3). A *table* is what the files `{table}-00000.parquet`, ... hold.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stillhouse.artifacts._columns import rows_of
from stillhouse.artifacts._reader import Artifact
from stillhouse.artifacts._tables import canonical_row
from stillhouse.errors import ConfigError, IntegrityError


@dataclass(frozen=True)
class PlacedRow:
    """A row and where it stands.

    Attributes:
        file: Name of its file in the artefact.
        table: What the file holds rows of, such as `examples`.
        place: Among all rows of the artefact, from 0.
        row: Its cells.
        leaf: Its canonical bytes.
    """

    file: str
    table: str
    place: int
    row: dict[str, Any]
    leaf: bytes


def num_rows(artifact: Artifact) -> int:
    """How many rows an artefact has, over all its tables."""
    return sum(entry.rows or 0 for entry in artifact.manifest.files)


def tables_of(artifact: Artifact) -> dict[str, range]:
    """The tables of an artefact with the places of their rows."""
    found: dict[str, range] = {}
    for name, places in _files(artifact):
        table = _table_of(name)
        known = found.get(table, places)
        found[table] = range(known.start, places.stop)
    return found


def row_at(artifact: Artifact, place: int) -> PlacedRow:
    """The row at a place.

    Raises:
        ConfigError: there is none.
        IntegrityError: its file cannot be read.
    """
    for name, places in _files(artifact):
        if place in places:
            row = _read_row(artifact.path / name, place - places.start)
            return PlacedRow(name, _table_of(name), place, row, canonical_row(row))
    raise ConfigError(_no_such_row(artifact, place))


def places_where(
    artifact: Artifact, table: str, column: str, values: Collection[str]
) -> Iterator[int]:
    """The places of the rows of a table that hold one of `values` in a column, in order.

    Only that column is read. A table or column that is not there holds nothing.

    Raises:
        IntegrityError: a file cannot be read.
    """
    wanted = pa.array(sorted(values), type=pa.string())
    for name, places in _files(artifact):
        if _table_of(name) != table:
            continue
        path = artifact.path / name
        try:
            with pq.ParquetFile(path) as parquet:
                if column not in parquet.schema_arrow.names:
                    continue
                start = places.start
                for group in range(parquet.num_row_groups):
                    cells = parquet.read_row_group(group, columns=[column]).column(0)
                    hits = pc.indices_nonzero(pc.is_in(cells, value_set=wanted))
                    yield from (start + hit for hit in hits.to_pylist())
                    start += len(cells)
        except (pa.ArrowException, OSError, ValueError) as err:
            raise IntegrityError(f"{path} is not a readable Parquet file ({err}).") from err


def _files(artifact: Artifact) -> Iterator[tuple[str, range]]:
    start = 0
    for entry in artifact.manifest.files:
        if entry.rows is not None:
            yield entry.name, range(start, start + entry.rows)
            start += entry.rows


def _table_of(name: str) -> str:
    return name.rsplit("-", 1)[0]


def _read_row(path: Path, number: int) -> dict[str, Any]:
    try:
        with pq.ParquetFile(path) as parquet:
            for group in range(parquet.num_row_groups):
                rows = parquet.metadata.row_group(group).num_rows
                if number < rows:
                    (batch,) = (
                        parquet.read_row_group(group).slice(number, 1).combine_chunks().to_batches()
                    )
                    return rows_of(batch)[0]
                number -= rows
    except (pa.ArrowException, OSError, ValueError, KeyError) as err:
        raise IntegrityError(f"{path} is not a readable Parquet file ({err}).") from err
    raise IntegrityError(
        f"{path} holds fewer rows than the manifest says. Restore it or run the stage again."
    )


def _no_such_row(artifact: Artifact, place: int) -> str:
    tables = tables_of(artifact)
    kind = artifact.manifest.kind
    if not any(tables.values()):
        return f"{artifact.path} ({kind}) has no rows. Give what it was made from, a dataset."
    held = ", ".join(
        f"{table} {places.start} to {places.stop - 1}" for table, places in tables.items() if places
    )
    return f"{artifact.path} has no row {place}. Its rows are {held}; give one of them."
