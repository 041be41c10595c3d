"""`stillhouse benchmarks`: what it prints and how it fails."""

from pathlib import Path

import benchmark_cases
import pytest
from cli_process import run_here
from tiny_model import make_tiny_model

pytest.importorskip("lm_eval")


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return benchmark_cases.make_tasks(tmp_path_factory.mktemp("tasks"), number=30)


@pytest.fixture(scope="module")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("base-model"), seed=1)


def test_a_run_prints_figures_verdicts_and_what_is_missing(
    tmp_path: Path,
    tiny_folder: Path,
    base_folder: Path,
    tasks: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    common = ("--tasks", "quiz, stream", "--include", tasks, "--out", tmp_path / "out")
    ran = run_here(capsys, "benchmarks", tiny_folder, "--base", f"local:{base_folder}", *common)
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0].split() == [
        "task", "metric", tiny_folder.name, base_folder.name, "n", "difference", "verdict",
    ]  # fmt: skip
    assert [line.split()[:2] for line in lines[1:3]] == [["quiz", "acc"], ["quiz", "acc_norm"]]
    assert " 30 " in lines[1]
    assert "is open on quiz, 1 of 1 task" in ran.out
    assert "no interval: stream: word_perplexity" in ran.out
    again = run_here(
        capsys, "benchmarks", tiny_folder, "--base", f"local:{base_folder}", *common, "--json"
    )
    document = again.json()
    assert (document["kind"], document["stage"]) == ("evaluation", "benchmarks")
    assert document["results"]["verdict"] in ran.out


def test_without_a_base_the_next_step_is_named(
    tmp_path: Path, tiny_folder: Path, tasks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ("--tasks", "quiz", "--include", tasks, "--max-items", 3, "--fewshot", 1, "--chat")
    ran = run_here(capsys, "benchmarks", tiny_folder, *common, "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert "verdict" not in ran.out
    assert "next: add --base MODEL" in ran.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--tasks", ","), "tasks"),
        (("--tasks", "quiz", "--margin", "2"), "margin"),
        (("--tasks", "quiz", "--base", "nowhere"), "No model at nowhere"),
    ],
)
def test_mistakes_end_with_one_line_and_code_2(
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    tiny_folder: Path,
    tasks: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ran = run_here(
        capsys, "benchmarks", tiny_folder, *arguments, "--include", tasks, "--out", tmp_path / "out"
    )
    assert ran.code == 2
    assert ran.out == ""
    (line,) = [line for line in ran.err.splitlines() if line.startswith("error: ")]
    assert message in line
