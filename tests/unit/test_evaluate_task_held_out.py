"""Held-out messages that nothing could be learnt from are refused with what to do."""

from pathlib import Path

import evaluate_task_cases as cases
import pytest

from stillhouse.artifacts import Artifact, Counts, begin_artifact
from stillhouse.errors import DataError
from stillhouse.evaluate._task import TaskEvaluateConfig
from stillhouse.evaluate._task._contamination import contamination_of, contamination_warnings
from stillhouse.evaluate._task._held_out import HeldOut, first_by_hash, problem_counts
from stillhouse.tasks import Task, TaskAnswer

CLEAN = {
    "rule": "refuse", "num_train": 20, "num_held_out": 40, "fraction": 0.0, "removed": 0,
    "train": {"exact": 0, "near": 0, "ngram": 0},
    "held_out": {"exact": 0, "near": 0, "ngram": 0}, "examples": [],
}  # fmt: skip


def dataset(
    folder: Path, rows: list[TaskAnswer], *, task: Task | None = None, **results: object
) -> Artifact:
    writer = begin_artifact(folder, kind="dataset", stage="curate", config={})
    writer.write_rows("answers", rows, TaskAnswer)
    given = {"task": (task or cases.classification()).model_dump(mode="json"), **results}
    kept = {"in": len(rows), "kept": len(rows)}
    return writer.finish(counts=Counts.model_validate(kept), results=given)


def read(folder: Path, rows: list[TaskAnswer], **changes: object) -> HeldOut:
    config = TaskEvaluateConfig(**changes)  # type: ignore[arg-type]
    return HeldOut.of(dataset(folder, rows), config)


def train() -> list[TaskAnswer]:
    return cases.label_rows(20, split="train", seed=3)


def test_no_held_out_message_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no held-out messages.*split: held_out"):
        read(tmp_path / "d", train())


def test_three_messages_are_too_few_to_say_anything(tmp_path: Path) -> None:
    rows = [*train(), *cases.label_rows(3, split="held_out")]
    with pytest.raises(DataError, match="holds 3 held-out messages: too few"):
        read(tmp_path / "d", rows)
    assert len(read(tmp_path / "d2", rows, min_rows=3).rows) == 3


def test_many_messages_of_few_groups_are_too_few(tmp_path: Path) -> None:
    rows = [*train(), *cases.label_rows(90, split="held_out", num_groups=4)]
    with pytest.raises(DataError, match="90 held-out messages in 4 groups"):
        read(tmp_path / "d", rows)


def test_one_class_only_is_refused(tmp_path: Path) -> None:
    same = [
        row.model_copy(update={"answer": "card_linking", "probabilities": {"card_linking": 1.0}})
        for row in cases.label_rows(40, split="held_out")
    ]
    with pytest.raises(DataError, match=r"All 40 answers .* 'card_linking'.*Hold out other"):
        read(tmp_path / "d", [*train(), *same])


def test_a_teacher_that_was_never_valid_is_refused_with_its_problems(tmp_path: Path) -> None:
    rows = [*train(), *cases.label_rows(40, split="held_out", num_invalid=40)]
    with pytest.raises(DataError, match=r"no valid answer to any of 40 .*unknown_label 40"):
        read(tmp_path / "d", rows)


def test_a_dataset_without_a_task_is_refused(tmp_path: Path) -> None:
    writer = begin_artifact(tmp_path / "d", kind="dataset", stage="curate", config={})
    writer.write_rows("answers", train(), TaskAnswer)
    made = writer.finish(counts=Counts.model_validate({"in": 20, "kept": 20}))
    with pytest.raises(DataError, match="without a task"):
        HeldOut.of(made, TaskEvaluateConfig())


def test_a_part_is_chosen_by_hash_and_stays_in_order(tmp_path: Path) -> None:
    rows = cases.label_rows(100, split="held_out")
    chosen = first_by_hash(rows, 30)
    assert len(chosen) == 30
    assert {one.prompt_id for one in chosen} == {
        one.prompt_id for one in first_by_hash(rows[::-1], 30)
    }
    places = [rows.index(one) for one in chosen]
    assert places == sorted(places)
    assert {one.prompt_id for one in chosen} <= {one.prompt_id for one in first_by_hash(rows, 31)}
    assert len(read(tmp_path / "d", [*train(), *rows], max_rows=30).rows) == 30


def test_a_group_named_like_a_message_is_another_thing() -> None:
    rows = cases.label_rows(2, split="held_out")
    rows[0] = rows[0].model_copy(update={"group": rows[1].prompt_id})
    held_out = cases.held_out_of(cases.classification(), rows, ())
    assert held_out.num_groups == 2


def test_problems_of_the_teacher_are_counted_by_kind() -> None:
    rows = cases.label_rows(5, split="held_out", num_invalid=2, num_answers=3)
    assert problem_counts(rows) == {"unknown_label": 6}


def test_contamination_that_nobody_looked_for_is_refused_unless_allowed(tmp_path: Path) -> None:
    blank = dataset(tmp_path / "d", train())
    with pytest.raises(DataError, match=r"Nobody has looked.*allow_contamination=true"):
        contamination_of(blank, is_allowed=False)
    allowed = contamination_of(blank, is_allowed=True)
    assert not allowed.is_checked
    assert "Nobody has looked" in contamination_warnings(allowed)[0]


def test_what_curation_found_is_told_as_it_found_it(tmp_path: Path) -> None:
    clean = contamination_of(
        dataset(tmp_path / "a", train(), contamination=CLEAN), is_allowed=False
    )
    assert clean.num_left == 0
    assert contamination_warnings(clean) == ()
    found = {**CLEAN, "rule": "allow", "held_out": {"exact": 3, "near": 1, "ngram": 0}}
    left = contamination_of(dataset(tmp_path / "b", train(), contamination=found), is_allowed=False)
    assert left.num_left == 4
    assert "4 of 40 held-out messages" in contamination_warnings(left)[0]
    removed = {**found, "rule": "remove", "removed": 5}
    gone = contamination_of(
        dataset(tmp_path / "c", train(), contamination=removed), is_allowed=False
    )
    assert gone.num_left == 0
