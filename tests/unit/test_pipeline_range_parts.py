"""Parts of a range: sums, settings, limits, costs, and names that do not overlap."""

import itertools
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from traffic_cases import areas

from stillhouse.errors import ConfigError, DataError
from stillhouse.pipeline import RangeConfig, range_config
from stillhouse.pipeline._range._additions import SEPARATOR, Sum, different_sums
from stillhouse.pipeline._range._chart import Mark, RangeChart, _spread
from stillhouse.pipeline._range._config import AttackConfig, DefenceConfig, LimitConfig, MarkConfig
from stillhouse.pipeline._range._estimates import cost_of, quality_of
from stillhouse.pipeline._range._measure import Scores, is_right
from stillhouse.pipeline._range._owner import Trace
from stillhouse.pipeline._range._run import _decide
from stillhouse.pipeline._range._seen import after_separator
from stillhouse.pipeline._range._traffic import Honest, areas_of
from stillhouse.records import Message, Prompt
from stillhouse.settings import check_settings
from stillhouse.statistics import Interval
from stillhouse.traffic import TrafficKey

DIGITS = st.integers(1, 6)


@given(st.data(), DIGITS)
def test_worked_sums_are_right_step_by_step(data: st.DataObject, digits: int) -> None:
    low, high = 10 ** (digits - 1), 10**digits - 1
    first, second = (data.draw(st.integers(low, high)) for _ in range(2))
    worked = Sum(first, second).worked
    steps, answer = worked.split(f". {SEPARATOR}")
    assert int(answer) == first + second
    carry = 0
    for place, step in enumerate(steps.split(", ")):
        a, b, carried, total = map(int, re.split(r"[+=]", step))
        assert (a, b) == (first // 10**place % 10, second // 10**place % 10)
        assert carried == carry
        assert total == a + b + carried
        carry = total // 10
    assert place + 1 == digits


def test_sums_are_different_and_the_same_for_a_seed() -> None:
    some = different_sums(2, 500, seed=3)
    assert len(set(some)) == 500
    assert different_sums(2, 500, seed=3) == some
    assert different_sums(2, 100, seed=3) == some[:100]  # a longer list begins alike
    assert different_sums(2, 500, seed=4) != some
    assert all(10 <= one.first <= 99 and 10 <= one.second <= 99 for one in some)
    with pytest.raises(ConfigError, match="too few"):
        different_sums(1, 41, seed=0)


def test_an_answer_counts_after_its_separator_or_alone() -> None:
    assert is_right("7+8+0=15. Answer: 825", "825", SEPARATOR)
    assert is_right(" 825. ", "825", SEPARATOR)
    assert is_right("Answer: 825", "825", SEPARATOR)
    assert not is_right("825. Answer: 826", "825", SEPARATOR)
    assert not is_right("7+8+0=15. Answer: ", "", "Answer: x")
    assert not is_right("The answer is 825", "825", None)
    assert after_separator("a Answer: b Answer: c", SEPARATOR) == "c"
    assert after_separator("a Answer:  ", SEPARATOR) is None
    assert after_separator("a", SEPARATOR) is None


def changed(**changes: Any) -> dict[str, Any]:
    return {
        "fields": {"one": {}},
        "defences": {"none": {}, "mark": {"mark": {}}, "limit": {"limit": {}}},
        "attacks": {"text": {}, "mixed": {"mixing": 0.2}, "many": {"accounts": 3}},
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"defences": {"mark": {"mark": {}}}}, "no defence that does nothing"),
        ({"attacks": {"many": {"accounts": 2}}}, "no attack that reads plain text"),
        ({"fields": {"one": {"defences": ["nothing"]}}}, "names the defence 'nothing'"),
        ({"fields": {"one": {"defences": ["mark"]}}}, "no defence that does nothing"),
        ({"fields": {"a/b": {}}}, "cannot be called 'a/b'"),
        ({"fields": {"one": {"prompts": "x", "additions": {}}}}, "leave one out"),
        ({"fields": {"one": {"additions": {}, "separator": "#"}}}, "leave separator out"),
        ({"attacks": {"text": {}, "a": {"reads": "logprobs", "mixing": 0.5}}}, "leave mixing"),
        ({"attacks": {"text": {}, "a": {"accounts": 0}}}, "accounts"),
        ({"defences": {"none": {}, "m": {"mark": {"scheme": "red"}}}}, "scheme"),
        ({"defences": {"none": {}, "m": {"mark": {"parameters": {"delta": 2}}}}}, "no such mark"),
        ({"fields": {}}, "fields"),
        (
            {"defences": {"none": {}, "w": {"limit": {"watch": True, "level": 0.001}}}},
            "flags nobody at level 0.001 beside 800",
        ),
    ],
)
def test_ranges_that_cannot_be_are_refused_in_one_line(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)) as caught:
        check_settings(RangeConfig, changed(**changes), where="range.yaml")
    assert "\n" not in str(caught.value)


