"""The parts of the export benchmark that judge: goals and tables."""

import pytest
from benchmarks._export.options import ExportOptions
from benchmarks._export.tables import GOALS, formats_table, tables
from benchmarks._parts.goals import rows
from benchmarks._parts.pages import PAGE, with_tables
from benchmarks._parts.results import read


def figure(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "n": 384, "texts": 24}


@pytest.mark.parametrize(("same", "met"), [(0.995, "yes"), (0.994, "**no**")])
def test_a_goal_holds_down_to_its_limit(same: float, met: str) -> None:
    document = {"gguf-q8_0": {"same_top1": figure(same)}}
    (row,) = (row for row in rows(document, GOALS) if row.goal.words == "gguf-q8_0: same choice")
    assert row.cells[3] == met


def test_each_format_stands_with_its_size_and_both_engines() -> None:
    figures = {"same_top1": figure(0.5), "mean_kl_nats": figure(0.25), "p99_kl_nats": figure(1.0)}
    read_back = {f"transformers_{name}": of for name, of in figures.items()}
    table = formats_table({"gguf-f16": {"bytes": 270_900_000, **figures, **read_back}})
    row = "50.0 [40.0, 60.0] | 0.250000 [0.150000, 0.350000] | 1.00000 |"
    assert f"| `gguf-f16` | 270.9 | llama.cpp | {row}" in table
    assert f"| `gguf-f16` | 270.9 | transformers | {row}" in table


def test_the_page_shows_what_the_results_hold() -> None:
    page = PAGE.read_text()
    assert with_tables(page, "export", tables(read(ExportOptions().json))) == page, (
        "run: python benchmarks/export.py --table"
    )
