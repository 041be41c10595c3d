import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stillhouse.errors import ConfigError
from stillhouse.settings import ROW_SUFFIXES, TableRow, iterate_rows

ROWS = [{"a": "1", "b": "x\ny"}, {"a": "2", "b": ""}, {"a": "3", "b": "\u2028"}]


def written(folder: Path, suffix: str) -> Path:
    path = folder / f"rows{suffix}"
    if suffix == ".jsonl":
        path.write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in ROWS))
    elif suffix == ".csv":
        path.write_bytes('a,b\r\n1,"x\ny"\r\n2,\r\n3,\u2028\r\n'.encode("utf-8-sig"))
    else:
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    return path


@pytest.mark.parametrize("suffix", ROW_SUFFIXES)
def test_the_same_rows_are_read_from_every_kind_of_file(tmp_path: Path, suffix: str) -> None:
    assert [row.value for row in iterate_rows(written(tmp_path, suffix))] == ROWS


@pytest.mark.parametrize("suffix", ROW_SUFFIXES)
def test_reading_goes_on_after_any_row(tmp_path: Path, suffix: str) -> None:
    path = written(tmp_path, suffix)
    rows = list(iterate_rows(path))
    for number, row in enumerate(rows, start=1):
        rest: list[TableRow] = list(iterate_rows(path, num_before=number, start=row.end))
        assert rest == rows[number:]


def test_a_missing_file_and_another_type_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        list(iterate_rows(tmp_path / "none.csv"))
    with pytest.raises(ConfigError, match=r"\.jsonl, \.csv, \.parquet"):
        list(iterate_rows(tmp_path / "rows.json"))
