"""`stillhouse fit`: flags, what it prints, and what it refuses."""

import json
from pathlib import Path

import pytest
from cli_process import run_here

TASK = """\
name: spam
kind: classification
labels: [spam, ham]
prompt: "{text}"
"""
WORDS = {"spam": ("win", "cash", "prize", "claim", "free"), "ham": ("see", "you", "home", "late")}


@pytest.fixture
def dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    rows = []
    for number in range(120):
        label = "spam" if number % 2 else "ham"
        words = WORDS[label]
        text = f"{words[number % len(words)]} {words[(number * 7 + 1) % len(words)]} {number}"
        split = "held_out" if number % 5 == 0 else "train"
        rows.append({"prompt": text, "completion": label, "split": split})
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "task.yaml").write_text(TASK)
    done = tmp_path / "completions"
    assert run_here(capsys, "import", str(log), "--out", str(done), "--quiet").code == 0
    ran = run_here(
        capsys,
        *("curate", str(done), "--task", str(tmp_path / "task.yaml")),
        *("--set", "contamination=allow", "--out", str(tmp_path / "dataset"), "--quiet"),
    )
    assert ran.code == 0, ran.err
    return tmp_path / "dataset"


def test_a_student_is_fitted_and_says_how_it_does(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "student"
    ran = run_here(capsys, "fit", str(dataset), "--student", "ngram", "--out", str(out))
    assert ran.code == 0, ran.err
    assert ran.out.startswith("classifier in ")
    assert "agreement with the teacher on rows set aside: " in ran.out
    assert f"next: stillhouse evaluate {dataset} {out}" in ran.err


def test_a_program_gets_the_figures(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = run_here(capsys, "fit", str(dataset), "--out", str(tmp_path / "s"), "--json")
    found = json.loads(ran.out)
    assert found["kind"] == "classifier"
    validation = found["results"]["validation"]
    assert validation["low"] <= validation["agreement"] <= validation["high"]


def test_a_dataset_without_a_task_is_refused_in_one_line(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = tmp_path / "plain"
    completions = str(tmp_path / "completions")
    assert run_here(capsys, "curate", completions, "--out", str(plain), "--quiet").code == 0
    ran = run_here(capsys, "fit", str(plain), "--out", str(tmp_path / "s"))
    assert ran.code == 2
    assert "made without a task" in ran.err
    assert not (tmp_path / "s").exists()


def test_a_student_of_a_task_is_evaluated_by_the_command_of_all_students(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    student = tmp_path / "student"
    assert run_here(capsys, "fit", str(dataset), "--out", str(student), "--quiet").code == 0
    out = tmp_path / "evaluation"
    settings = ("--set", "allow_contamination=true", "--set", "num_resamples=200")
    ran = run_here(capsys, "evaluate", str(dataset), str(student), "--out", str(out), *settings)
    assert ran.code == 0, ran.err
    assert (out / "report.html").is_file()
