"""Bake-offs: every stage in order, what is skipped, when one may stop."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scan_logs import TOPICS, asks, rows, write_log

from stillhouse.artifacts import Artifact, Counts, begin_artifact, open_artifact
from stillhouse.collect import ImportConfig, import_completions
from stillhouse.errors import ConfigError, DataError
from stillhouse.evaluate import read_task_results
from stillhouse.fit import ValidationRow
from stillhouse.pipeline import BakeoffConfig, BakeoffOutcome, StageEnd, bakeoff
from stillhouse.pipeline._bakeoff_enough import good_enough
from stillhouse.pipeline._bakeoff_split import SplitConfig, split, with_held_out
from stillhouse.provenance import verify
from stillhouse.records import Message, Prompt
from stillhouse.runlog import Progress
from stillhouse.tasks import Task, TaskAnswer

TASK = Task(name="mail", kind="classification", labels=TOPICS, margin=0.05)
QUICK: dict[str, Any] = {
    "students": ["ngram"],
    "fit": {"noise": {"method": "off"}},
    "evaluate": {"latency_messages": 5, "num_resamples": 100},
}


def prompt(number: int, group: str | None = None) -> Prompt:
    message = Message(role="user", content=f"text {number}")
    return Prompt(id=f"p{number}", messages=(message,), group=group)


def baked(folder: Path, **given: Any) -> BakeoffOutcome:
    settings = {**QUICK, **given.pop("settings", {})}
    inputs = given.pop("inputs", None)
    config = BakeoffConfig.model_validate(settings)
    return bakeoff(given.pop("task", TASK), inputs, folder, config=config, **given)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_log(tmp_path_factory.mktemp("log") / "log.jsonl", rows(400))


def test_logged_answers_become_a_report_and_a_second_run_does_nothing(
    log: Path, tmp_path: Path
) -> None:
    ends: list[StageEnd] = []
    told: list[Progress] = []
    outcome = baked(tmp_path, completions=log, on_stage=ends.append, on_progress=told.append)
    stages = ["import", "split", "curate", "fit ngram", "evaluate"]
    assert list(outcome.artifacts) == [end.name for end in ends] == stages
    assert set(dict.fromkeys(progress.stage for progress in told)) <= set(stages)
    assert outcome.skipped == ()
    assert outcome.stopped is None
    results = read_task_results(outcome.results_path)
    assert results.student.name == "ngram"
    assert results.student.agreement is not None
    assert results.student.agreement.value > 0.9
    assert outcome.report_path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert verify(outcome.artifacts["evaluate"].path)
    again = baked(tmp_path, completions=log)
    assert list(again.skipped) == stages


def test_a_change_makes_anew_what_depends_on_it_alone(log: Path, tmp_path: Path) -> None:
    baked(tmp_path, completions=log)
    again = baked(
        tmp_path, completions=log, settings={"fit": {"seed": 1, "noise": {"method": "off"}}}
    )
    assert again.skipped == ("import", "split", "curate")


def test_a_bakeoff_that_was_stopped_goes_on_with_the_stage_that_it_was_in(
    log: Path, tmp_path: Path
) -> None:
    def stop(progress: Progress) -> None:
        if progress.stage == "fit ngram" and progress.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        baked(tmp_path, completions=log, on_progress=stop)
    assert not (tmp_path / "evaluation").exists()
    again = baked(tmp_path, completions=log)
    assert again.skipped == ("import", "split", "curate")


def test_a_teacher_is_asked_once_and_its_answers_stay(tmp_path: Path) -> None:
    script = tmp_path / "script.jsonl"
    lines = [{"match": topic, "text": topic} for topic in TOPICS]
    script.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    inputs = write_log(tmp_path / "in.jsonl", [{"text": asks(number)[0]} for number in range(240)])
    outcome = baked(tmp_path / "out", inputs=inputs, teacher=f"fake:{script}")
    assert list(outcome.artifacts) == ["collect", "curate", "fit ngram", "evaluate"]
    held_out = [
        one
        for one in outcome.artifacts["collect"].rows("prompts", Prompt)
        if one.split == "held_out"
    ]
    assert 20 < len(held_out) < 80
    assert (tmp_path / "out" / "ledger.sqlite").is_file()


def test_it_stops_at_the_first_student_that_is_good_enough_and_says_why(
    log: Path, tmp_path: Path
) -> None:
    settings = {
        "students": ["embedding", "ngram"],  # made cheapest first all the same
        "until": "good-enough",
        "fit": {"noise": {"method": "off"}, "validation_fraction": 0.45},
    }
    task = TASK.model_copy(update={"margin": 0.1})
    outcome = baked(tmp_path, completions=log, task=task, settings=settings)
    assert outcome.stopped is not None
    assert outcome.stopped.startswith("Stopped after ngram: on ")
    assert outcome.stopped.endswith("Not made: embedding.")
    assert "fit embedding" not in outcome.artifacts


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "neither is given"),
        ({"inputs": Path("in.jsonl"), "completions": Path("log.jsonl")}, "both are given"),
        ({"completions": Path("log.jsonl"), "teacher": "fake:"}, "Leave out --teacher"),
        (
            {"completions": Path("log.jsonl"), "task": Task(name="t", kind="text")},
            "ngram answer with labels",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_done(
    tmp_path: Path, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        baked(tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()


def test_students_follow_the_kind_of_task_where_none_is_named() -> None:
    config = BakeoffConfig()
    assert config.lineup("classification") == ("ngram", "embedding", "encoder")
    assert config.lineup("extraction") == config.lineup("text") == ("lm",)
    with pytest.raises(ValueError, match="names a student twice"):
        BakeoffConfig(students=("ngram", "ngram"))


def test_what_is_held_out_does_not_depend_on_other_prompts_and_groups_stay_whole() -> None:
    prompts = [prompt(number, f"g{number // 4}") for number in range(400)]
    first = {one.id: one.split for one in with_held_out(prompts, 0.25)}
    fewer = {one.id: one.split for one in with_held_out(prompts[100:200][::-1], 0.25)}
    assert fewer.items() <= first.items()
    by_group: dict[str, set[str]] = {}
    for one in with_held_out(prompts, 0.25):
        by_group.setdefault(str(one.group), set()).add(one.split)
    assert {len(splits) for splits in by_group.values()} == {1}
    assert sum(splits == {"held_out"} for splits in by_group.values()) == pytest.approx(25, abs=12)


def test_a_split_keeps_every_row_and_needs_two_sides(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.jsonl", rows(60))
    completions = import_completions(log, tmp_path / "completions", config=ImportConfig())
    made = split(completions, tmp_path / "split", config=SplitConfig())
    assert made.manifest.counts == completions.manifest.counts
    assert made.manifest.usage.cost_usd == 0.0  # what was paid is counted once
    before = {one.id: one.messages for one in completions.rows("prompts", Prompt)}
    assert {one.id: one.messages for one in made.rows("prompts", Prompt)} == before
    one = write_log(tmp_path / "one.jsonl", rows(1))
    single = import_completions(one, tmp_path / "single", config=ImportConfig())
    with pytest.raises(DataError, match="1 prompts do not give two sides"):
        split(single, tmp_path / "half", config=SplitConfig())
    assert not (tmp_path / "half").exists()


def judged(
    folder: Path, predicted: list[str], *, answers: list[str], references: list[str | None]
) -> tuple[Artifact, Artifact]:
    """A student with these validation rows, and the dataset that they are of."""
    dataset = begin_artifact(folder / "dataset", kind="dataset", stage="curate", config={})
    dataset.write_rows(
        "answers",
        [
            TaskAnswer(
                prompt_id=f"p{n}",
                text=f"text {n}",
                answer=answer,
                num_answers=1,
                num_invalid=0,
                reference=reference,
            )
            for n, (answer, reference) in enumerate(zip(answers, references, strict=True))
        ],
        TaskAnswer,
    )
    count = Counts(num_in=len(answers), kept=len(answers))
    parent = dataset.finish(counts=count)
    student = begin_artifact(folder / "student", kind="classifier", stage="fit", config={})
    student.write_rows(
        "validation",
        [
            ValidationRow(
                prompt_id=f"p{n}",
                group=None,
                text_sha256="0" * 64,
                answer=answer,
                settled=answer,
                predicted=guess,
                confidence=0.9,
            )
            for n, (answer, guess) in enumerate(zip(answers, predicted, strict=True))
        ],
        ValidationRow,
    )
    return student.finish(counts=count), parent


def test_without_right_answers_the_teachers_have_to_be_matched(tmp_path: Path) -> None:
    answers, none = ["a"] * 300, [None] * 300
    equal = judged(tmp_path / "1", answers, answers=answers, references=none)
    reason = good_enough(*equal, margin=0.02)
    assert reason is not None
    assert reason.startswith("on 300 validation rows it gives the teacher's answer to 100.0%")
    few = judged(tmp_path / "2", answers[:40], answers=answers[:40], references=none[:40])
    assert good_enough(*few, margin=0.02) is None  # 40 rows cannot show 98 %
    other = ["a"] * 280 + ["b"] * 20
    assert (
        good_enough(*judged(tmp_path / "3", other, answers=answers, references=none), margin=0.02)
        is None
    )


def test_with_right_answers_the_student_has_to_be_shown_no_worse(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    gold = ["a"] * 1200
    teacher = ["a" if right else "b" for right in generator.uniform(size=1200) < 0.8]
    references: list[str | None] = list(gold)
    as_good = judged(tmp_path / "1", teacher, answers=teacher, references=references)
    reason = good_enough(*as_good, margin=0.05)
    assert reason is not None
    assert "not inferior" in reason
    worse = ["b"] * 200 + teacher[200:]
    assert (
        good_enough(
            *judged(tmp_path / "2", worse, answers=teacher, references=references), margin=0.05
        )
        is None
    )


def test_the_outcome_names_the_folder_of_every_student(log: Path, tmp_path: Path) -> None:
    outcome = baked(tmp_path, completions=log)
    assert outcome.artifacts["fit ngram"].path == tmp_path / "students" / "ngram"
    assert open_artifact(tmp_path / "evaluation").manifest.kind == "evaluation"
