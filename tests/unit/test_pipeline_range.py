"""A whole range on tiny models: what copiers see, what is kept, and what comes out of it."""

import contextlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from cli_process import run_here
from range_cases import config_of, settings, write_keys
from tiny_model import make_tiny_model

from stillhouse.artifacts import FolderLock, open_artifact
from stillhouse.cli._range import range_text
from stillhouse.errors import ConfigError, DataError, FolderBusyError, IntegrityError
from stillhouse.pipeline import (
    RANGE_DIR,
    RangeResults,
    RangeRow,
    attack_range,
    range_config,
    read_range,
)
from stillhouse.records import Example


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Path:
    """The folder of a finished range, with its config beside it."""
    folder = tmp_path_factory.mktemp("range")
    base = make_tiny_model(folder / "base", seed=5)
    given = settings(folder, tiny_folder, base)
    (folder / "range.yaml").write_text(json.dumps(given), encoding="utf-8")
    write_keys(folder / "out" / "keys")
    attack_range(folder / "out", config=config_of(given), config_dir=folder)
    return folder


@pytest.fixture(scope="module")
def results(made: Path) -> RangeResults:
    return read_range(made / "out" / "results.json")


@pytest.fixture(scope="module")
def rows(results: RangeResults) -> dict[tuple[str, str], RangeRow]:
    return {(row.defence, row.attack): row for row in results.fields[0].rows}


def given_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "range.yaml").read_text(encoding="utf-8")))


def lessons_of(made: Path, row: RangeRow) -> list[Example]:
    for folder in (made / "out" / "words" / "students").iterdir():
        student = open_artifact(folder / "student")
        if student.manifest_sha256 == row.student_sha256:
            return list(open_artifact(folder / "dataset").rows("examples", Example))
    raise AssertionError(row)


def test_countermeasures_are_tried_where_there_is_something_to_counter(
    rows: dict[tuple[str, str], RangeRow],
) -> None:
    assert set(rows) == {
        *((defence, "text") for defence in ("none", "gumbel", "hide", "watched")),
        *((defence, "logprobs") for defence in ("none", "gumbel", "hide", "watched")),
        ("gumbel", "mixed"),
        ("watched", "accounts"),
    }


def test_copies_are_better_than_what_they_started_from(results: RangeResults) -> None:
    field = results.fields[0]
    for row in field.rows:
        assert row.quality.kl_nats.value < field.base_kl_nats.value
        assert row.quality.gap_closed.value == pytest.approx(
            1 - row.quality.kl_nats.value / field.base_kl_nats.value
        )
        assert row.quality.gap_closed.low <= row.quality.gap_closed.value
        assert row.quality.right is None


def test_shown_logprobs_make_a_better_copy_than_text(
    rows: dict[tuple[str, str], RangeRow],
) -> None:
    shown, text = rows["none", "logprobs"], rows["none", "text"]
    assert shown.learns == "logprobs"
    assert shown.quality.gap_closed.low > text.quality.gap_closed.value


def test_hidden_logprobs_leave_the_text_and_the_same_student(
    rows: dict[tuple[str, str], RangeRow],
) -> None:
    hidden = rows["hide", "logprobs"]
    assert (hidden.learns, hidden.is_fallback) == ("text", True)
    assert hidden.student_sha256 == rows["none", "text"].student_sha256
    assert not rows["none", "logprobs"].is_fallback


def test_a_mark_is_found_in_who_learnt_it_and_in_no_innocent_model(
    results: RangeResults, rows: dict[tuple[str, str], RangeRow]
) -> None:
    marked = rows["gumbel", "text"].detection
    assert marked.test == "radioactivity"
    assert marked.log10_p is not None
    assert marked.log10_p < -3
    assert marked.lesson_log10_p is not None
    assert marked.lesson_log10_p < -20
    (control,) = results.fields[0].controls
    assert (control.defence, control.attack) == ("gumbel", "logprobs")
    assert control.trace.log10_p > -3
    for defence in ("none", "hide"):
        assert rows[defence, "text"].detection.log10_p is None
        assert rows[defence, "text"].detection.reason


