"""Arenas that are held with a judge of known faults: what is found, and what is asked."""

import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import orjson
import pytest
from arena_hall import PRICE_USD, Hall, Ruler, Speak, Writer, prompts, writers

from stillhouse.errors import BudgetExceededError, ConfigError, DataError, TooManyFailuresError
from stillhouse.evaluate import ArenaConfig, ArenaResults
from stillhouse.evaluate._arena._answers import choose_prompts
from stillhouse.evaluate._arena._findings import findings
from stillhouse.evaluate._arena._gold import Gold, read_gold
from stillhouse.evaluate._arena._hold import Held, Holding, Judge
from stillhouse.graders import read_judge_template
from stillhouse.records import Prompt, Request
from stillhouse.runlog import ignore_progress

STRENGTHS = {"large": 1.6, "middle": 0.4, "small": -0.8}


def hold(
    hall: Hall,
    asked: Sequence[Prompt],
    models: Sequence[str],
    *,
    gold: Gold | None = None,
    **settings: Any,
) -> tuple[Held, ArenaResults]:
    config = ArenaConfig.model_validate(settings)
    judge = Judge("judge", read_judge_template())
    holding = Holding(hall.folder / "arena", judge, hall.ask, config, ignore_progress)
    held = holding.hold(choose_prompts(asked, config), {name: name for name in models}, gold)
    return held, findings(held, judge, config, title="Test", seconds=1.0)


def held_with(
    folder: Path, judge: Speak, models: Mapping[str, Speak], num_prompts: int, **settings: Any
) -> ArenaResults:
    hall = Hall(folder)
    hall.let_speak(judge=judge, **models)
    return hold(hall, prompts(num_prompts), [*models], **settings)[1]


def test_a_fair_judge_ranks_models_by_their_strength(tmp_path: Path) -> None:
    results = held_with(tmp_path, Ruler(), writers(STRENGTHS), 120)
    assert [model.name for model in results.models] == [*STRENGTHS]
    assert {(one.a, one.b) for one in results.pairs} == set(combinations(STRENGTHS, 2))
    assert all(one.contrast.claim.verdict == "better" for one in results.pairs)
    assert results.judge.order.position_bias.value == 0.0
    assert results.judge.order.position_bias.high < 0.05
    assert results.judge.order.first_place is None
    assert (results.num_prompts, results.num_planned, results.num_possible) == (120, 360, 360)
    assert "large is better than all 2 others on 120 held-out prompts" in results.verdict
    assert "all 3 differences hold" in results.verdict


def test_a_judge_that_favours_a_place_is_found_out(tmp_path: Path) -> None:
    equal = writers({"one": 0.0, "other": 0.0})
    results = held_with(tmp_path, Ruler(first_bonus=1.0), equal, 200)
    # Of logistic differences, a share of tanh(1 / 2) is within 1.
    order = results.judge.order
    assert order.position_bias.low < 0.4621 < order.position_bias.high
    assert order.num_pairs == 200
    assert order.first_place is not None
    assert order.first_place.value == 1.0
    assert order.first_place.low > 0.9
    assert sum(pair.ties for pair in results.pairs) == order.first_place.n
    assert any("place of an answer" in one for one in results.warnings)


def test_a_small_bias_for_a_place_costs_ties_and_not_the_order(tmp_path: Path) -> None:
    results = held_with(tmp_path, Ruler(first_bonus=0.4), writers(STRENGTHS), 120)
    assert [model.name for model in results.models] == [*STRENGTHS]
    assert 0.0 < results.judge.order.position_bias.value < 0.4


def test_length_control_takes_away_a_bias_for_long_answers(tmp_path: Path) -> None:
    models: dict[str, Speak] = {
        "brief": Writer("brief", 0.0, num_words=12),
        "wordy": Writer("wordy", 0.0, num_words=40),
    }
    results = held_with(tmp_path, Ruler(length_bonus=2.5), models, 300)
    (pair,) = results.pairs
    assert pair.a == "wordy"
    assert pair.contrast.claim.verdict == "better"
    assert pair.contrast_equal_length is not None
    even = pair.contrast_equal_length.difference
    assert even.low < 0 < even.high
    assert results.long_answer_wins is not None
    assert results.long_answer_wins.low > 0.5
    assert any("Length matters" in one for one in results.warnings)


def test_a_part_of_the_pairs_is_judged_evenly(tmp_path: Path) -> None:
    hall = Hall(tmp_path)
    hall.let_speak(judge=Ruler(), **writers(STRENGTHS))
    _, results = hold(hall, prompts(60), [*STRENGTHS], max_pairs=90)
    assert (results.num_planned, results.num_possible) == (90, 180)
    assert [pair.num_counted for pair in results.pairs] == [30, 30, 30]
    assert hall.num_asked("judge") == 180
    # The rest is asked later, and nothing of it again.
    hold(hall, prompts(60), [*STRENGTHS])
    assert hall.num_asked("judge") == 360
    assert hall.num_asked("large") == 60


