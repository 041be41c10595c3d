"""The whole stage: real datasets and students in, verdicts, rows and a report out."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import task_cases
from report_checks import plain

from stillhouse.artifacts import Artifact, Counts, begin_artifact, check_files, open_artifact
from stillhouse.classifiers import fit_ngram, save_classifier
from stillhouse.curate import CurateConfig, curate
from stillhouse.errors import ConfigError, DataError
from stillhouse.evaluate._task import (
    PredictionRow,
    TaskEvaluateConfig,
    TaskResults,
    evaluate_task,
    read_task_results,
)
from stillhouse.records import Completion, Prompt, Record, Usage
from stillhouse.tasks import Task, TaskAnswer, task_of

WORDS = {
    "lost": ("lost", "gone", "stolen", "missing"),
    "rate": ("rate", "exchange", "euro", "dollar"),
    "top_up": ("load", "fill", "money", "add"),
}
QUICK = TaskEvaluateConfig(latency_messages=20, num_resamples=200)
TASK = task_cases.classification(*WORDS, reference="gold", margin=0.1)


@dataclass(frozen=True)
class Made:
    """A dataset with two students of it."""

    dataset: Path
    good: Path
    poor: Path


def asked(number: int) -> tuple[Prompt, str]:
    """A prompt and its right answer; every third prompt is held out."""
    label = list(WORDS)[number % 3]
    words = WORDS[label]
    text = f"my {words[number % 4]} card {words[(number // 4) % 4]} number {number} please"
    split = "held_out" if number % 3 == number // 3 % 3 else "train"
    made = task_cases.prompt(f"p{number}", text, split=split, reference=label)
    return made, label


def make_dataset(folder: Path, *, number: int = 240, task: Task = TASK, **changes: Any) -> Path:
    """A dataset of prompts that a teacher answered twice, and wrongly each tenth time."""
    prompts, completions = [], []
    for place in range(number):
        prompt, label = asked(place)
        prompts.append(prompt.model_copy(update=changes))
        for sample in range(2):
            text = "rate" if place % 10 == 3 else label
            if place % 40 == 5:
                text = "no idea"
            usage = Usage(prompt_tokens=20, completion_tokens=2, cost_usd=1e-4, seconds=0.5)
            completions.append(task_cases.completion(prompt, text, sample=sample, usage=usage))
    source = task_cases.collected(folder / "completions", prompts, completions)
    config = CurateConfig(contamination="allow")
    return curate(source, folder / "dataset", config=config, task=task).path


def make_student(
    dataset: Path,
    out: Path,
    *,
    labels: Sequence[str] | None = None,
    every: int = 1,
    agreement: float | None = 0.9,
    parent: Path | None = None,
) -> Path:
    """A classifier artefact, as fit makes one, that learnt from every so many training rows."""
    source = open_artifact(dataset)
    task = task_of(source.manifest.results)
    rows = [row for row in source.rows("answers", TaskAnswer) if row.split == "train"]
    rows = [row for row in rows if row.answer][::every]
    names = tuple(labels or task.labels)
    targets = np.array([[float(row.answer == name) for name in task.labels] for row in rows])
    targets = np.pad(targets, ((0, 0), (0, max(len(names) - targets.shape[1], 0))))
    classifier = fit_ngram([row.text for row in rows], targets, labels=names)
    writer = begin_artifact(
        out, kind="classifier", stage="fit", config={"student": "ngram"},
        parents=[open_artifact(parent or dataset)],
    )  # fmt: skip
    save_classifier(classifier, writer.work_dir, writer.new_file)
    found = {} if agreement is None else _validation(agreement)
    writer.write_rows("validation", list(_set_aside(agreement or 0.0)), SetAside)
    counts = Counts.model_validate({"in": len(rows), "kept": len(rows)})
    return writer.finish(counts=counts, usage=Usage(cost_usd=0.0, seconds=7.0), results=found).path


class SetAside(Record):
    """A row of the table that fit leaves."""

    prompt_id: str
    group: str | None
    answer: str
    predicted: str
    confidence: float


def _set_aside(agreement: float) -> Iterator[SetAside]:
    for n in range(500):
        predicted = "lost" if n < 500 * agreement else "rate"
        yield SetAside(
            prompt_id=f"v{n}", group=None, answer="lost", predicted=predicted, confidence=0.5
        )


def _validation(agreement: float) -> dict[str, Any]:
    share = {"agreement": agreement, "low": agreement - 0.1, "high": 1.0, "rows": 16}
    return {"validation": share}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("task")
    dataset = make_dataset(folder)
    good = make_student(dataset, folder / "good")
    poor = make_student(dataset, folder / "poor", every=16, agreement=0.6)
    return Made(dataset, good, poor)


@pytest.fixture(scope="module")
def judged(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return evaluate_task(
        made.dataset,
        tmp_path_factory.mktemp("out") / "evaluation",
        students={"good": made.good, "poor": made.poor},
        config=QUICK,
        title="Cards",
        command="stillhouse evaluate dataset",
    )


def results_of(artifact: Artifact) -> TaskResults:
    return read_task_results(artifact.file("results.json"))


def test_the_artefact_holds_results_report_and_predictions(judged: Artifact) -> None:
    check_files(judged)
    assert judged.manifest.kind == "evaluation"
    assert judged.manifest.stage == "evaluate"
    results = results_of(judged)
    assert judged.manifest.results["verdict"] == results.verdict
    claim = results.verdict.partition(":")[0].partition(";")[0]
    assert f"{claim}." in plain(judged.file("report.html").read_text("utf-8"))
    rows = list(judged.rows("predictions", PredictionRow))
    names = {system.name for system in results.systems if system.role != "teacher"}
    assert {row.student for row in rows} == names
    assert len(rows) == len(names) * results.counts.held_out


def test_figures_are_those_of_a_naive_count(judged: Artifact, made: Made) -> None:
    results = results_of(judged)
    rows = [row for row in judged.rows("predictions", PredictionRow) if row.student == "good"]
    answers = {
        row.prompt_id: row for row in open_artifact(made.dataset).rows("answers", TaskAnswer)
    }
    agrees = [
        row.answer == answers[row.prompt_id].answer
        for row in rows
        if answers[row.prompt_id].answer is not None
    ]
    right = [row.answer == answers[row.prompt_id].reference for row in rows]
    good = results.system("good")
    assert good.agreement is not None
    assert good.gold is not None
    assert good.agreement.value == pytest.approx(np.mean(agrees))
    assert (good.agreement.n, good.gold.n) == (len(agrees), len(right))
    assert good.gold.value == pytest.approx(np.mean(right))
    held = [row for row in answers.values() if row.split == "held_out"]
    teacher = results.teacher.gold
    assert teacher is not None
    assert teacher.value == pytest.approx(np.mean([row.answer == row.reference for row in held]))
    assert results.counts.with_teacher == sum(row.answer is not None for row in held)


def test_what_is_always_shown_is_shown_or_missing_with_a_reason(judged: Artifact) -> None:
    results = results_of(judged)
    roles = [system.role for system in results.systems]
    assert roles == ["teacher", "student", "student", "majority"]
    assert set(results.missing) == {"untuned base"}  # n-gram students began from nothing
    assert results.self_agreement.agreement is not None
    assert results.self_agreement.agreement.value == 1.0
    assert results.self_agreement.agreement.low < 1.0
    assert results.contamination.is_checked
    assert results.counts.invalid_answers == {"unknown_label": 12}


def test_every_comparison_is_made_and_the_recommended_one_first(judged: Artifact) -> None:
    results = results_of(judged)
    assert results.recommendation.student == "good"
    assert results.recommendation.best == "good"
    made = {(one.family, one.metric, one.a, one.b) for one in results.comparisons}
    for metric in ("gold", "agreement"):
        assert ("baselines", metric, "good", "majority") in made
        assert ("baselines", metric, "poor", "majority") in made
        assert ("students", metric, "good", "poor") in made
    assert ("teacher", "gold", "good", "teacher") in made
    assert ("self_agreement", "agreement", "good", "teacher") in made
    against_majority = results.comparison("good", "majority", "gold")
    assert against_majority is not None
    assert against_majority.verdict == "better"


def test_costs_times_and_sizes_are_taken_from_manifests_and_the_clock(judged: Artifact) -> None:
    results = results_of(judged)
    good, teacher = results.system("good"), results.teacher
    assert good.training_seconds == pytest.approx(7.0, abs=0.5)
    assert good.num_bytes is not None
    assert good.num_bytes > 1_000
    assert good.latency is not None
    assert good.latency.median_s.n == 20
    assert teacher.usd_per_1000 is not None
    assert teacher.usd_per_1000.value == pytest.approx(0.1)
    assert teacher.latency is not None
    assert teacher.latency.is_logged
    even = results.break_even["good"]
    assert even.requests is not None
    assert even.fixed_usd > 0


def test_the_same_inputs_are_not_judged_again(judged: Artifact, made: Made) -> None:
    before = judged.file("results.json").stat().st_mtime_ns
    again = evaluate_task(
        made.dataset,
        judged.path,
        students={"good": made.good, "poor": made.poor},
        config=QUICK,
        title="Cards",
        command="stillhouse evaluate dataset",
    )
    assert again.file("results.json").stat().st_mtime_ns == before


def test_the_cheapest_within_the_margin_is_recommended_and_confirmed_or_not(
    made: Made, tmp_path: Path
) -> None:
    small = make_student(made.dataset, tmp_path / "small", every=16, agreement=0.89)
    artifact = evaluate_task(
        made.dataset,
        tmp_path / "out",
        students={"large": made.good, "small": small},
        config=TaskEvaluateConfig(latency_messages=0, num_resamples=200),
    )
    results = results_of(artifact)
    assert (results.recommendation.student, results.recommendation.best) == ("small", "large")
    confirming = next(one for one in results.comparisons if one.family == "confirmation")
    assert (confirming.a, confirming.b) == ("small", "large")
    is_confirmed = confirming.verdict in ("better", "non_inferior")
    assert results.recommendation.is_confirmed == is_confirmed
    words = plain(artifact.file("report.html").read_text("utf-8"))
    assert ("messages confirm that it is no worse than large" in words) == is_confirmed
    assert ("messages do not confirm that it is no worse" in words) != is_confirmed


def test_a_student_of_another_dataset_is_refused_by_its_lineage(made: Made, tmp_path: Path) -> None:
    other = make_dataset(tmp_path / "other", number=120)
    stranger = make_student(other, tmp_path / "stranger")
    with pytest.raises(DataError, match=r"'stranger' was not fitted on .* but on .*other"):
        evaluate_task(made.dataset, tmp_path / "out", students={"stranger": stranger}, config=QUICK)
    assert not (tmp_path / "out").exists()


def test_a_student_with_other_labels_is_refused_by_name(made: Made, tmp_path: Path) -> None:
    extra = make_student(made.dataset, tmp_path / "extra", labels=(*WORDS, "other"))
    with pytest.raises(ConfigError, match=r"'extra' was fitted for other labels .* has 'other'"):
        evaluate_task(made.dataset, tmp_path / "out", students={"extra": extra}, config=QUICK)


def test_a_damaged_student_gives_no_figure(made: Made, tmp_path: Path) -> None:
    broken = make_student(made.dataset, tmp_path / "broken")
    (broken / "classifier.json").write_text("{}")
    with pytest.raises(DataError):
        evaluate_task(made.dataset, tmp_path / "out", students={"broken": broken}, config=QUICK)


@pytest.mark.parametrize("name", ["teacher", "majority", "untuned base", "n-grams", " "])
def test_names_that_the_report_uses_are_refused(made: Made, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError):
        evaluate_task(made.dataset, tmp_path / "out", students={name: made.good}, config=QUICK)


def test_no_student_and_an_unknown_one_are_refused(made: Made, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no student to judge"):
        evaluate_task(made.dataset, tmp_path / "out", students={}, config=QUICK)
    with pytest.raises(ConfigError, match="is a dataset artefact"):
        evaluate_task(made.dataset, tmp_path / "out", students={"d": made.dataset}, config=QUICK)
    wanted = QUICK.model_copy(update={"student": "absent"})
    with pytest.raises(ConfigError, match="none of the students"):
        evaluate_task(made.dataset, tmp_path / "out", students={"g": made.good}, config=wanted)


def test_a_baseline_on_n_grams_is_fitted_where_no_student_is_one(
    made: Made, tmp_path: Path
) -> None:
    artifact = open_artifact(made.good)
    writer = begin_artifact(
        tmp_path / "head", kind="classifier", stage="fit", config={"student": "embedding"},
        parents=[open_artifact(made.dataset)],
    )  # fmt: skip
    for entry in artifact.manifest.files:
        writer.new_file(entry.name).write_bytes(artifact.file(entry.name).read_bytes())
    head = writer.finish(counts=Counts.model_validate({"in": 1, "kept": 1}))
    results = results_of(
        evaluate_task(made.dataset, tmp_path / "out", students={"head": head.path}, config=QUICK)
    )
    ngram = next(system for system in results.systems if system.role == "ngram")
    assert ngram.agreement is not None
    assert ngram.agreement.value > 0.6
    assert ngram.calibration is not None


def test_without_right_answers_the_verdict_is_about_agreement(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path, number=180, reference=None)
    student = make_student(dataset, tmp_path / "student")
    artifact = evaluate_task(dataset, tmp_path / "out", students={"only": student}, config=QUICK)
    results = results_of(artifact)
    assert results.teacher.gold is None
    assert "no right answers" in results.verdict
    assert {one.metric for one in results.comparisons} == {"agreement"}
    raw = json.loads(artifact.file("results.json").read_bytes())
    assert raw["counts"]["with_gold"] == 0


def test_groups_widen_the_intervals(tmp_path: Path) -> None:
    plain = make_dataset(tmp_path / "plain", number=240)
    grouped = make_dataset(tmp_path / "grouped", number=240)
    rewritten = open_artifact(grouped)
    rows = [
        row.model_copy(update={"group": f"g{n // 6}"})
        for n, row in enumerate(rewritten.rows("answers", TaskAnswer))
    ]
    writer = begin_artifact(
        tmp_path / "with groups", kind="dataset", stage="curate", config={},
        parents=[open_artifact(tmp_path / "grouped" / "completions")],
    )  # fmt: skip
    writer.write_rows("answers", rows, TaskAnswer)
    dataset = writer.finish(
        counts=rewritten.manifest.counts, results=rewritten.manifest.results
    ).path
    found = {}
    for name, source in (("plain", plain), ("groups", dataset)):
        student = make_student(source, tmp_path / f"student {name}", every=16)
        artifact = evaluate_task(
            source, tmp_path / f"out {name}", students={"s": student}, config=QUICK
        )
        found[name] = results_of(artifact).system("s").agreement
    assert found["plain"] is not None
    assert found["groups"] is not None
    assert found["groups"].value == found["plain"].value
    assert found["groups"].method == "bootstrap"
    assert found["groups"].num_clusters < found["plain"].num_clusters


def test_a_teacher_of_unknown_price_has_no_break_even(tmp_path: Path) -> None:
    prompts = [asked(n)[0] for n in range(120)]
    completions: list[Completion] = [
        task_cases.completion(prompt, asked(n)[1]) for n, prompt in enumerate(prompts)
    ]
    source = task_cases.collected(tmp_path / "completions", prompts, completions)
    config = CurateConfig(contamination="allow")
    dataset = curate(source, tmp_path / "dataset", config=config, task=TASK).path
    student = make_student(dataset, tmp_path / "student")
    results = results_of(
        evaluate_task(dataset, tmp_path / "out", students={"s": student}, config=QUICK)
    )
    assert results.teacher.usd_per_1000 is None
    assert results.break_even == {}
    assert results.self_agreement.why_not == "not measured: collect with --samples 2 or more"
    priced = QUICK.model_copy(update={"teacher_usd_per_1000": 2.0})
    results = results_of(
        evaluate_task(dataset, tmp_path / "out2", students={"s": student}, config=priced)
    )
    assert results.break_even["s"].requests is not None


def test_judging_n_gram_students_loads_no_torch(made: Made, tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from stillhouse.evaluate import TaskEvaluateConfig, evaluate_task
dataset, student, out = map(Path, sys.argv[1:])
config = TaskEvaluateConfig(latency_messages=0, num_resamples=100)
evaluate_task(dataset, out, students={"s": student}, config=config)
print("torch" in sys.modules)
"""
    arguments = [str(made.dataset), str(made.good), str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
