"""`stillhouse bakeoff`, as a user types it."""

from pathlib import Path

import pytest
import yaml
from command_here import run_alone
from scan_logs import TOPICS, rows, write_log

from stillhouse.cli._bakeoff import bakeoff

QUICK = (
    "--students",
    "ngram",
    "--set",
    'fit.noise.method="off"',
    "--set",
    "evaluate.latency_messages=5",
    "--set",
    "evaluate.num_resamples=100",
)


@pytest.fixture
def task(tmp_path: Path) -> Path:
    path = tmp_path / "task.yaml"
    settings = {"name": "mail", "kind": "classification", "labels": list(TOPICS)}
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def test_systems_and_the_verdict_are_printed_with_the_reports_place(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, task: Path
) -> None:
    log = write_log(tmp_path / "log.jsonl", rows(400))
    out = tmp_path / "out"
    ran = run_alone(capsys, bakeoff, task, "--from", log, "--out", out, *QUICK)
    assert ran.code == 0, ran.err
    assert "ngram" in ran.out
    assert "majority" in ran.out
    assert "[95 %]" in ran.out
    assert f"report  {out / 'evaluation' / 'report.html'}" in ran.out
    assert "fit ngram: classifier in " in ran.err
    again = run_alone(capsys, bakeoff, task, "--from", log, "--out", out, *QUICK)
    assert "5 stages were complete" in again.out


def test_json_is_one_document(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, task: Path
) -> None:
    log = write_log(tmp_path / "log.jsonl", rows(300))
    out = tmp_path / "out"
    ran = run_alone(capsys, bakeoff, task, "--from", log, "--out", out, "--json", *QUICK)
    document = ran.json()
    assert set(document["artifacts"]) == {"import", "split", "curate", "fit ngram", "evaluate"}
    assert document["results"]["task"]["name"] == "mail"


def test_what_is_wrong_is_said_before_anything_is_done(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, task: Path
) -> None:
    ran = run_alone(capsys, bakeoff, task, "--out", tmp_path / "out")
    assert ran.code == 2
    assert "neither is given" in ran.err
    ran = run_alone(capsys, bakeoff, task, "--from", task, "--students", "forest")
    assert ran.code == 2
    assert "students" in ran.err
