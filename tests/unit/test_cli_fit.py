"""`stillhouse fit`: flags, what it prints, and what it refuses."""

import json
from pathlib import Path

import pytest
from cli_process import run_here, run_there
from fit_cases import a_dataset, an_answer, rows_of

from stillhouse.errors import DataError
from stillhouse.fit import FitConfig, fit
from stillhouse.fit._split import validation_flags
from stillhouse.tasks import TaskAnswer

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


TOO_LITTLE = {
    "one_class": (
        [an_answer(number, "card", f"card {number}") for number in range(60)],
        "All 60 training rows have the same label ('card')",
    ),
    "empty": ([], "has no training rows"),
    "three": (rows_of(3)[0], "There are 3 training rows with a valid answer"),
}


@pytest.mark.parametrize("name", list(TOO_LITTLE))
@pytest.mark.parametrize("student", ["ngram", "embedding", "encoder"])
def test_too_little_to_learn_from_is_one_line_and_leaves_what_was_there(
    name: str, student: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, words = TOO_LITTLE[name]
    a_dataset(tmp_path / "dataset", rows)
    a_dataset(tmp_path / "good", rows_of(60)[0])
    out = tmp_path / "student"
    assert run_here(capsys, "fit", tmp_path / "good", "--out", out, "--quiet").code == 0
    before = (out / "manifest.json").read_bytes()
    command = ("fit", tmp_path / "dataset", "--student", student, "--out", out, "--force")
    ran = run_here(capsys, *command, "--quiet")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1
    assert words in ran.err
    assert (out / "manifest.json").read_bytes() == before


def log_of(path: Path, completions: list[str]) -> Path:
    lines = [
        json.dumps({"prompt": f"text {number}", "completion": text, "split": "train"}) + "\n"
        for number, text in enumerate(completions)
    ]
    path.write_text("".join(lines))
    return path


@pytest.mark.parametrize(
    ("completions", "command", "words"),
    [
        ([], "import", "has no rows"),
        (["spam"] * 40, "curate", "All 40 valid training answers"),
        (["spam", "ham", "spam"], "fit", "There are 3 training rows"),
    ],
)
def test_a_log_with_too_little_in_it_stops_at_the_stage_that_can_tell(
    completions: list[str], command: str, words: str, tmp_path: Path
) -> None:
    log = log_of(tmp_path / "log.jsonl", completions)
    (tmp_path / "task.yaml").write_text(TASK)
    stages = (
        ("import", log, "--out", "completions"),
        ("curate", "completions", "--task", "task.yaml", "--out", "dataset"),
        ("fit", "dataset", "--student", "ngram", "--out", "student"),
    )
    for stage in stages:
        ran = run_there(*stage, "--quiet", cwd=tmp_path)
        if stage[0] == command:
            break
        assert ran.code == 0, ran.err
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.count("\n") == 1
    assert words in ran.err


def test_other_labels_that_were_all_set_aside_are_asked_for(tmp_path: Path) -> None:
    card = [an_answer(number, "card", f"card {number}") for number in range(60)]
    is_aside_N = validation_flags(card, FitConfig().validation_fraction)
    rows: list[TaskAnswer] = [
        an_answer(number, "cash", f"cash {number}") if is_aside else row
        for number, (row, is_aside) in enumerate(zip(card, is_aside_N, strict=True))
    ]
    a_dataset(tmp_path / "dataset", rows)
    with pytest.raises(DataError, match="others were set aside") as caught:
        fit(tmp_path / "dataset", tmp_path / "student", config=FitConfig())
    assert f"All {int((~is_aside_N).sum())} rows to learn from" in str(caught.value)
    assert not (tmp_path / "student").exists()


def test_a_certificate_is_printed_or_refused_with_what_would_do(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    student, out = tmp_path / "student", tmp_path / "cascade"
    assert run_here(capsys, "fit", str(dataset), "--out", str(student), "--quiet").code == 0
    certify = ("certify", str(student), str(dataset), "--out", str(out))
    ran = run_here(capsys, *certify)
    assert ran.code == 2
    assert "error: 24 rows do not certify 0.97 agreement at 0.95 confidence" in ran.err
    assert "about 99 independent rows would do" in ran.err
    assert not out.exists()
    ran = run_here(capsys, *certify, "--target", "0.8", "--confidence", "0.9")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("80 % agreement certified at 90 % confidence: the student answers")
    assert f"cascade in {out}: 24 of 24 used" in ran.out
    ran = run_here(capsys, *certify, "--target", "0.8", "--confidence", "0.9", "--json")
    assert json.loads(ran.out)["results"]["n"] == 24
