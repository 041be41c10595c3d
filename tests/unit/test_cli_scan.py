"""`stillhouse scan`, as a user types it."""

from pathlib import Path

import pytest
from command_here import run_alone
from scan_logs import at_random, rows, write_log

from stillhouse.cli._scan import scan

QUICK = ("--set", "students=[ngram]", "--set", "num_folds=3")


def test_a_promise_is_printed_with_its_interval(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    log = write_log(tmp_path / "log.jsonl", rows(420))
    ran = run_alone(capsys, scan, log, *QUICK)
    assert ran.code == 0
    assert ran.out.startswith("A small student could answer ")
    assert "classification" in ran.out
    assert "420 calls" in ran.out
    assert "--out DIR" in ran.err


def test_a_refusal_is_no_failure_and_names_a_number(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    log = write_log(tmp_path / "log.jsonl", rows(50))
    ran = run_alone(capsys, scan, log, *QUICK)
    assert ran.code == 0
    assert ran.out.startswith("No promise.")
    assert "might do" in ran.out


def test_json_is_one_document_and_files_are_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    log = write_log(tmp_path / "log.jsonl", rows(230, answer=lambda n, topic: at_random(n)))
    out = tmp_path / "out"
    ran = run_alone(capsys, scan, log, *QUICK, "--json", "--target", "0.9", "--out", out)
    assert ran.code == 0
    document = ran.json()
    assert document["target"] == 0.9
    assert document["promised_share"] is None
    assert {path.name for path in out.iterdir()} >= {"scan.json", "scan.html", "task-1.yaml"}


def test_what_is_wrong_is_said_in_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    ran = run_alone(capsys, scan, tmp_path / "no.jsonl")
    assert ran.code == 2
    assert ran.err.startswith("error: ")
    log = write_log(tmp_path / "log.jsonl", rows(30))
    ran = run_alone(capsys, scan, log, "--target", "1.5")
    assert ran.code == 2
    assert "target" in ran.err
