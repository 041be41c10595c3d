"""Yield curves: nested budgets, a prediction that is checked, two readings."""

import math
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from scan_logs import TOPICS, asks, at_random, write_log

from stillhouse.artifacts import Artifact, open_artifact
from stillhouse.collect import ImportConfig, import_completions
from stillhouse.curate import CurateConfig, curate
from stillhouse.errors import ConfigError, DataError
from stillhouse.pipeline import YieldConfig, YieldPoint, read_yield, yield_curve
from stillhouse.pipeline._yield import held_back_check, over_seeds, price_of
from stillhouse.pipeline._yield_results import HeldBackCheck, Price
from stillhouse.pipeline._yield_subset import bought, subset
from stillhouse.pipeline._yield_words import maker_text, owner_text, verdict_text
from stillhouse.statistics import CallsFor, Interval
from stillhouse.tasks import Task, TaskAnswer

QUICK = {
    "student": "ngram",
    "budgets": [30, 60, 120, 240],
    "seeds": 2,
    "fit": {"noise": {"method": "off"}},
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Answers of a teacher that is wrong by chance once in ten times, at a tenth of a cent."""
    folder = tmp_path_factory.mktemp("yield")
    made = []
    for number in range(420):
        text, topic = asks(number)
        made.append(
            {
                "prompt": text,
                "completion": at_random(number) if number % 10 == 0 else topic,
                "reference": topic,
                "split": "test" if number >= 300 else "train",
                "usage": {"prompt_tokens": 10, "completion_tokens": 1, "cost": 0.001},
            }
        )
    log = write_log(folder / "log.jsonl", made)
    completions = import_completions(log, folder / "completions", config=ImportConfig())
    task = Task(name="mail", kind="classification", labels=TOPICS)
    config = CurateConfig(contamination="allow")
    return curate(completions.path, folder / "dataset", config=config, task=task)


def row(number: int, *, group: str | None = None, answers: int = 1) -> TaskAnswer:
    return TaskAnswer(
        prompt_id=f"p{number}",
        text=f"text {number}",
        group=group,
        answer="a",
        num_answers=answers,
        num_invalid=0,
    )


def points(errors: Sequence[float], *, first: float = 100.0) -> list[YieldPoint]:
    """One point for each error, each with twice the calls of the last, measured to a point."""
    found = []
    for place, error in enumerate(errors):
        agreement = Interval(1 - error, 1 - error - 0.01, 1 - error + 0.01, 1000, 1000)
        calls = first * 2**place
        found.append(
            YieldPoint(
                calls=calls,
                rows=calls,
                agreement=agreement,
                by_seed=(1 - error,),
                gold=None,
                seconds=1,
            )
        )
    return found


def checked(errors: Sequence[float]) -> HeldBackCheck:
    return held_back_check(points(errors))


def test_a_larger_budget_buys_all_that_a_smaller_one_does() -> None:
    rows = [row(number) for number in range(100)]
    few, spent = bought(rows, 30, seed=0)
    more, _ = bought(rows, 60, seed=0)
    assert (len(few), spent) == (30, 30)
    assert set(few) < set(more)
    other, _ = bought(rows, 30, seed=1)
    assert set(other) != set(few)
    shuffled, _ = bought(rows[::-1], 30, seed=0)
    assert shuffled == few


def test_groups_are_bought_whole_and_every_answer_costs_a_call() -> None:
    rows = [row(n, group=f"g{n // 5}", answers=2) for n in range(50)]
    chosen, spent = bought(rows, 35, seed=0)
    assert spent == 30  # three groups of five prompts with two answers each
    groups = {rows[int(name[1:])].group for name in chosen}
    assert len(groups) == 3
    assert len(chosen) == 15
    with pytest.raises(ConfigError, match="more than the 100"):
        bought(rows, 101, seed=0)


def test_a_subset_holds_the_rows_that_were_bought_and_where_they_are_from(
    dataset: Artifact, tmp_path: Path
) -> None:
    rows = [one for one in dataset.rows("answers", TaskAnswer) if one.split == "train"]
    chosen, spent = bought(rows, 40, seed=0)
    made = subset(dataset, tmp_path / "part", prompt_ids=chosen, calls=spent)
    kept = list(made.rows("answers", TaskAnswer))
    assert {one.prompt_id for one in kept} == set(chosen)
    assert {one.split for one in kept} == {"train"}
    assert made.manifest.parents[0].sha256 == dataset.manifest_sha256
    again = subset(dataset, tmp_path / "part", prompt_ids=chosen, calls=spent)
    assert again.manifest_sha256 == made.manifest_sha256


def test_a_curve_that_goes_on_as_it_did_is_predicted_and_one_that_breaks_is_not() -> None:
    falling = [0.05 + 2.0 * (100.0 * 2**place) ** -0.5 for place in range(6)]
    assert checked(falling).is_inside
    broken = [*falling[:-1], falling[-1] + 0.15]
    found = checked(broken)
    assert not found.is_inside
    assert found.measured == pytest.approx(1 - broken[-1])
    assert found.predicted.low > found.measured


def test_students_without_any_error_have_a_curve_too() -> None:
    found = checked([0.0, 0.0, 0.0, 0.0])
    assert found.is_inside
    assert found.predicted.value == pytest.approx(1.0)


def test_seeds_that_differ_widen_the_interval_of_a_point() -> None:
    generator = np.random.default_rng(0)
    same = (generator.uniform(size=400) < 0.8).astype(float)
    alike = over_seeds([same, same], [f"m{n}" for n in range(400)])
    other = (generator.uniform(size=400) < 0.7).astype(float)
    apart = over_seeds([same, other], [f"m{n}" for n in range(400)])
    assert apart.value == pytest.approx((same.mean() + other.mean()) / 2)
    assert apart.high - apart.low > alike.high - alike.low


def test_prompts_without_an_answer_of_the_teacher_are_not_scored() -> None:
    scores = np.array([1.0, math.nan, 0.0, 1.0])
    found = over_seeds([scores], ["a", "b", "c", "d"])
    assert (found.value, found.n) == (pytest.approx(2 / 3), 3)


def test_a_run_measures_predicts_writes_and_is_read_again(
    dataset: Artifact, tmp_path: Path
) -> None:
    config = YieldConfig.model_validate({**QUICK, "target": 0.85})
    out = tmp_path / "out"
    results = yield_curve(dataset.path, out, config=config)
    assert [point.calls for point in results.points] == [30, 60, 120, 240]
    assert results.points[-1].agreement.value > results.points[0].agreement.value
    assert results.points[-1].agreement.value > 0.7
    assert len(results.points[0].by_seed) == 2
    assert results.points[0].gold is not None
    assert results.check.calls == 240
    assert results.price.usd_per_call == pytest.approx(0.001)
    if results.calls.value is not None:
        assert results.price.value_usd == pytest.approx(0.001 * results.calls.value)
    assert read_yield(out / "results.json") == results
    page = (out / "yield.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert results.verdict in page
    ElementTree.fromstring((out / "yield.svg").read_text(encoding="utf-8"))


def test_students_that_are_there_are_not_made_again(dataset: Artifact, tmp_path: Path) -> None:
    config = YieldConfig.model_validate({**QUICK, "seeds": 1})
    first = yield_curve(dataset.path, tmp_path, config=config)
    folder = tmp_path / "seed-0" / "0000030-calls" / "student"
    before = open_artifact(folder).manifest_sha256
    second = yield_curve(dataset.path, tmp_path, config=config)
    assert open_artifact(folder).manifest_sha256 == before
    assert second.points == first.points
    assert any("One seed" in note for note in second.notes)


def test_too_few_budgets_or_calls_are_refused(dataset: Artifact, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give 4 different"):
        YieldConfig(budgets=(100, 200, 300))
    config = YieldConfig.model_validate({**QUICK, "budgets": [30, 60, 120, 301]})
    with pytest.raises(ConfigError, match="more than the 300"):
        yield_curve(dataset.path, tmp_path / "a", config=config)
    assert not (tmp_path / "a").exists()
    config = YieldConfig.model_validate({**QUICK, "budgets": None})
    with pytest.raises(DataError, match="Collect 400 or more"):
        yield_curve(dataset.path, tmp_path / "b", config=config)


def test_the_price_is_unknown_where_no_call_was_priced(dataset: Artifact) -> None:
    calls = CallsFor(target=0.1, value=1000.0, low=500.0, high=None)
    priced = price_of(dataset, calls)
    assert (priced.value_usd, priced.low_usd, priced.high_usd) == (
        pytest.approx(1.0),
        pytest.approx(0.5),
        None,
    )


NO_PRICE = Price(usd_per_call=None, value_usd=None, low_usd=None, high_usd=None)
CEILING = Interval(0.93, 0.91, 0.95, 6, 6)


def test_the_maker_hears_how_many_calls_to_buy_and_when_none_would_do() -> None:
    best = points([0.2])[0]
    reachable = CallsFor(target=0.1, value=2345.0, low=1999.0, high=3111.0)
    assert "about 2,300 calls [2,000 to 3,100]" in maker_text(reachable, NO_PRICE, best, CEILING)
    never = CallsFor(target=0.05, value=None, low=None, high=None)
    assert "out of reach" in maker_text(never, NO_PRICE, best, CEILING)
    assert "93.0%" in maker_text(never, NO_PRICE, best, CEILING)
    open_ = CallsFor(target=0.1, value=9000.0, low=2000.0, high=None)
    assert "or never" in maker_text(open_, NO_PRICE, best, CEILING)


def test_the_owner_hears_what_a_copy_costs() -> None:
    price = Price(usd_per_call=0.001, value_usd=2.345, low_usd=2.0, high_usd=3.1)
    calls = CallsFor(target=0.1, value=2345.0, low=2000.0, high=3100.0)
    text = owner_text(calls, price, points([0.2])[0])
    assert text.startswith("100 calls copy 80.0%")
    assert "for $0.1;" in text
    assert "$2.35 [$2.00 to $3.10]" in text
    never = CallsFor(target=0.1, value=None, low=None, high=None)
    assert "was not shown to be for sale" in owner_text(never, price, points([0.2])[0])


def test_the_verdict_says_whether_the_held_back_prediction_held() -> None:
    calls = CallsFor(target=0.1, value=2345.0, low=2000.0, high=3100.0)
    text = verdict_text(calls, checked([0.4, 0.3, 0.22, 0.17]))
    assert text.startswith("90.0% agreement with the teacher takes about 2,300 calls")
    assert "the prediction of 800 calls from fewer held" in text
