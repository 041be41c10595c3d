"""`stillhouse yield`, as a user types it."""

from pathlib import Path

import pytest
from command_here import run_alone
from scan_logs import TOPICS, rows, write_log

from stillhouse.cli._yield import yield_
from stillhouse.collect import ImportConfig, import_completions
from stillhouse.curate import CurateConfig, curate
from stillhouse.tasks import Task

QUICK = ("--student", "ngram", "--seeds", "1", "--set", 'fit.noise.method="off"')


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("yield")
    log = write_log(folder / "log.jsonl", [*rows(260), *rows(60, first=900, split="test")])
    completions = import_completions(log, folder / "completions", config=ImportConfig())
    task = Task(name="mail", kind="classification", labels=TOPICS)
    config = CurateConfig(contamination="allow")
    return curate(completions.path, folder / "dataset", config=config, task=task).path


def test_a_row_for_each_budget_the_verdict_and_both_readings_are_printed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, dataset: Path
) -> None:
    budgets = ("--budgets", "20,40,80,160")
    ran = run_alone(capsys, yield_, dataset, *QUICK, *budgets, "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert ran.out.split("\n")[1].startswith("20 ")
    assert "maker: " in ran.out
    assert "owner: " in ran.out
    assert "the prediction of 160 calls from fewer" in ran.out
    assert (tmp_path / "out" / "yield.html").is_file()


def test_budgets_that_are_no_numbers_or_too_few_are_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, dataset: Path
) -> None:
    for budgets in ("20,40,80", "20,forty,80,160"):
        ran = run_alone(capsys, yield_, dataset, *QUICK, "--budgets", budgets, "--out", tmp_path)
        assert ran.code == 2
        assert "budgets" in ran.err
