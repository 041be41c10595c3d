"""The parts of the benchmark of task students that choose rows, judge and write tables."""

from typing import Any

import numpy as np
import pytest
from benchmarks._banking77 import measuring, tables
from benchmarks._banking77.options import RESULTS, Options
from benchmarks._banking77.published import PEERS
from benchmarks._banking77.rows import LabelRow, banking77, corrupted, first_by_hash
from benchmarks._banking77.students import kinds
from benchmarks._banking77.texts import SimilarTexts, first_of_similar
from benchmarks._parts.goals import rows
from benchmarks._parts.pages import PAGE, with_tables
from benchmarks._parts.results import read
from benchmarks.banking77 import BANKING77

DATA = Options().data


def result(right: list[bool], *, seconds: float = 60.0, ms: float = 1.0) -> measuring.Result:
    flags = np.array(right, dtype=bool)
    figures = {"parameters": 1e6, "seconds": seconds, "latency_ms": {"median": ms, "p95": ms}}
    return measuring.Result(agrees_N=flags, right_N=flags, figures=figures)


def test_texts_that_differ_by_case_space_or_a_hyphen_are_all_but_equal() -> None:
    texts = [
        "Why is my top up still pending?",
        "Why is my top-up still pending?",
        "why  is my TOP UP still pending?",
        "Why is my transfer still pending?",
        "hi",
        "Hi ",
    ]
    assert first_of_similar(texts) == [0, 3, 4]
    assert SimilarTexts(texts[:1]).has_similar(texts[1])
    assert not SimilarTexts(texts[:1]).has_similar(texts[3])


@pytest.mark.skipif(not DATA.is_dir(), reason="the data sets are not beside the checkout")
def test_the_peers_test_rows_are_found_by_its_rule() -> None:
    found = banking77(Options())
    assert len(found.test) == 3_075
    known = SimilarTexts([row.text for row in found.test])
    assert not any(known.has_similar(row.text) for row in found.train)
    assert sum(answer is None for answer in measuring.Expected.of(found).teacher) == 8


def test_half_of_the_labels_are_replaced_by_others_and_the_same_ones_every_time() -> None:
    made = [LabelRow("train", f"text {n}", "a", "a", {}) for n in range(2_000)]
    spoilt = corrupted(made, ["a", "b", "c"], seed=0)
    changed = [row.answer for row in spoilt if row.answer != "a"]
    assert 900 < len(changed) < 1_100
    assert set(changed) == {"b", "c"}
    assert spoilt == corrupted(made, ["a", "b", "c"], seed=0)
    assert [row.gold for row in spoilt] == ["a"] * 2_000


def test_a_smaller_run_measures_part_of_what_a_larger_one_does() -> None:
    made = [LabelRow("train", f"text {n}", "a", "a", {}) for n in range(50)]
    few, more = ({row.text for row in first_by_hash(made, most)} for most in (5, 20))
    assert len(few) == 5
    assert few < more
    assert first_by_hash(made, 0) == made


def test_kinds_are_made_cheapest_first_and_unknown_ones_refused() -> None:
    assert kinds(Options(students="encoder, ngram")) == ["ngram", "encoder"]
    with pytest.raises(ValueError, match="no student 'forest'"):
        kinds(Options(students="forest"))


def test_a_row_without_a_valid_answer_of_the_teacher_counts_against_everybody() -> None:
    assert measuring.equal_N(["a", "b", "c"], ["a", None, "d"]).tolist() == [True, False, False]


def test_seeds_are_averaged_and_each_gets_a_verdict() -> None:
    expected = measuring.Expected(teacher=("a",) * 400, gold=("a",) * 200 + ("b",) * 200)
    right = [True] * 200 + [False] * 200
    worse = [True] * 150 + [False] * 250
    found = measuring.summary([result(right), result(worse)], expected, margin=0.02)
    assert found["agreement"]["value"] == pytest.approx(175 / 400)
    assert found["agreement"]["low"] < 175 / 400 < found["agreement"]["high"]
    assert [one["verdict"] for one in found["against_teacher"]] == ["non_inferior", "worse"]
    assert found["not_shown_non_inferior"] == 1


def _document(agreement: float, **changed: Any) -> dict[str, Any]:
    interval = {"value": agreement, "low": agreement - 0.01, "high": agreement + 0.01}
    student = {
        "seeds": 3,
        "agreement": interval,
        "gold": interval,
        "against_teacher": [{"verdict": "non_inferior"}] * 3,
        "not_shown_non_inferior": 0,
        "latency_ms": 1.5,
        "seconds": 600.0,
        "students": [{"parameters": 22.7e6}],
        "by_scope": {},
        **changed,
    }
    entry = {
        "test": 3_075,
        "train": 9_974,
        "chosen": "encoder",
        "best": student,
        "students": {"encoder": student},
        "teacher": {"name": "the teacher", "gold": interval},
        "peers": {"systems": [dict(peer) for peer in PEERS]},
        "circumstances": {
            "commit": "abc",
            "measured_utc": "2026-11-28T00:00:00",
            "machine": {"cores": 2},
            "load_at_start": [0.1],
        },
    }
    return {"banking77": entry}


def test_goals_are_met_by_what_they_ask_for_and_not_by_less() -> None:
    met = [row.cells[3] for row in rows(_document(0.905), tables.GOALS)]
    assert met == ["yes"] * 5 + [""]
    missed = rows(_document(0.899, latency_ms=2.1, not_shown_non_inferior=1), tables.GOALS)
    assert [row.cells[3] for row in missed] == ["**no**", "yes", "yes", "**no**", "**no**", ""]


def test_a_smaller_run_says_nothing_of_the_goals() -> None:
    document = _document(0.95)
    document["banking77"]["test"] = 500
    assert {row.cells[2] for row in rows(document, tables.GOALS)} == {"not measured"}


def test_our_students_stand_beside_the_published_figures() -> None:
    made = tables.tables(_document(0.905))
    assert set(made) == {"goals", "students", "noise", "others", "rewriting", "circumstances"}
    lines = made["students"].splitlines()
    assert lines[2].startswith("| MiniLM, trained (chosen on validation rows) | 22.7 M | 90.5 %")
    assert "| the teacher |  | itself |" in lines[3]
    assert lines[4].startswith("| Qwen2.5-1.5B, LoRA, published | 1.5 B | 89.2 % | 76.5 %")


def test_the_scope_of_a_task_is_shown_apart() -> None:
    document = _document(0.9)
    scope = {"value": 0.95, "low": 0.94, "high": 0.96}
    recall = {"value": 0.4, "low": 0.37, "high": 0.43}
    entry = dict(document["banking77"])
    student = dict(
        entry["best"], by_scope={"in_scope_accuracy": [scope], "out_of_scope_recall": [recall]}
    )
    document["clinc150"] = {**entry, "students": {"ngram": student}}
    row = tables.tables(document)["others"].splitlines()[2]
    assert "95.0 % (94.0 to 96.0) in scope" in row
    assert "40.0 % (37.0 to 43.0)" in row


def test_the_page_is_that_of_the_results() -> None:
    page = PAGE.read_text()
    assert with_tables(page, BANKING77.section, tables.tables(read(RESULTS))) == page
