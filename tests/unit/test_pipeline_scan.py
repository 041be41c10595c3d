"""Scans of whole logs: what is promised, what is refused, what is written."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from scan_logs import TOPICS, at_random, rows, write_log

from stillhouse.collect import ImportConfig, import_completions
from stillhouse.errors import ConfigError, DataError
from stillhouse.pipeline import ScanConfig, ScanResults, read_scan, scan
from stillhouse.runlog import Progress
from stillhouse.tasks import Task, read_task

NGRAM = {"students": ("ngram",), "num_folds": 2}


def scanned(tmp_path: Path, found: Iterable[dict[str, Any]], **settings: Any) -> ScanResults:
    out = settings.pop("out", None)
    task = settings.pop("task", None)
    config = ScanConfig.model_validate({**NGRAM, **settings})
    return scan(write_log(tmp_path / "log.jsonl", found), config=config, out=out, task=task)


def test_answers_that_the_text_tells_are_promised_with_a_bound_and_a_saving(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 20, "completion_tokens": 1, "cost": 0.001}
    results = scanned(tmp_path, rows(300, usage=usage))
    (part,) = results.parts
    assert (part.kind, part.num_distinct_answers, part.refusal) == ("classification", 4, None)
    assert part.promise is not None
    assert part.promise.num_tested == 150
    assert part.promise.agreement.low >= 0.97
    assert part.promise.share.low > 0.85
    saving = part.promise.saving_usd_per_1000_calls
    assert saving is not None
    # A thousand calls cost a dollar, and nearly all of them are answered.
    assert saving.value == pytest.approx(part.promise.share.value)
    assert saving.low <= saving.value <= saving.high
    assert results.promised_share == part.promise.share
    assert results.verdict.startswith("A small student could answer ")
    assert results.cost_usd == pytest.approx(0.3)


def test_answers_at_random_are_never_promised(tmp_path: Path) -> None:
    for seed in range(2):
        results = scanned(
            tmp_path, rows(240, answer=lambda number, topic: at_random(number)), seed=seed
        )
        (part,) = results.parts
        assert part.promise is None
        assert results.promised_share is None
        assert results.verdict.startswith("No promise.")
        assert part.refusal is not None
        (tried,) = part.tried
        assert tried.agreement.low < 1 / len(TOPICS) + 0.1
        # Nothing that can be measured hints that more rows would do.
        assert part.prompts_needed is None


def test_three_answers_promise_nothing_and_say_how_many_would(tmp_path: Path) -> None:
    results = scanned(tmp_path, rows(3))
    (part,) = results.parts
    assert (part.promise, part.tried, part.curve) == (None, (), ())
    assert part.prompts_needed == 198
    assert "198" in results.verdict


def test_enough_to_measure_and_too_few_to_promise_gives_figures_and_a_number(
    tmp_path: Path,
) -> None:
    results = scanned(tmp_path, rows(120))
    (part,) = results.parts
    assert part.promise is None
    assert part.tried
    assert part.curve
    assert part.prompts_needed is not None
    assert part.prompts_needed >= 198


def test_one_answer_to_everything_needs_no_model(tmp_path: Path) -> None:
    results = scanned(tmp_path, rows(300, answer=lambda number, topic: "fine"))
    (part,) = results.parts
    assert part.promise is not None
    assert part.promise.share.value == 1.0
    assert part.most_frequent_share is not None
    assert part.most_frequent_share.value == 1.0


def test_free_text_that_never_repeats_is_not_promised(tmp_path: Path) -> None:
    results = scanned(tmp_path, rows(300, answer=lambda number, topic: f"About {topic} {number}."))
    (part,) = results.parts
    assert part.kind == "text"
    assert part.promise is None


def test_invalid_answers_are_counted_and_held_against_the_student(tmp_path: Path) -> None:
    task = Task(name="mail", kind="classification", labels=TOPICS)

    def spoilt(number: int, topic: str) -> str:
        return "as an AI I would rather not" if number % 10 == 0 else topic

    results = scanned(tmp_path, rows(240, answer=spoilt), task=task)
    (part,) = results.parts
    assert part.name == "mail"
    assert part.is_given
    assert part.num_invalid == 24
    assert part.tried[0].agreement.value < 0.91
    assert part.promise is None


def test_every_part_is_scanned_alone_and_the_error_is_shared(tmp_path: Path) -> None:
    easy = rows(300, system="You sort mail.")
    hard = rows(
        300,
        first=1000,
        system="You toss coins.",
        answer=lambda number, topic: at_random(number),
    )
    results = scanned(tmp_path, [*easy, *hard])
    assert len(results.parts) == 2
    promised = {part.name: part.promise for part in results.parts}
    assert promised["You toss coins."] is None
    promise = promised["You sort mail."]
    assert promise is not None
    assert promise.confidence == pytest.approx(0.975)
    assert results.promised_share is not None
    assert results.promised_share.value == pytest.approx(promise.share.value / 2)


def test_the_same_log_in_another_order_gives_the_same_findings(tmp_path: Path) -> None:
    found = rows(120)
    first = scanned(tmp_path, found)
    second = scanned(tmp_path, reversed(found))
    assert first.parts == second.parts


def test_rows_of_one_group_carry_one_piece_of_evidence(tmp_path: Path) -> None:
    grouped = [dict(row, group=f"customer {place % 60}") for place, row in enumerate(rows(240))]
    (part,) = scanned(tmp_path, grouped).parts
    # 30 groups are kept back, and 99 independent rows would be needed.
    assert part.promise is None
    assert part.tried[0].agreement.num_clusters == 30


def test_a_larger_log_is_sampled_and_counted_whole(tmp_path: Path) -> None:
    repeated = [*rows(300), *rows(50)]
    results = scanned(tmp_path, repeated, max_prompts=200)
    assert (results.num_calls, results.num_prompts, results.num_scanned) == (350, 300, 200)
    assert 0 < results.repeated_fraction < 0.3


def test_a_teacher_that_contradicts_itself_is_shown(tmp_path: Path) -> None:
    again = rows(200, answer=lambda number, topic: topic if number % 2 else "delivery")
    (part,) = scanned(tmp_path, [*rows(200), *again]).parts
    assert part.self_agreement is not None
    # Every second prompt was answered "delivery" the second time; one in four is right so.
    assert part.self_agreement.value == pytest.approx(0.5 + 0.5 / 4, abs=0.1)


def test_results_page_and_tasks_are_written_and_read_again(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script> please sort this as you always do: "
    found = rows(240, prompt=lambda text: hostile + text)
    results = scanned(tmp_path, found, out=tmp_path / "out")
    assert read_scan(tmp_path / "out" / "scan.json") == results
    page = (tmp_path / "out" / "scan.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org/", "")
    assert results.verdict in page
    task = read_task(tmp_path / "out" / str(results.parts[0].task_file))
    assert set(task.labels) == set(TOPICS)


def test_a_completions_folder_is_read_where_it_is(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.jsonl", rows(60))
    folder = import_completions(log, tmp_path / "completions", config=ImportConfig()).path
    config = ScanConfig.model_validate(NGRAM)
    assert scan(folder, config=config).parts == scan(log, config=config).parts


def test_what_holds_no_completions_is_refused(tmp_path: Path) -> None:
    config = ScanConfig.model_validate(NGRAM)
    with pytest.raises(ConfigError, match="does not exist"):
        scan(tmp_path / "nothing.jsonl", config=config)
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    with pytest.raises((ConfigError, DataError)):
        scan(empty, config=config)


def test_progress_goes_to_its_end(tmp_path: Path) -> None:
    told: list[Progress] = []
    log = write_log(tmp_path / "log.jsonl", rows(200))
    scan(log, config=ScanConfig.model_validate(NGRAM), on_progress=told.append)
    last = told[-1]
    assert (last.stage, last.done) == ("scan", last.total)


def test_results_hold_no_number_that_json_cannot(tmp_path: Path) -> None:
    scanned(tmp_path, rows(210), out=tmp_path / "out")
    text = (tmp_path / "out" / "scan.json").read_text(encoding="utf-8")
    assert "NaN" not in text
    assert "Infinity" not in text
    assert json.loads(text)["schema_version"] == 1