def test_only_attacks_that_counter_something_are_paired() -> None:
    config = RangeConfig.model_validate(changed())
    assert config.pairs("one") == [
        ("none", "text"),
        ("mark", "text"),
        ("mark", "mixed"),
        ("limit", "text"),
        ("limit", "many"),
    ]


def test_steps_are_hidden_where_there_are_some() -> None:
    config = range_config()
    assert "hide_reasoning" not in config.defences_of("writing")
    assert "hide_reasoning" in config.defences_of("steps")
    quick = range_config(quick=True)
    assert quick.pairs("writing") == config.pairs("writing")
    assert quick.fields["writing"].num_prompts < config.fields["writing"].num_prompts


def interval(value: float, low: float, high: float) -> Interval:
    return Interval(value, low, high, 10, 10)


@given(st.lists(st.floats(-0.5, 1.0), min_size=4, max_size=4))
def test_costs_add_up_to_a_share_that_is_no_less_than_any_part(parts: list[float]) -> None:
    intervals = [interval(one, one - 0.1, one + 0.1) for one in parts]
    names = ("refused", "lost_logprobs", "lost_reasoning", "worse")
    cost = cost_of(**dict(zip(names, intervals, strict=True)), nll_nats=None, time_ratio=None)
    assert max(0.0, max(parts)) <= cost.share.value + 1e-12
    assert cost.share.value <= min(1.0, sum(max(0.0, one) for one in parts)) + 1e-12
    assert 0.0 <= cost.share.low <= cost.share.value + 1e-12
    assert cost.share.value <= cost.share.high + 1e-12 <= 1.0 + 1e-11


def scores(kl: Sequence[float], right: Sequence[float] | None = None) -> Scores:
    return Scores(
        kl_P=tuple(kl),
        tokens_P=(10.0,) * len(kl),
        right_P=None if right is None else tuple(right),
    )


NAMES = [f"p{number}" for number in range(40)]


def test_the_gap_is_closed_by_the_share_of_kl_or_of_right_answers_that_was_won() -> None:
    base, half, teacher = scores([20.0] * 40), scores([10.0] * 40), scores([0.0] * 40)
    found = quality_of(half, base, teacher, NAMES, seed=0)
    assert found.gap_closed.value == pytest.approx(0.5)
    assert found.kl_nats.value == pytest.approx(1.0)
    wrong, some = [0.0] * 40, [1.0, 0.0] * 20
    gold = quality_of(
        scores([1.0] * 40, some),
        scores([1.0] * 40, wrong),
        scores([0.0] * 40, [1.0] * 32 + [0.0] * 8),
        NAMES,
        seed=0,
    )
    assert gold.gap_closed.value == pytest.approx(20 / 32)
    assert gold.gap_closed.low < 20 / 32 < gold.gap_closed.high


def test_a_student_that_won_nothing_is_not_certain_to_have_won_nothing() -> None:
    wrong = scores([1.0] * 40, [0.0] * 40)
    found = quality_of(wrong, wrong, scores([0.0] * 40, [1.0] * 40), NAMES, seed=0)
    assert found.gap_closed.value == 0.0
    assert 0.0 < found.gap_closed.high < 0.2


def test_a_teacher_that_is_no_better_than_the_base_has_nothing_to_copy() -> None:
    same = scores([1.0] * 40, [1.0] * 20 + [0.0] * 20)
    with pytest.raises(DataError, match="nothing to copy"):
        quality_of(same, same, same, NAMES, seed=0)


@given(
    st.lists(st.floats(0, 500), min_size=1, max_size=25),
    st.floats(8, 18),
)
def test_names_keep_their_distance_and_their_order(wanted: list[float], step: float) -> None:
    bottom = step * len(wanted) + 50
    places = _spread(sorted(wanted), step, 40.0, bottom)
    assert all(later - one >= step - 1e-9 for one, later in itertools.pairwise(places))
    assert places[-1] <= bottom + 1e-9
    assert places[0] >= 40.0 - 1e-9


def test_every_mark_is_inside_the_drawing_and_told_in_words() -> None:
    marks = [
        Mark(1, "none \N{MIDDLE DOT} text", "none", "text", (0.4, 0.3, 0.5), None, (0.0, 0.0, 0.0)),
        Mark(2, "a <b>", "mark", "text", (0.4, 0.3, 0.5), 250.0, (0.3, 0.1, 0.9)),
        Mark(3, "x" * 90, "mark", "logprobs", (-0.2, -0.3, 0.1), 0.0, (0.01, 0.0, 0.02)),
    ]
    chart = RangeChart(marks, 1e-3, ["none", "mark"], ["text", "logprobs"], "what it shows")
    for width in (1_040.0, 360.0):
        drawn = str(chart.drawn(width))
        xs = [float(found) for found in re.findall(r' (?:x|cx|x1|x2)="([-\d.]+)"', drawn)]
        assert min(xs) >= 0
        assert max(xs) <= width
        assert "a <b>" not in drawn
        assert "log10 p -250.0" in drawn
        assert "no test" in drawn


