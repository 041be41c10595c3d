"""Records to Parquet and back, with a schema taken from the record's own types."""

import io
import types
import typing
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ValidationError

from stillhouse.artifacts._columns import rows_of
from stillhouse.errors import IntegrityError, RecordError
from stillhouse.records import FLOAT32, Record

R = TypeVar("R", bound=Record)

_ROWS_PER_GROUP = 2_000  # not tuned
_BYTES_PER_GROUP = 16 << 20  # of Arrow memory, which rows of many log-probabilities soon fill
# As Python objects, rows are several times their Arrow bytes, so few are alive at once: 100
# completions of 256 tokens with their top 64 take 120 MB more than 50. Of short rows more are read
# at a time, since a batch costs as much as ten of them.
_ROWS_PER_BATCH = 50
_MOST_ROWS_PER_BATCH = 1_000
_BYTES_PER_BATCH = 1 << 19
_SCALARS: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    bytes: pa.binary(),
    datetime: pa.timestamp("us", tz="UTC"),
}


def arrow_schema(record_type: type[Record]) -> pa.Schema:
    """The Parquet schema of a record: nested records become structs, tuples lists."""
    return pa.schema(
        [_field(name, info.annotation) for name, info in record_type.model_fields.items()]
    )


def _field(name: str, annotation: Any) -> pa.Field:
    arguments = typing.get_args(annotation)
    is_union = typing.get_origin(annotation) in (types.UnionType, typing.Union)
    if is_union and type(None) in arguments:
        (inner,) = [argument for argument in arguments if argument is not type(None)]
        return pa.field(name, _data_type(inner), nullable=True)
    return pa.field(name, _data_type(annotation), nullable=False)


def _data_type(annotation: Any) -> pa.DataType:
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return pa.float32() if FLOAT32 in arguments else _data_type(arguments[0])
    if origin is Literal:
        return pa.string()
    if origin is tuple and arguments[1:] == (Ellipsis,):
        return pa.list_(_field("element", arguments[0]))
    if origin is dict:
        return pa.map_(_data_type(arguments[0]), _data_type(arguments[1]))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return pa.struct([_field(k, v.annotation) for k, v in annotation.model_fields.items()])
    raise TypeError(f"no Parquet type for {annotation!r}")


def write_table(path: Path, rows: Iterable[Record], record_type: type[R]) -> int:
    """Write `rows` as one Parquet file and return their number.

    Raises:
        RecordError: a row holds text that UTF-8 cannot carry (a lone surrogate) or an integer
            over 64 bits.
    """
    schema = arrow_schema(record_type)
    num_rows = 0
    repeating, single = _encodings(schema)
    with pq.ParquetWriter(
        path, schema, compression="zstd", use_dictionary=repeating, use_byte_stream_split=single
    ) as writer:
        for group in _row_groups(_batches(rows, schema, record_type.__name__)):
            writer.write_table(group)
            num_rows += group.num_rows
    return num_rows


def _encodings(schema: pa.Schema) -> tuple[list[str], list[str]]:
    """The columns that are written with a dictionary, and those that are split into bytes.

    Log-probabilities hardly repeat, so a dictionary of them would take time and save nothing. Their
    first bytes are much alike, and compress well when they stand together.
    """
    file = io.BytesIO()
    pq.write_metadata(schema, file)
    columns = list(pq.read_metadata(file).schema)  # the leaves, under the names that Parquet gives
    single = [column.path for column in columns if column.physical_type == "FLOAT"]
    return [column.path for column in columns if column.path not in single], single


def read_rows(path: Path, record_type: type[R]) -> Iterator[R]:
    """The rows of one Parquet file, validated.

    Raises:
        IntegrityError: the file is not Parquet, or a row does not fit `record_type`.
    """
    for index, row in enumerate(_raw_rows(path)):
        try:
            yield record_type.model_validate(row)
        except ValidationError as err:
            first = err.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise IntegrityError(
                f"{path}, row {index}: {place or record_type.__name__}: {first['msg']}. "
                "The file was written by another version or by hand; run its stage again."
            ) from err


def leaf_bytes(path: Path) -> Iterator[bytes]:
    """The canonical bytes of each row, the leaves of the Merkle tree (docs/format.md, 3)."""
    for row in _raw_rows(path):
        yield canonical_row(row)


def canonical_row(row: dict[str, Any]) -> bytes:
    """The canonical bytes of a row's cells."""
    return orjson.dumps(row, option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z)


def _raw_rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with pq.ParquetFile(path) as parquet:
            for batch in parquet.iter_batches(batch_size=_rows_per_batch(parquet.metadata)):
                yield from rows_of(batch)
    # Bad UTF-8 and dates are ValueErrors, and a key that a map has twice is a KeyError.
    except (pa.ArrowException, OSError, ValueError, KeyError) as err:
        raise IntegrityError(f"{path} is not a readable Parquet file ({err}).") from err


def _rows_per_batch(metadata: pq.FileMetaData) -> int:
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    num_bytes = max(1, sum(group.total_byte_size for group in groups))
    fitting: int = _BYTES_PER_BATCH * metadata.num_rows // num_bytes
    return min(max(fitting, _ROWS_PER_BATCH), _MOST_ROWS_PER_BATCH)


def _batches(rows: Iterable[Record], schema: pa.Schema, name: str) -> Iterator[pa.Table]:
    iterator = iter(rows)
    while batch := [row.model_dump() for row in islice(iterator, _ROWS_PER_BATCH)]:
        try:
            yield pa.Table.from_pylist(batch, schema=schema)
        except (UnicodeEncodeError, OverflowError, pa.ArrowException) as err:
            raise RecordError(f"A {name} row cannot be stored: {err}.") from err


def _row_groups(batches: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """`batches` joined up to the size of a row group, in rows or in bytes."""
    group: list[pa.Table] = []
    num_rows = num_bytes = 0
    for batch in batches:
        group.append(batch)
        num_rows += batch.num_rows
        num_bytes += batch.nbytes
        if num_rows >= _ROWS_PER_GROUP or num_bytes >= _BYTES_PER_GROUP:
            yield pa.concat_tables(group)
            group, num_rows, num_bytes = [], 0, 0
    if group:
        yield pa.concat_tables(group)
