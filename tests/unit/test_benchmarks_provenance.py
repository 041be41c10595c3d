"""The parts of the provenance benchmark that judge: goals, tables, and peers that hash the same."""

from pathlib import Path

import pytest
from benchmarks._parts.goals import rows
from benchmarks._parts.pages import PAGE, with_tables
from benchmarks._parts.results import read
from benchmarks._provenance.hashing import hashing_part
from benchmarks._provenance.options import RESULTS, Options
from benchmarks._provenance.proving import proving_part
from benchmarks._provenance.tables import GOALS, tables


@pytest.mark.parametrize(("size", "met"), [(1_000_000, "yes"), (999_999, "")])
def test_a_goal_of_a_million_rows_is_met_by_a_million_alone(size: int, met: str) -> None:
    (row,) = rows({"hashing": {"finish_s": 15, "rows": size}}, GOALS[:1])
    assert row.cells[3] == met


def test_both_parts_run_and_say_what_the_tables_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STILLHOUSE_CACHE", "")  # the part sets it; restored when the test ends
    options = Options(rows=20_000, peer_rows=200, proofs=50, rounds=1, work=tmp_path / "work")
    found = {"hashing": hashing_part(options), "proving": proving_part(options)}
    assert found["hashing"]["peers"]["rows"] == 200
    assert found["proving"]["bytes_without_row"]["max"] <= 1_024
    assert not (tmp_path / "work").exists()
    assert (
        "| `finish`: leaves, root, files, manifest |" in tables({**found, **seen(found)})["steps"]
    )


def seen(found: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    """The parts with when and where, as the script adds it."""
    given = {
        "commit": "0" * 7,
        "measured_utc": "2026-01-01T00:00:00",
        "machine": {"cores": 2},
        "load_at_start": [0.0],
    }
    return {name: {**entry, "circumstances": given} for name, entry in found.items()}


def test_the_page_shows_what_the_results_hold() -> None:
    page = PAGE.read_text()
    assert with_tables(page, "provenance", tables(read(RESULTS))) == page, (
        "run: python benchmarks/provenance.py --table"
    )