def test_what_a_budget_allows_is_judged_first_and_ranked_in_a_smaller_plan(tmp_path: Path) -> None:
    hall = Hall(tmp_path, budget_usd=PRICE_USD * (60 + 70))
    hall.let_speak(judge=Ruler(), **writers(STRENGTHS))
    with pytest.raises(BudgetExceededError, match="max_pairs"):
        hold(hall, prompts(20), [*STRENGTHS])
    assert hall.num_asked("judge") == 70
    _, results = hold(hall, prompts(20), [*STRENGTHS], max_pairs=35)
    assert hall.num_asked("judge") == 70
    assert [pair.num_counted for pair in results.pairs] in (
        [11, 12, 12],
        [12, 11, 12],
        [12, 12, 11],
    )


def test_a_trial_can_be_left_out(tmp_path: Path) -> None:
    hall = Hall(tmp_path)
    hall.let_speak(judge=Ruler(), **writers(STRENGTHS))
    hold(hall, prompts(12), [*STRENGTHS], trial_pairs=0)
    assert not (tmp_path / "arena" / "trial").exists()


def test_the_held_out_prompts_are_asked_where_any_are_marked(tmp_path: Path) -> None:
    rows = [
        *prompts(30, split="train"),
        *(one.model_copy(update={"split": "held_out"}) for one in prompts(42)[30:]),
    ]
    hall = Hall(tmp_path)
    hall.let_speak(judge=Ruler(), **writers(STRENGTHS))
    _, results = hold(hall, rows, [*STRENGTHS])
    assert (results.num_prompts, results.split) == (12, "held_out")
    assert not any("held out" in one for one in results.warnings)
    _, results = hold(hall, rows, [*STRENGTHS], split="train", max_prompts=20)
    assert (results.num_prompts, results.split) == (20, "train")
    assert any("looks better here than it is" in one for one in results.warnings)


def test_prompts_that_ask_the_same_are_asked_once() -> None:
    twice = [*prompts(12), prompts(1)[0].model_copy(update={"id": "again"})]
    chosen = choose_prompts(twice, ArenaConfig())
    assert ([one.id for one in chosen.prompts], chosen.num_repeated) == (
        [f"p{number}" for number in range(12)],
        1,
    )


def test_no_prompts_are_refused() -> None:
    with pytest.raises(DataError, match="no prompts to compare"):
        choose_prompts([], ArenaConfig())
    with pytest.raises(DataError, match="no train prompts among 3"):
        choose_prompts(prompts(3), ArenaConfig(split="train"))


def test_a_judge_that_never_answers_in_form_is_found_out_for_little(tmp_path: Path) -> None:
    hall = Hall(tmp_path)
    hall.let_speak(judge=lambda request: "They are both fine.", **writers(STRENGTHS))
    with pytest.raises(TooManyFailuresError, match="hold no verdict that can be read"):
        hold(hall, prompts(60), [*STRENGTHS])
    assert hall.num_asked("judge") == 32


def test_labelled_pairs_find_it_out_before_any_model_is_asked(tmp_path: Path) -> None:
    hall = Hall(tmp_path)
    hall.let_speak(judge=lambda request: "Fine.", **writers(STRENGTHS))
    with pytest.raises(TooManyFailuresError):
        hold(hall, prompts(60), [*STRENGTHS], gold=labels(tmp_path, 12))
    assert hall.num_asked("judge") == 24
    assert hall.num_asked("large") == 0


def labels(folder: Path, count: int, *, every: int = 0) -> Gold:
    """Labelled pairs of which a fair judge contradicts each `every`-th."""
    rows = []
    for number in range(count):
        better = "a" if number % 2 else "b"
        wrong = every and number % every == 0
        a, b = (2.0, 1.0) if (better == "a") != bool(wrong) else (1.0, 2.0)
        rows.append(
            {
                "prompt": f"Labelled {number}?",
                "a": f"quality={a}",
                "b": f"quality={b}",
                "winner": better,
            }
        )
    path = folder / "labels.jsonl"
    path.write_bytes(b"\n".join(orjson.dumps(row) for row in rows))
    return read_gold(path)


def test_the_judges_agreement_with_people_stands_beside_every_figure(tmp_path: Path) -> None:
    hall = Hall(tmp_path)
    hall.let_speak(judge=Ruler(), **writers(STRENGTHS))
    _, results = hold(hall, prompts(30), [*STRENGTHS], gold=labels(tmp_path, 40, every=5))
    (agreement,) = results.judge.agreements
    assert agreement.name == "labels.jsonl"
    assert agreement.agreement.value == pytest.approx(0.8)
    assert agreement.agreement.low < 0.8 < agreement.agreement.high
    assert agreement.kappa is not None
    assert agreement.kappa.value == pytest.approx(0.6, abs=0.02)
    assert results.judge.num_asked == 2 * (40 + 90)
    assert not any("not validated" in one for one in results.warnings)


def test_without_labels_the_judge_is_called_not_validated(tmp_path: Path) -> None:
    results = held_with(tmp_path, Ruler(), writers(STRENGTHS), 20)
    assert results.judge.agreements == ()
    assert results.warnings[0].startswith("The judge is not validated")


