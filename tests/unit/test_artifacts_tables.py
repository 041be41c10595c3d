"""Records to Parquet and back."""

import string
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from artifact_chains import prompts
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.artifacts import arrow_schema, merkle_root, read_rows, write_table
from stillhouse.artifacts._tables import leaf_bytes
from stillhouse.errors import IntegrityError, RecordError
from stillhouse.records import (
    Completion,
    Example,
    ItemError,
    Message,
    Prompt,
    Record,
    Request,
    Sampling,
    TokenLogprobs,
    Usage,
    canonical_json,
)

INTEGERS = st.integers(-(2**63), 2**63 - 1)
COUNTS = st.integers(0, 2**63 - 1)
FLOATS = st.floats(allow_nan=False)
MESSAGES = st.lists(
    st.builds(Message, role=st.sampled_from(["system", "user", "assistant", "tool"])),
    min_size=1,
    max_size=3,
).map(tuple)
SAMPLINGS = st.builds(
    Sampling,
    temperature=st.floats(0, 5),
    top_p=st.floats(0.01, 1),
    max_tokens=st.integers(1, 2**31),
    seed=INTEGERS,
    top_logprobs=COUNTS,
)
FLOATS32 = st.floats(allow_nan=False, allow_infinity=False, width=32)
USAGES = st.builds(
    Usage,
    prompt_tokens=COUNTS,
    completion_tokens=COUNTS,
    cost_usd=st.none() | FLOATS,
    seconds=st.floats(0, 1e9),
)


def tuples(values: st.SearchStrategy[Any], size: int) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(values, min_size=size, max_size=size).map(tuple)


@st.composite
def token_logprobs(draw: st.DrawFn) -> TokenLogprobs:
    size, top_k = draw(st.integers(0, 4)), draw(st.integers(0, 3))
    return TokenLogprobs(
        token_ids=draw(st.none() | tuples(INTEGERS, size)),
        tokens=draw(st.none() | tuples(st.text(), size)),
        logprobs=draw(tuples(FLOATS32, size)),
        top_k=top_k,
        top_ids=draw(st.none() | tuples(INTEGERS, size * top_k)),
        top_tokens=draw(st.none() | tuples(st.text(), size * top_k)),
        top_logprobs=draw(tuples(FLOATS32, size * top_k)),
    )


@st.composite
def completions(draw: st.DrawFn) -> Completion:
    error = draw(st.none() | st.builds(ItemError))
    reasons = st.sampled_from(["stop", "length", "content_filter"])
    return Completion(
        request_id=draw(st.text()),
        prompt_id=draw(st.text()),
        sample_index=draw(COUNTS),
        text=draw(st.text()),
        finish_reason="error" if error else draw(reasons),
        model=draw(st.text()),
        usage=draw(USAGES),
        created_utc=draw(st.datetimes(timezones=st.just(UTC))),
        logprobs=draw(st.none() | token_logprobs()),
        error=error,
        label_probabilities=draw(st.none() | label_probabilities()),
    )


def label_probabilities() -> st.SearchStrategy[dict[str, float]]:
    weights = st.dictionaries(st.text(), st.floats(1e-9, 1.0), min_size=1, max_size=3)
    return weights.map(lambda found: {name: value / 4 for name, value in found.items()})


