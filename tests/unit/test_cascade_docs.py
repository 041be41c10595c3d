"""The page on cascades shows what there is: its code runs, its tables and figures are right."""

import re
from pathlib import Path
from typing import get_args

from certify_cases import bank_rows, fitted_bank

from stillhouse.cascade import CascadeRow, WatchConfig, WatchStatus
from stillhouse.certify import CertifyConfig, GradedRow, certify
from stillhouse.statistics import expected_breach_delay, rows_to_certify

PAGE = (Path(__file__).parents[2] / "docs" / "cascade.md").read_text(encoding="utf-8")


def first_cells(after: str) -> list[str]:
    """The names in the first column of the first table after a text."""
    table = PAGE.split(after, 1)[1].split("\n\n")[1]
    cells = re.findall(r"^\| ([^|]*`[^|]*) \|", table, re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]


def test_the_code_of_the_page_runs(tmp_path: Path) -> None:
    dataset, fitted = fitted_bank(tmp_path, bank_rows(500, held_out=150))
    certify(fitted, dataset, tmp_path / "cascade", config=CertifyConfig(target=0.9))
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    there = code.replace('Path("cascade")', f"Path({str(tmp_path / 'cascade')!r})")
    assert there != code
    names: dict[str, object] = {}
    exec(compile(there, "docs/cascade.md", "exec"), names)
    assert '"schema_version":1' in str(names["kept"])


def test_every_column_grade_and_state_is_explained() -> None:
    assert first_cells("`rows-*.parquet`:") == list(CascadeRow.model_fields)
    assert first_cells("a row for each prompt:") == list(GradedRow.model_fields)
    states = get_args(WatchStatus.model_fields["state"].annotation)
    assert first_cells("cascade.watch(snapshot=...)") == list(states)


def test_the_figures_of_the_page_are_what_the_code_gives() -> None:
    assert f"{rows_to_certify(0.03)} rows without an error" in PAGE
    assert f"{rows_to_certify(0.03, expected=0.02)} at 2 % of errors" in PAGE
    config = WatchConfig()
    assert f"once in {config.drift_run_length:,.0f} requests" in PAGE
    assert f"once in {config.breach_run_length:,.0f} audits" in PAGE
    assert f"Of all requests {100 * config.audit_fraction:g} % are audited" in PAGE
    audits = expected_breach_delay(0.03, 0.1, average_run_length=config.breach_run_length)
    assert f"about {round(audits, -1):.0f}, which" in PAGE
    assert f"are {round(audits, -1) / config.audit_fraction:,.0f} requests" in PAGE
    assert f"at most {CertifyConfig().gate.max_centres:,} centres" in PAGE