def test_the_better_of_two_tests_counts_twice() -> None:
    both = DefenceConfig(mark=MarkConfig(), limit=LimitConfig(watch=True))
    trace = Trace(log10_p=-4.0, z=4.0, contexts=9, decoy_z_mean=None, decoy_z_sd=None, effect=None)
    assert _decide(both, trace, -1.0) == ("both", pytest.approx(-4.0 + math.log10(2)), "")
    weak = trace.model_copy(update={"log10_p": 0.0})
    assert _decide(both, weak, 0.0) == ("both", 0.0, "")
    only_limit = DefenceConfig(limit=LimitConfig())
    assert _decide(only_limit, None, None)[:2] == ("none", None)


def honest() -> Honest:
    prompts = {
        name: [
            Prompt(id=f"{name}{number}", messages=(Message(role="user", content=text),))
            for number, text in enumerate(area.texts[:150])
        ]
        for name, area in areas("test").items()
    }
    return Honest(
        prompts=prompts,
        num_accounts=60,
        num_reference=60,
        reference_requests=40,
        key=TrafficKey(bytes(range(32))),
        seed=0,
    )


@pytest.fixture(scope="module")
def world() -> Honest:
    return honest()


def asked(world: Honest) -> list[Prompt]:
    return [prompt for some in world.prompts.values() for prompt in some][:200]


@settings(max_examples=6, deadline=None)
@given(per_day=st.integers(1, 60), accounts=st.integers(1, 7), days=st.integers(1, 14))
def test_a_limit_answers_what_it_says_and_refuses_the_rest(
    per_day: int, accounts: int, days: int
) -> None:
    found = WORLD.attempt(
        asked(WORLD),
        LimitConfig(per_day=per_day, days=days),
        accounts=accounts,
        asks_logprobs=False,
        completion_tokens=20,
    )
    shares = [len(asked(WORLD)[account::accounts]) for account in range(accounts)]
    assert found.collected == sum(min(share, per_day * days) for share in shares)
    by_day: dict[tuple[str, str], int] = {}
    for row in WORLD.rows:
        day = (row.account, row.at.date().isoformat())
        by_day[day] = by_day.get(day, 0) + 1
    refused = sum(max(0, number - per_day) for number in by_day.values())
    assert found.refused.value == pytest.approx(refused / len(WORLD.rows))
    assert (found.log10_p, found.num_flagged) == (None, 0)


WORLD = honest()


def test_an_account_that_is_flagged_gets_no_more_answers(world: Honest) -> None:
    # At such a level every account with the oddest window of sixty is flagged.
    limit = LimitConfig(per_day=100, days=14, watch=True, level=0.9)
    steps = [
        one.model_copy(
            update={
                "messages": (
                    Message(
                        role="user",
                        content="Think step by step and show the reasoning trace. "
                        f"{one.messages[-1].content}",
                    ),
                )
            }
        )
        for one in asked(world)
    ]
    found = world.attempt(steps, limit, accounts=1, asks_logprobs=True, completion_tokens=400)
    assert found.num_flagged == 1
    assert 20 <= found.collected < len(steps)
    assert found.log10_p is not None
    assert found.log10_p < -1
    assert found.refused.value < 0.5


def test_what_honest_requests_ask_for_is_a_share_with_an_interval(world: Honest) -> None:
    found = world.asked()
    for share, really in (
        (found.logprobs, np.mean([row.logprobs for row in world.rows])),
        (found.reasoning, None),
    ):
        assert 0.0 <= share.low <= share.value <= share.high <= 1.0
        if really is not None:
            assert share.value == pytest.approx(float(really))
    assert found.reasoning.value > 0
    nobody = world._share([False] * len(world.rows))
    assert nobody.value == 0.0
    assert nobody.high > 0


def test_small_groups_of_prompts_are_one_area() -> None:
    prompts = [
        Prompt(
            id=f"p{number}",
            messages=(Message(role="user", content=f"text {number}"),),
            group="large" if number < 30 else f"small-{number}",
        )
        for number in range(50)
    ]
    found = areas_of({"field": prompts})
    assert {name: len(area.texts) for name, area in found.items()} == {
        "field/large": 30,
        "field/others": 20,
    }
    assert {area.source for area in found.values()} == {"field"}


def test_attacks_say_what_they_cannot_do() -> None:
    with pytest.raises(ValueError, match="no log-probabilities"):
        AttackConfig(reads="logprobs", paraphrase=True)
