import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.collect._imports._source import read_source

_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
_rows = st.lists(
    st.dictionaries(st.text(max_size=5).map("f".__add__), _values, min_size=1), max_size=5
)


def _read(path: Path) -> list[Any]:
    return [row.value for row in read_source(path)]


@settings(max_examples=30, deadline=None)
@given(_rows, st.sampled_from([None, 1]), st.booleans())
def test_a_document_holds_its_rows_however_it_is_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any], indent: int | None, is_ascii: bool
) -> None:
    path = tmp_path_factory.mktemp("x") / "x.json"
    documents: list[Any] = [rows, {"object": "list", "data": rows, "has_more": False}]
    documents.append({"evalId": "e", "results": {"version": 3, "results": rows, "stats": {}}})
    for document in documents:
        text = json.dumps(document, indent=indent, ensure_ascii=is_ascii)
        path.write_text(text, encoding="utf-8")
        assert _read(path) == rows


def test_rows_longer_than_a_chunk_and_cut_inside_of_characters_are_whole(tmp_path: Path) -> None:
    rows = [{"n": n, "text": "\u00e9\U0001f98a" * (n % 7) * 60_000} for n in range(12)]
    path = tmp_path / "x.json"
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    assert _read(path) == rows


def test_documents_one_after_another_are_rows(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('\ufeff{"a": 1}\n{"a": 2}\n', encoding="utf-8")
    assert _read(path) == [{"a": 1}, {"a": 2}]


def test_lines_end_at_newlines_only(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('\ufeff{"a": "x\u2028y\u0085z"}\r\n\n{"a": 2}', encoding="utf-8")
    assert _read(path) == [{"a": "x\u2028y\u0085z"}, {"a": 2}]


def test_pages_of_a_list_one_a_line_are_rows(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    pages = [{"object": "list", "data": [{"a": n}, {"a": n + 1}]} for n in (1, 3)]
    path.write_text("".join(json.dumps(page) + "\n" for page in pages), encoding="utf-8")
    assert _read(path) == [{"a": 1}, {"a": 2}, {"a": 3}, {"a": 4}]


def test_a_large_cell_of_a_csv_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f'a,b\n"{"x, " * 100_000}",1\nonly one\n', encoding="utf-8")
    first, second = _read(path)
    assert first == {"a": "x, " * 100_000, "b": "1"}
    assert second.reason == "cells"


@pytest.mark.parametrize("name", ["x.json", "x.jsonl", "x.csv"])
def test_a_file_is_never_held_whole(tmp_path: Path, name: str) -> None:
    row = {"a": "word " * 400, "b": "1"}
    num_rows = 12_000  # 24 MB
    path = tmp_path / name
    with path.open("w", encoding="utf-8") as stream:
        match name:
            case "x.json":
                stream.write("[" + ",".join([json.dumps(row)] * num_rows) + "]")
            case "x.jsonl":
                stream.write("\n".join([json.dumps(row)] * num_rows))
            case _:
                stream.write("a,b\n" + f"{row['a']},1\n" * num_rows)
    tracemalloc.start()
    try:
        assert sum(row.value["b"] == "1" for row in read_source(path)) == num_rows  # type: ignore[index]
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