STRATEGIES: dict[type[Record], st.SearchStrategy[Any]] = {
    Message: st.builds(Message),
    Prompt: st.builds(
        Prompt, id=st.text(min_size=1), messages=MESSAGES, labels=st.sampled_from([(), ("a", "b")])
    ),
    Sampling: SAMPLINGS,
    Request: st.builds(
        Request,
        messages=MESSAGES,
        sampling=SAMPLINGS,
        sample_index=COUNTS,
        labels=st.sampled_from([(), ("a", "b")]),
    ),
    TokenLogprobs: token_logprobs(),
    Usage: USAGES,
    ItemError: st.builds(ItemError),
    Completion: completions(),
    Example: st.builds(
        Example,
        messages=MESSAGES,
        completion_token_ids=st.none() | st.lists(INTEGERS, max_size=4).map(tuple),
    ),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables") / "rows.parquet"


def completion(**changes: Any) -> Completion:
    fields: dict[str, Any] = {
        "request_id": "r",
        "prompt_id": "p",
        "text": "fine",
        "finish_reason": "stop",
        "model": "m",
        "created_utc": datetime(2026, 1, 2, 3, 4, 5, 600_000, tzinfo=UTC),
    }
    return Completion(**{**fields, **changes})


def round_trip(path: Path, rows: Sequence[Record], record_type: type[Record]) -> list[Record]:
    assert write_table(path, rows, record_type) == len(rows)
    return list(read_rows(path, record_type))


@pytest.mark.parametrize("record_type", STRATEGIES, ids=lambda record: record.__name__)
def test_every_record_comes_back_as_it_was_written(path: Path, record_type: type[Record]) -> None:
    @settings(max_examples=40, deadline=None, derandomize=True)
    @given(st.lists(STRATEGIES[record_type], max_size=4))
    def check(rows: list[Record]) -> None:
        assert round_trip(path, rows, record_type) == rows
        # What the Merkle tree takes is the record's one encoding, not an accident of Parquet.
        assert list(leaf_bytes(path)) == [canonical_json(row) for row in rows]

    check()


@pytest.mark.parametrize(
    "text",
    [
        "line\u2028separator\u2029paragraph",
        "\N{FAMILY}\u200d\N{SNOWMAN}\ufe0f \U0001f469\U0001f3fd\u200d\U0001f680",
        "\u202eright to left",
        "nul \x00, bell \x07, newline \n, carriage return \r\n, tab \t",
        "\ufffe\uffff\U0010ffff",
        "",
        string.ascii_letters * 100_000,
    ],
    ids=["separators", "emoji", "bidi", "control", "noncharacters", "empty", "5 MB"],
)
def test_unusual_text_comes_back_as_it_was_written(path: Path, text: str) -> None:
    row = completion(text=text, logprobs=TokenLogprobs(logprobs=(-1.5,), tokens=(text,)))
    assert round_trip(path, [row], Completion) == [row]


def test_none_is_not_an_empty_list(path: Path) -> None:
    rows = [
        completion(logprobs=TokenLogprobs(logprobs=(), token_ids=ids, top_ids=ids))
        for ids in (None, ())
    ]
    assert round_trip(path, rows, Completion) == rows


def test_rows_keep_their_order_over_row_groups(path: Path) -> None:
    rows = prompts(4_001)
    assert round_trip(path, rows, Prompt) == rows
    assert merkle_root(leaf_bytes(path)) == merkle_root(canonical_json(row) for row in rows)


def test_rows_with_many_numbers_make_small_row_groups(path: Path) -> None:
    many = TokenLogprobs(
        logprobs=(-1.0,) * 256,
        top_k=64,
        top_ids=tuple(range(256 * 64)),
        top_logprobs=(-2.0,) * 16384,
    )
    rows = [completion(request_id=str(n), logprobs=many) for n in range(120)]
    assert round_trip(path, rows, Completion) == rows
    with pq.ParquetFile(path) as parquet:
        groups = [parquet.metadata.row_group(n) for n in range(parquet.num_row_groups)]
    assert len(groups) > 1
    assert all(group.total_byte_size < 64 << 20 for group in groups)
    assert merkle_root(leaf_bytes(path)) == merkle_root(canonical_json(row) for row in rows)


def test_short_rows_share_a_row_group(path: Path) -> None:
    write_table(path, prompts(4_001), Prompt)
    with pq.ParquetFile(path) as parquet:
        sizes = [parquet.metadata.row_group(n).num_rows for n in range(parquet.num_row_groups)]
    assert sizes == [2_000, 2_000, 1]


def test_the_schema_says_what_may_be_null() -> None:
    schema = arrow_schema(Completion)
    assert schema.names == list(Completion.model_fields)
    assert not schema.field("text").nullable
    assert schema.field("error").nullable
    assert schema.field("created_utc").type == pa.timestamp("us", tz="UTC")
    assert pa.types.is_struct(schema.field("logprobs").type)


def test_logprobs_take_four_bytes_each(path: Path) -> None:
    given = TokenLogprobs(logprobs=(-0.1, -2.0), top_k=1, top_logprobs=(-0.1, -1.5))
    write_table(path, [completion(logprobs=given)], Completion)
    kept = pq.read_schema(path).field("logprobs").type
    assert kept.field("logprobs").type.value_type == pa.float32()
    assert kept.field("top_logprobs").type.value_type == pa.float32()
    (row,) = read_rows(path, Completion)
    assert row.logprobs is not None
    assert row.logprobs.logprobs == (float(np.float32(-0.1)), -2.0)


@pytest.mark.parametrize("bad", ["\ud800", "ok\udfffok"])
def test_a_lone_surrogate_is_a_record_error(path: Path, bad: str) -> None:
    row = completion().model_copy(update={"text": bad})
    with pytest.raises(RecordError, match="Completion row cannot be stored"):
        write_table(path, [row], Completion)


def test_an_integer_over_64_bits_is_a_record_error(path: Path) -> None:
    row = completion(logprobs=TokenLogprobs(logprobs=(0.0,), token_ids=(2**63,)))
    with pytest.raises(RecordError, match="Completion row cannot be stored"):
        write_table(path, [row], Completion)


def test_rows_of_another_record_are_refused_by_row_and_field(path: Path) -> None:
    write_table(path, prompts(), Prompt)
    with pytest.raises(IntegrityError, match=r"rows.parquet, row 0: \w+"):
        list(read_rows(path, Completion))


def test_rows_whose_text_is_not_utf8_are_refused(path: Path) -> None:
    broken = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")]
    )
    pq.write_table(pa.table({"role": ["user"], "content": broken}), path)
    with pytest.raises(IntegrityError, match="not a readable Parquet file"):
        list(read_rows(path, Message))


