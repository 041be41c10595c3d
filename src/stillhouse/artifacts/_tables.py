"""Records to Parquet and back, with a schema taken from the record's own types."""

import types
import typing
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ValidationError

from stillhouse.errors import IntegrityError, RecordError
from stillhouse.records import Record

R = TypeVar("R", bound=Record)

_ROWS_PER_GROUP = 2_000  # not tuned; small enough that a reader of long token lists stays small
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
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for group in _grouped(rows, _ROWS_PER_GROUP):
            try:
                table = pa.Table.from_pylist([row.model_dump() for row in group], schema=schema)
            except (UnicodeEncodeError, OverflowError, pa.ArrowException) as err:
                raise RecordError(f"A {record_type.__name__} row cannot be stored: {err}.") from err
            writer.write_table(table)
            num_rows += len(group)
    return num_rows


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
        yield orjson.dumps(row, option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z)


def _raw_rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with pq.ParquetFile(path) as parquet:
            for batch in parquet.iter_batches(batch_size=_ROWS_PER_GROUP):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError, ValueError) as err:  # bad UTF-8 and dates are ValueErrors
        raise IntegrityError(f"{path} is not a readable Parquet file ({err}).") from err


def _grouped(rows: Iterable[R], size: int) -> Iterator[list[R]]:
    group: list[R] = []
    for row in rows:
        group.append(row)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
