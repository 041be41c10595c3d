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


def odd_one_out(num_other: int) -> list[dict[str, object]]:
    return rows(400, answer=lambda number, topic: "spam" if number < num_other else "ham")


@pytest.mark.parametrize(("num_other", "share"), [(0, "100.0%"), (4, "99.0%")])
def test_answers_that_are_nearly_all_the_same_are_warned_of(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, num_other: int, share: str
) -> None:
    log = write_log(tmp_path / "log.jsonl", odd_one_out(num_other))
    out = tmp_path / "out"
    ran = run_alone(capsys, scan, log, *QUICK, "--out", out)
    assert ran.code == 0
    (note,) = [line for line in ran.out.splitlines() if line.startswith("note: ")]
    said = f"{400 - num_other} of 400 prompts ({share}) have the same answer, 'ham'."
    assert said in note
    assert "Check that this is the right log" in note
    page = (out / "scan.html").read_text()
    assert f"{400 - num_other} of 400 prompts" in page
    (part,) = run_alone(capsys, scan, log, *QUICK, "--json").json()["parts"]
    assert any(said in one for one in part["notes"])


@pytest.mark.parametrize(("count", "num_other"), [(400, 5), (9, 0)])
def test_answers_that_differ_or_are_very_few_are_not_warned_of(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, count: int, num_other: int
) -> None:
    log = write_log(tmp_path / "log.jsonl", odd_one_out(num_other)[:count])
    ran = run_alone(capsys, scan, log, *QUICK)
    assert ran.code == 0
    assert "have the same answer" not in ran.out
