"""The parts of the benchmark of the cascade that draw, count and write tables."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from benchmarks._banking77.options import Options as TaskOptions
from benchmarks._cascade import shift, splits, tables
from benchmarks._cascade.options import RESULTS, Options
from benchmarks._cascade.tasks import TASKS, data_folders, label_set
from benchmarks._parts.goals import rows
from benchmarks._parts.pages import PAGE, with_tables
from benchmarks._parts.results import read
from benchmarks.cascade import CASCADE
from cascade_cases import rule

from stillhouse.cascade import CascadeWatch, WatchConfig
from stillhouse.certify import Calibration, CertifyConfig
from stillhouse.tasks import parse_answer

DATA = Options().data


def world(number: int = 2_000, *, target: float = 0.93) -> splits.World:
    rng = np.random.default_rng(0)
    confidences = rng.beta(4, 1, number)
    losses = (rng.random(number) > confidences).astype(float)
    familiar = np.full(number, True)
    return splits.World(
        Calibration(confidences, familiar, losses, is_binary=True),
        np.linspace(0.95, 0.2, 200),
        CertifyConfig(target=target),
    )


def test_the_naive_rule_is_the_lowest_threshold_that_its_rows_bear() -> None:
    found = world()
    threshold = splits.naive_threshold(found.rows, found)
    lower = found.grid_G[found.grid_G.tolist().index(threshold) + 1]
    assert found.rows.lost_N(threshold).mean() <= 0.07 < found.rows.lost_N(float(lower)).mean()


def test_certified_rules_keep_their_target_where_naive_ones_do_not() -> None:
    drawn, halves = splits.outcomes(world(), 60)
    found = splits.summary(drawn, halves, risk=0.07)
    assert found["splits"] == 60
    assert found["exceeded"] <= 6
    assert found["naive_exceeded"] > 15
    assert found["coverage_interval_held"] >= 54
    assert found["refused"] == 0
    assert 0.05 < found["mean_risk"] < 0.07


def test_a_world_that_nothing_can_be_certified_in_is_refused_and_exceeds_nothing() -> None:
    drawn, halves = splits.outcomes(world(60, target=0.995), 5)
    found = splits.summary(drawn, halves, risk=0.005)
    assert (found["refused"], found["exceeded"], found["mean_risk"]) == (5, 0, None)


def a_cascade(config: WatchConfig) -> Any:
    """As much of a cascade as a stream asks for, with calibration rows like `requests(0)`."""
    like = requests(0)
    return SimpleNamespace(
        watch=lambda: CascadeWatch(rule(), like.confidences, like.novelties, config=config)
    )


def requests(seed: int, *, shifted: bool = False, number: int = 300) -> shift.Requests:
    rng = np.random.default_rng(seed)
    confidences = rng.beta(2, 2, number) if shifted else rng.beta(8, 1, number)
    losses = (rng.random(number) > confidences).astype(float)
    return shift.Requests(confidences.tolist(), rng.beta(1, 8, number).tolist(), losses.tolist())


def test_a_stream_ends_where_the_watch_falls_back() -> None:
    cascade, order = a_cascade(WatchConfig()), np.arange(300)
    like, strange = shift.Stream(requests(1), order), shift.Stream(requests(2, shifted=True), order)
    found = shift.serve(cascade, like, strange, 0)
    assert found.false_after is None
    assert found.delay is not None
    assert 3 < found.delay < 60
    assert found.cause == "drift"
    served = list(strange)[: found.delay]
    assert found.wrong == sum(
        one.confidence >= 0.6 and one.novelty <= 0.3 and one.loss > 0 for one in served
    )
    assert shift.serve(cascade, like, [], 0) == shift.Run(None, None, None, 0)


def test_shifted_requests_come_alone_or_among_others() -> None:
    like = shift.Stream(requests(1, number=1_000), np.arange(1_000))
    strange = shift.Stream(requests(2, shifted=True, number=1_000), np.arange(1_000))
    assert shift.mixed(like, strange, 1.0, 0) == list(strange)[:300]
    found = shift.mixed(like, strange, 0.3, 0)
    assert len(found) == 900
    assert len(set(found) & set(strange)) / 900 == pytest.approx(0.3, abs=0.05)
    assert set(found) <= set(strange) | set(like)


def test_streams_are_counted_by_how_they_end() -> None:
    runs = [
        shift.Run(None, 20, "drift", 2),
        shift.Run(None, 40, "breach", 4),
        shift.Run(None, None, None, 9),
        shift.Run(13, None, "drift", 0),
    ]
    found = shift.summary(runs)
    assert (found["missed"], found["false_alarms"], found["by_drift"]) == (1, 1, 1)
    assert found["delay"]["median"] == 30
    assert found["wrong_until_then"] == 3.75


@pytest.mark.skipif(not DATA.is_dir(), reason="the data sets are not beside the checkout")
def test_every_task_has_two_sides_and_answers_that_it_allows() -> None:
    assert all(folder.is_dir() for folder in data_folders(DATA))
    for name in set(TASKS) - {"banking77", "clinc150", "sms_spam", "sentence_polarity"}:
        found = label_set(name, Options())
        assert len(found.train) > 300
        assert len(found.test) > 300
        assert not {row.text for row in found.train} & {row.text for row in found.test[:50]} or (
            name == "paradetox"
        )
        for row in found.test[:100]:
            assert parse_answer(found.task, row.answer).text is not None


def _document(escalation: float, exceeded: int) -> dict[str, Any]:
    coverage = {"value": 1 - escalation, "low": 0.7, "high": 0.8}
    certified = {
        "coverage": coverage,
        "escalation": escalation,
        "agreement": 0.976,
        "bound": 0.0298,
    }
    student = {"0.97": certified, "0.98": certified}
    task = {
        "rows": 3_000,
        "student_agreement": 0.88,
        "target": 0.94,
        "is_graded": True,
        "coverage": 0.8,
        "refused": 0,
        "splits": 100,
        "exceeded": exceeded,
        "naive_exceeded": 40,
        "half_exceeded": 9,
        "naive_half_exceeded": 50,
        "coverage_interval_held": 95,
    }
    measured = {
        "runs": 100,
        "missed": 0,
        "coverage": 0.7,
        "delay": {"least": 3.0, "median": 20.0, "p95": 50.0, "most": 80.0},
        "wrong_until_then": 1.5,
        "mixed": {
            "0.1": {
                "runs": 100,
                "missed": 100,
                "delay": {"least": None, "median": None, "p95": None, "most": None},
                "wrong_until_then": 9.0,
            }
        },
        "quiet_alarms": 0,
        "quiet_requests": 130_000,
    }
    seen = {
        "circumstances": {
            "commit": "abc",
            "measured_utc": "2026-11-29T00:00:00",
            "machine": {"cores": 2},
            "load_at_start": [0.1],
        }
    }
    return {
        "banking77": {
            **seen,
            "test": 3_075,
            "chosen": "encoder",
            "best": student,
            "students": {"encoder": student},
            "peers": {"systems": []},
        },
        "splits": {
            **seen,
            "splits": 800,
            "num_tasks": 8,
            "exceeded_fraction": exceeded / 100,
            "tasks": {"banking77": task},
        },
        "shift": {**seen, "runs": 200, "worst_missed": 0, "students": {"ngram": measured}},
    }


def test_goals_are_met_by_what_they_ask_for_and_not_by_less() -> None:
    assert [row.cells[3] for row in rows(_document(0.22, 3), tables.GOALS)] == ["yes"] * 5
    missed = [row.cells[3] for row in rows(_document(0.4, 8), tables.GOALS)]
    assert missed == ["**no**", "**no**", "**no**", "yes", "yes"]


def test_tables_say_what_was_measured() -> None:
    made = tables.tables(_document(0.22, 3))
    assert set(made) == {"goals", "certified", "splits", "shift", "circumstances"}
    assert "| 78.0 % (70.0 to 80.0) | 22.0 % | 97.6 % | 97.02 % at 95 % |" in made["certified"]
    assert (
        "| banking77 (graded) | 3,000 | 88.0 % | 94.0 % | 80.0 % | 0 | 3 of 100 |" in made["splits"]
    )
    assert "20 at the median, 50 in one of twenty, 80 at most" in made["shift"]
    assert "| n-grams | 10 % | 100 | 100 | never | 9.0 |" in made["shift"]
    assert "0 false alarms in 130,000 requests" in made["shift"]


def test_options_reach_the_readers_of_data_sets(tmp_path: Any) -> None:
    given = Options(data=tmp_path, students="ngram").of_tasks
    assert isinstance(given, TaskOptions)
    assert (given.data, given.students) == (tmp_path, "ngram")


def test_the_page_is_that_of_the_results() -> None:
    page = PAGE.read_text()
    assert with_tables(page, CASCADE.section, tables.tables(read(RESULTS))) == page