def test_half_of_mixed_lessons_come_from_the_model_without_a_mark(
    made: Path, rows: dict[tuple[str, str], RangeRow]
) -> None:
    marked = {one.prompt_id: one for one in lessons_of(made, rows["gumbel", "text"])}
    mixed = lessons_of(made, rows["gumbel", "mixed"])
    same = [one.completion == marked[one.prompt_id].completion for one in mixed]
    assert len(mixed) == 36
    assert sum(same) == 18
    assert same[:6].count(True) == 3  # spread over all prompts
    # Only what the teacher wrote is held against what the teacher finds likely.
    assert [one.completion_token_ids is not None for one in mixed] == same


def test_a_limit_leaves_fewer_lessons_and_accounts_bring_them_back(
    rows: dict[tuple[str, str], RangeRow],
) -> None:
    alone, together = rows["watched", "text"], rows["watched", "accounts"]
    assert alone.num_lessons == alone.collected == 12  # 4 a day for 3 days
    assert together.num_lessons == 36
    assert together.student_sha256 == rows["none", "text"].student_sha256
    assert alone.detection.test == "traffic"
    assert alone.detection.log10_p is not None
    assert alone.cost.refused is not None
    assert alone.cost.refused.value > 0
    assert alone.cost.share.value == pytest.approx(alone.cost.refused.value)


def test_no_defence_costs_nothing_and_an_unbiased_mark_nothing_that_shows(
    rows: dict[tuple[str, str], RangeRow],
) -> None:
    nothing = rows["none", "text"].cost
    assert (nothing.share.value, nothing.share.high) == (0.0, 0.0)
    cost = rows["gumbel", "text"].cost
    assert cost.nll_nats is not None
    assert cost.nll_nats.low < 0.0 < cost.nll_nats.high
    assert cost.time_ratio is not None
    assert cost.time_ratio > 0
    assert cost.refused is cost.lost_logprobs is cost.lost_reasoning is None


def test_the_mark_goes_with_datasets_and_students(
    made: Path, rows: dict[tuple[str, str], RangeRow]
) -> None:
    marks = set()
    for folder in (made / "out" / "words" / "students").iterdir():
        student = open_artifact(folder / "student")
        if student.manifest.watermark is not None:
            marks.add(student.manifest_sha256)
    marked = {row.student_sha256 for key, row in rows.items() if key[0] == "gumbel"}
    assert marks == marked


def test_nothing_is_made_twice_and_progress_ends_where_it_said_it_would(
    made: Path, results: RangeResults
) -> None:
    def stamps() -> dict[Path, int]:
        kept = [*made.glob("out/**/manifest.json"), *made.glob("out/**/measured/*.json")]
        return {path: path.stat().st_mtime_ns for path in [*kept, *made.glob("out/traffic/*")]}

    before, told = stamps(), []
    again = attack_range(
        made / "out", config=config_of(given_of(made)), config_dir=made, on_progress=told.append
    )
    assert stamps() == before
    assert again.fields == results.fields
    steps = [one for one in told if one.stage == "range"]
    assert (steps[0].done, steps[-1].done) == (0, steps[-1].total)


