"""Rows that are made of columns are those of Arrow's own conversion."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.artifacts._columns import rows_of

TEXT = st.text(alphabet='aB\0"\\\u00e9\u4e2d\U0001f600', max_size=4)
INTEGER = st.integers(-(2**63), 2**63 - 1)
FLOAT = st.floats(width=64)
INNER = pa.struct([pa.field("x", pa.int64()), pa.field("y", pa.list_(pa.string()))])
SCHEMA = pa.schema(
    [
        pa.field("text", pa.string()),
        pa.field("count", pa.int64()),
        pa.field("single", pa.float32()),
        pa.field("double", pa.float64()),
        pa.field("flag", pa.bool_()),
        pa.field("raw", pa.binary()),
        pa.field("at", pa.timestamp("us", tz="UTC")),
        pa.field("ids", pa.list_(pa.int64())),
        pa.field("inner", INNER),
        pa.field("inners", pa.list_(INNER)),
        pa.field("votes", pa.map_(pa.string(), pa.map_(pa.string(), pa.int64()))),
    ]
)
INNERS = st.none() | st.fixed_dictionaries(
    {"x": st.none() | INTEGER, "y": st.none() | st.lists(st.none() | TEXT, max_size=3)}
)
ROWS = st.fixed_dictionaries(
    {
        "text": st.none() | TEXT,
        "count": st.none() | INTEGER,
        "single": st.none() | st.floats(width=32),
        "double": st.none() | FLOAT,
        "flag": st.none() | st.booleans(),
        "raw": st.none() | st.binary(max_size=4),
        "at": st.none() | st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001
        "ids": st.none() | st.lists(st.none() | INTEGER, max_size=4),
        "inner": INNERS,
        "inners": st.none() | st.lists(INNERS, max_size=3),
        "votes": st.none()
        | st.dictionaries(TEXT, st.dictionaries(TEXT, INTEGER, max_size=2), max_size=3),
    }
)


@settings(deadline=None)
@given(st.lists(ROWS, max_size=4), st.integers(0, 3), st.integers(0, 3))
def test_rows_are_those_of_arrow(rows: list[dict[str, object]], skip: int, cut: int) -> None:
    for row in rows:
        at, votes = row["at"], row["votes"]
        row["at"] = at.replace(tzinfo=UTC) if isinstance(at, datetime) else None
        row["votes"] = list(votes.items()) if isinstance(votes, dict) else None
    whole = pa.RecordBatch.from_pylist(rows, schema=SCHEMA)
    # A batch of a file is often a part of a longer one, whose lists begin elsewhere.
    batch = whole.slice(skip, max(0, len(rows) - skip - cut))
    assert repr(rows_of(batch)) == repr(batch.to_pylist(maps_as_pydicts="strict"))


def test_a_map_with_a_key_twice_is_refused() -> None:
    column = pa.array([[("a", 1)], [("b", 1), ("b", 2)]], type=pa.map_(pa.string(), pa.int64()))
    with pytest.raises(KeyError):
        rows_of(pa.RecordBatch.from_arrays([column], ["votes"]))


def test_text_that_is_not_utf8_is_refused() -> None:
    column = pa.Array.from_buffers(
        pa.string(),
        1,
        [None, pa.py_buffer(b"\x00\x00\x00\x00\x02\x00\x00\x00"), pa.py_buffer(b"\xff\xfe")],
    )
    with pytest.raises((ValueError, pa.ArrowException)):
        rows_of(pa.RecordBatch.from_arrays([column], ["text"]))


def test_a_batch_without_columns_has_its_rows() -> None:
    schema = pa.schema([])
    assert rows_of(pa.RecordBatch.from_arrays([], schema=schema)) == []
