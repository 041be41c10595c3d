"""`stillhouse economics`, as a user types it."""

import json
import os
from pathlib import Path

import economics_cases as cases
import pytest
import report_cases
import test_evaluate_task as task_chain
from artifact_chains import listing
from command_here import run_alone

from stillhouse.artifacts import Counts, begin_artifact, open_artifact
from stillhouse.cli._economics import economics
from stillhouse.economics import Assumptions
from stillhouse.evaluate import evaluate_task


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of a task, two students and their evaluation."""
    folder = tmp_path_factory.mktemp("run")
    dataset = task_chain.make_dataset(folder)
    good = task_chain.make_student(dataset, folder / "good")
    poor = task_chain.make_student(dataset, folder / "poor", every=16, agreement=0.6)
    students = {"good": good, "poor": poor}
    evaluate_task(dataset, folder / "evaluation", students=students, config=task_chain.QUICK)
    return folder


def test_the_accounts_are_printed_and_nothing_is_written(
    capsys: pytest.CaptureFixture[str], run: Path
) -> None:
    before = listing(run)
    ran = run_alone(capsys, economics, run / "evaluation")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("It pays back after ")
    assert "over 1,000,000 requests:" in ran.out
    assert "labelling calls" in ran.out
    assert "unrecorded" in ran.out
    assert listing(run) == before


def test_an_evaluation_of_it_tells_how_fast_a_student_is(
    capsys: pytest.CaptureFixture[str], run: Path
) -> None:
    alone = run_alone(capsys, economics, run / "poor", "--json")
    assert json.loads(alone.out)["student_usd"] is None
    evaluation = ("--evaluation", run / "evaluation")
    timed = json.loads(run_alone(capsys, economics, run / "poor", *evaluation, "--json").out)
    latency = next(
        one["latency"]
        for one in json.loads((run / "evaluation" / "results.json").read_bytes())["systems"]
        if one["name"] == "poor"
    )
    per_second = latency["num_threads"] * Assumptions().usd_per_core_hour / 3_600
    wanted = latency["mean_s"]["value"] * per_second
    assert timed["student_usd"]["value"] == pytest.approx(wanted, rel=1e-9)
    assert timed["break_even"]["requests"] > 0


def test_an_evaluation_of_another_student_is_refused(
    capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path
) -> None:
    other = cases.student_of(tmp_path).path
    ran = run_alone(capsys, economics, other, "--evaluation", run / "evaluation")
    assert ran.code == 2
    assert "measured good, poor, not what" in ran.err
    ran = run_alone(capsys, economics, other, "--evaluation", other)
    assert ran.code == 2
    assert "this step needs evaluation" in ran.err


def test_page_and_document_are_written_where_asked(
    capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ran = run_alone(capsys, economics, run / "evaluation", "--out", out, "--volume", "5000")
    assert ran.code == 0, ran.err
    page = (out / "economics.html").read_text("utf-8")
    assert f"stillhouse economics {run / 'evaluation'} --volume 5000 --out {out}" in page
    assert json.loads((out / "economics.json").read_bytes())["requests"] == 5_000.0
    first = listing(out)
    run_alone(capsys, economics, run / "evaluation", "--out", out, "--volume", "5000", "--quiet")
    assert listing(out) == first
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    ran = run_alone(capsys, economics, run / "evaluation", "--out", in_the_way)
    assert ran.code == 2
    assert "cannot be written" in ran.err


def test_assumptions_are_written_edited_and_read_back(
    capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a.yaml"
    ran = run_alone(capsys, economics, "--write-assumptions", path, "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["assumptions"] == str(path)
    text = path.read_text("utf-8").replace("teacher_share: null", "teacher_share: 0.5")
    path.write_text(text, encoding="utf-8")
    ran = run_alone(capsys, economics, run / "evaluation", "--assumptions", path, "--json")
    found = json.loads(ran.out)
    assert found["teacher_share"]["value"] == 0.5
    again = run_alone(capsys, economics, "--write-assumptions", path)
    assert again.code == 2
    assert "is not overwritten" in again.err


@pytest.mark.parametrize("volume", ["0", "-5", "nan", "inf"])
def test_a_volume_is_a_number_above_0(
    capsys: pytest.CaptureFixture[str], run: Path, volume: str
) -> None:
    ran = run_alone(capsys, economics, run / "evaluation", "--volume", volume)
    assert ran.code == 2
    assert ran.err.startswith("error: --volume: requests is")
    assert ran.out == ""


def test_a_folder_is_needed_unless_assumptions_are_written(
    capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path
) -> None:
    ran = run_alone(capsys, economics)
    assert ran.code == 2
    assert "Give DIR" in ran.err
    ran = run_alone(capsys, economics, run, "--write-assumptions", tmp_path / "a.yaml")
    assert ran.code == 2
    assert not (tmp_path / "a.yaml").exists()
    ran = run_alone(capsys, economics, run)
    assert ran.code == 2
    assert "is not an artefact" in ran.err


def test_the_evaluation_of_a_language_model_tells_its_time_too(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    student = cases.student_of(tmp_path)
    models = [
        model.model_copy(update={"name": "mine", "latency_s_per_completion": 0.25})
        if model.role == "student" and model.name == report_cases.results().models[1].name
        else model
        for model in report_cases.results().models
    ]
    results = report_cases.results(models=tuple(models), comparisons=(), samples=())
    writer = begin_artifact(
        tmp_path / "evaluation",
        kind="evaluation",
        stage="evaluate",
        config={"students": ["mine"]},
        parents=[open_artifact(tmp_path / "dataset"), student],
    )
    writer.new_file("results.json").write_bytes(results.to_bytes())
    evaluation = writer.finish(counts=Counts(num_in=1, kept=1))
    given = (student.path, "--evaluation", evaluation.path, "--json")
    ran = run_alone(capsys, economics, *given)
    assert ran.code == 0, ran.err
    per_second = (os.cpu_count() or 1) * Assumptions().usd_per_core_hour / 3_600
    assert json.loads(ran.out)["student_usd"]["value"] == pytest.approx(0.25 * per_second)
    other = cases.student_of(tmp_path / "other")
    ran = run_alone(capsys, economics, other.path, "--evaluation", evaluation.path)
    assert ran.code == 2
    assert "measured mine, not what" in ran.err