@pytest.mark.parametrize("keep", [0, 3, 100])
def test_a_cut_off_table_is_refused(path: Path, keep: int) -> None:
    write_table(path, prompts(), Prompt)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(IntegrityError, match="not a readable Parquet file"):
        list(read_rows(path, Prompt))


def test_single_precision_numbers_are_split_into_bytes_and_other_columns_are_not(
    tmp_path: Path,
) -> None:
    logprobs = TokenLogprobs(tokens=("a", "b"), logprobs=(-0.25, -1.5))
    row = Completion(
        request_id="r",
        prompt_id="p",
        text="ab",
        finish_reason="stop",
        model="m",
        created_utc=datetime(2026, 1, 1, tzinfo=UTC),
        logprobs=logprobs,
    )
    write_table(tmp_path / "rows.parquet", [row], Completion)
    group = pq.read_metadata(tmp_path / "rows.parquet").row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    split = {c.path_in_schema for c in columns if "BYTE_STREAM_SPLIT" in c.encodings}
    assert split == {"logprobs.logprobs.list.element", "logprobs.top_logprobs.list.element"}
    assert [one.logprobs for one in read_rows(tmp_path / "rows.parquet", Completion)] == [logprobs]


class Votes(Record):
    """Maps, of which one holds others."""

    shares: dict[str, float]
    by_name: dict[str, dict[str, int]]


def test_maps_come_back_as_they_were_and_are_objects_in_leaves(path: Path) -> None:
    rows = [
        Votes(shares={"b": 0.5, "a": 0.25}, by_name={"z": {"y": 1, "x": 2}, "": {}}),
        Votes(shares={}, by_name={}),
    ]
    back = round_trip(path, rows, Votes)
    assert back == rows
    assert isinstance(back[0], Votes)
    assert list(back[0].by_name["z"]) == ["y", "x"]
    assert list(leaf_bytes(path)) == [canonical_json(row) for row in rows]


def test_a_map_with_a_key_twice_is_refused(path: Path) -> None:
    schema = arrow_schema(Votes)
    doubled = [{"shares": [("a", 1.0), ("a", 2.0)], "by_name": []}]
    pq.write_table(pa.Table.from_pylist(doubled, schema=schema), path)
    with pytest.raises(IntegrityError, match="not a readable Parquet file"):
        list(read_rows(path, Votes))


class PromptBefore(Record):
    """A prompt as it was before it had a reference."""

    id: str
    messages: tuple[Message, ...]
    split: str = "train"
    group: str | None = None
    output_schema: str | None = None
    teacher: str | None = None


def test_rows_from_before_a_field_was_added_are_read_with_its_default(path: Path) -> None:
    messages = (Message(role="user", content="u"),)
    write_table(path, [PromptBefore(id="p", messages=messages)], PromptBefore)
    assert list(read_rows(path, Prompt)) == [Prompt(id="p", messages=messages)]
    assert b"reference" not in next(leaf_bytes(path))


@pytest.mark.parametrize(
    ("row", "column"),
    [
        (completion(), "label_probabilities"),
        (Prompt(id="p", messages=(Message(role="user", content="a"),)), "labels"),
    ],
)
def test_a_file_from_before_a_column_is_read_as_if_it_were_empty(
    tmp_path: Path, row: Record, column: str
) -> None:
    write_table(tmp_path / "new.parquet", [row], type(row))
    old = pq.read_table(tmp_path / "new.parquet").drop_columns([column])
    pq.write_table(old, tmp_path / "old.parquet")
    assert list(read_rows(tmp_path / "old.parquet", type(row))) == [row]
    assert column.encode() not in b"".join(leaf_bytes(tmp_path / "old.parquet"))