def test_the_page_and_the_drawing_are_whole_and_hold_every_pair(
    made: Path, results: RangeResults
) -> None:
    page = (made / "out" / "range.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert results.verdict in page
    drawn = ElementTree.fromstring((made / "out" / "range.svg").read_text(encoding="utf-8"))
    texts = [one.text or "" for one in drawn.iter("{http://www.w3.org/2000/svg}text")]
    for number, row in enumerate(results.fields[0].rows, start=1):
        assert f"{number}  {row.defence} \N{MIDDLE DOT} {row.attack}" in texts
    assert any("same student" in note for note in results.notes)


def test_keys_are_for_the_owner_alone(made: Path) -> None:
    keys = made / "out" / "keys"
    assert (keys / "range.watermark-key").stat().st_mode & 0o077 == 0
    assert (keys / "traffic.key").stat().st_mode & 0o077 == 0


def test_what_was_damaged_is_told_and_not_used(made: Path, tmp_path: Path) -> None:
    copy = tmp_path / "range"
    shutil.copytree(made, copy, symlinks=True)
    trace = next(copy.glob("out/words/measured/trace-*.json"))
    trace.write_text('{"log10_p": -300}', encoding="utf-8")
    with pytest.raises(IntegrityError, match="Remove it"):
        attack_range(copy / "out", config=config_of(given_of(copy)), config_dir=copy)
    (copy / "results.json").write_text("{}", encoding="utf-8")
    with pytest.raises(IntegrityError, match="no range that can be read"):
        read_range(copy / "results.json")
    with pytest.raises(IntegrityError, match="cannot be read"):
        read_range(copy / "nowhere.json")


def test_two_processes_do_not_work_on_one_range(made: Path) -> None:
    lock = FolderLock(made / "out" / ".lock", owner=made / "out")
    with pytest.raises(FolderBusyError):
        attack_range(made / "out", config=config_of(given_of(made)), config_dir=made)
    lock.release()


def test_too_few_prompts_are_refused_before_anything_is_made(made: Path, tmp_path: Path) -> None:
    given = given_of(made)
    given["fields"]["words"]["num_held_out"] = 9
    with pytest.raises(DataError, match="8 prompts of the split held_out"):
        attack_range(tmp_path / "out", config=config_of(given), config_dir=made)


def test_the_command_prints_the_results(capsys: pytest.CaptureFixture[str], made: Path) -> None:
    shown = run_here(
        capsys, "range", str(made / "range.yaml"), "--out", str(made / "out"), "--json", "--quiet"
    )
    assert shown.code == 0
    document = json.loads(shown.out)
    assert RangeResults.model_validate_json(shown.out).fields[0].name == "words"
    assert document["schema_version"] == 1
    told = range_text(RangeResults.model_validate(document))
    assert "gumbel" in told
    assert "hiding leaves no mark to test for" in told


def test_the_command_writes_a_config_that_it_takes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    assert run_here(capsys, "range", "--write-config", str(path)).code == 0
    assert range_config(path).model_dump() == range_config().model_dump()
    again = run_here(capsys, "range", "--write-config", str(path))
    assert again.code == 2
    assert "nothing is overwritten" in again.err
    both = run_here(capsys, "range", str(path), "--quick")
    assert both.code == 2
    assert "Leave one out" in both.err
    with pytest.raises(ConfigError, match="not a setting"):
        range_config(path, {"seeed": 1})


@pytest.mark.slow
def test_a_range_that_is_killed_again_and_again_ends_as_one_that_was_not(
    made: Path, results: RangeResults, tmp_path: Path
) -> None:
    words = [sys.executable, "-m", "stillhouse", "range", str(made / "range.yaml")]
    words += ["--out", str(tmp_path / "out"), "--quiet"]
    for seconds in (6, 9, 12):
        process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=seconds)
        process.kill()
        process.wait()
    assert subprocess.run(words, check=False, timeout=600).returncode == 0
    ended = read_range(tmp_path / "out" / "results.json")
    for row, whole in zip(ended.fields[0].rows, results.fields[0].rows, strict=True):
        assert (row.defence, row.attack) == (whole.defence, whole.attack)
        if row.defence == "none":  # keys are random, and marked answers with them
            assert row.quality == whole.quality
    assert ended.fields[0].base_kl_nats == results.fields[0].base_kl_nats


@pytest.mark.slow
@pytest.mark.weights
def test_the_embedded_model_is_copied_and_its_answers_bear_the_mark(tmp_path: Path) -> None:
    changes = {
        "fields": {
            "writing": {
                "num_prompts": 24,
                "num_held_out": 8,
                "max_tokens": 32,
                "defences": ["none", "gumbel"],
                "attacks": ["text"],
                "train": {"keep_layers": 4, "epochs": 3, "batch_size": 8},
            },
            "steps": {
                "additions": {"digits": 2, "examples": 320},
                "num_prompts": 16,
                "num_held_out": 8,
                "defences": ["none", "hide_reasoning"],
                "attacks": ["text"],
                "train": {"epochs": 1},
            },
        },
        "honest_accounts": 20,
        "max_contexts": 600,
        "decoys": 20,
    }
    config = range_config(changes=changes, quick=True)
    found = attack_range(tmp_path / "out", config=config, config_dir=RANGE_DIR)
    writing, steps = found.fields
    by_pair = {row.defence: row for row in writing.rows}
    # So few answers make no copy that shows the mark; the answers themselves do.
    assert by_pair["gumbel"].detection.log10_p is not None
    assert by_pair["gumbel"].detection.lesson_log10_p is not None
    assert by_pair["gumbel"].detection.lesson_log10_p < -20
    assert all(row.quality.gap_closed.low > 0.3 for row in writing.rows)
    shown, hidden = steps.rows
    assert (shown.defence, hidden.defence) == ("none", "hide_reasoning")
    assert hidden.cost.lost_reasoning is not None
    assert shown.quality.right is not None