def test_a_judge_that_contradicts_people_is_warned_of(tmp_path: Path) -> None:
    hall = Hall(tmp_path)
    hall.let_speak(judge=Ruler(), **writers(STRENGTHS))
    _, results = hold(hall, prompts(20), [*STRENGTHS], gold=labels(tmp_path, 40, every=2))
    assert any("beyond chance (kappa)" in one for one in results.warnings)


def test_a_grader_and_references_validate_the_judge_without_labels(tmp_path: Path) -> None:
    def speak(request: Request) -> str:
        good = Writer("good", 3.0)(request)
        return good if request.messages[-1].content in ("Question 1?", "Question 2?") else "no"

    rows = [
        one.model_copy(update={"reference": Writer("good", 3.0)(asked(one))}) for one in prompts(20)
    ]
    hall = Hall(tmp_path)
    hall.let_speak(judge=Ruler(), good=Writer("good", 3.0), bad=Writer("bad", -3.0), odd=speak)
    _, results = hold(hall, rows, ["good", "bad"], reference_grader="exact")
    (agreement,) = results.judge.agreements
    assert (agreement.source, agreement.num_pairs) == ("references", 20)
    assert agreement.agreement.value == 1.0


def asked(prompt: Prompt) -> Request:
    from stillhouse.records import Sampling

    return Request.of(prompt, teacher="any", sampling=Sampling())


def test_verdicts_that_cannot_be_read_are_counted_and_left_out(tmp_path: Path) -> None:
    def speak(request: Request) -> str:
        odd = "Question 7?" in request.messages[-1].content
        return "Who knows." if odd else Ruler()(request)

    results = held_with(tmp_path, speak, writers(STRENGTHS), 40)
    assert results.judge.problems == {"no_verdict": 6}
    assert [pair.num_unreadable for pair in results.pairs] == [1, 1, 1]
    assert [pair.num_counted for pair in results.pairs] == [39, 39, 39]
    assert results.num_prompts == 39


def test_identical_answers_are_ties_that_cost_nothing(tmp_path: Path) -> None:
    def echo(request: Request) -> str:
        return "quality=0 the same"

    models: dict[str, Speak] = {"one": echo, "other": echo, "third": Writer("third", 2.0)}
    hall = Hall(tmp_path)
    hall.let_speak(judge=Ruler(), **models)
    _, results = hold(hall, prompts(20), [*models])
    same = next(pair for pair in results.pairs if {pair.a, pair.b} == {"one", "other"})
    assert (same.ties, same.num_identical) == (20, 20)
    # What looks the same to the judge is asked once: two of the three pairs do.
    assert hall.num_asked("judge") == 40


def test_models_that_all_say_the_same_leave_nothing_to_judge(tmp_path: Path) -> None:
    def echo(request: Request) -> str:
        return "the same"

    with pytest.raises(DataError, match="nothing to judge"):
        held_with(tmp_path, Ruler(), {"one": echo, "other": echo}, 12)


def test_answers_that_were_cut_off_are_warned_of(tmp_path: Path) -> None:
    def cut(request: Request) -> str:
        return Writer("cut", 0.0)(request) + " and ..."

    results = held_with(tmp_path, Ruler(), {"cut": cut, "whole": Writer("whole", 0.5)}, 20)
    assert next(one for one in results.models if one.name == "cut").num_cut == 20
    assert any("20 of 20 answers of cut are cut off" in one for one in results.warnings)


def test_too_few_prompts_rank_no_models(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="3 prompts of 3 groups rank no models"):
        held_with(tmp_path, Ruler(), writers(STRENGTHS), 3)


def test_too_few_pairs_for_the_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="max_pairs=1 does not link 3 models"):
        held_with(tmp_path, Ruler(), writers(STRENGTHS), 20, max_pairs=1)


def test_a_judge_that_is_one_of_the_models_is_warned_of(tmp_path: Path) -> None:
    hall = Hall(tmp_path)
    hall.let_speak(judge=Ruler(), **writers(STRENGTHS))
    both = Writer("large", 1.6)
    hall.let_speak(
        large=lambda request: (Ruler() if "<answer A" in said(request) else both)(request)
    )
    hall.teachers["judge"] = hall.teachers["large"]
    _, results = hold(hall, prompts(20), [*STRENGTHS])
    assert any("is large itself" in one for one in results.warnings)


def said(request: Request) -> str:
    return request.messages[-1].content


def test_a_tie_in_both_orders_is_no_effect_of_place(tmp_path: Path) -> None:
    def speak(request: Request) -> str:
        numbers = [float(one) for one in re.findall(r"quality=(-?[0-9.]+)", said(request))]
        return "[[TIE]]" if abs(numbers[0] - numbers[1]) < 0.5 else Ruler()(request)

    results = held_with(tmp_path, speak, writers(STRENGTHS), 60)
    assert results.judge.order.position_bias.value == 0.0
    assert results.judge.order.half_decided.value == 0.0
    assert sum(pair.ties for pair in results.pairs) > 0
