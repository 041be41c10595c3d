"""Which pairs are judged: even, linked, and never another beginning."""

from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.errors import ConfigError, DataError
from stillhouse.evaluate._arena._plan import Pairing, plan_pairings

ALL = [set(range(40))] * 4


def test_everything_is_judged_once_where_nothing_limits_it() -> None:
    plan = plan_pairings(ALL)
    wanted = {Pairing(p, a, b) for p in range(40) for a, b in combinations(range(4), 2)}
    assert len(plan) == len(wanted)
    assert set(plan) == wanted


def test_a_smaller_plan_is_the_beginning_of_a_larger_one() -> None:
    plan = plan_pairings(ALL, seed=5)
    for size in (3, 17, 100):
        assert plan_pairings(ALL, max_pairs=size, seed=5) == plan[:size]


@given(size=st.integers(3, 240), seed=st.integers(0, 50))
def test_a_part_takes_all_pairs_of_models_about_equally_often(size: int, seed: int) -> None:
    plan = plan_pairings(ALL, max_pairs=size, seed=seed)
    times = Counter((one.a, one.b) for one in plan)
    assert max(times.values()) - min(times[pair] for pair in combinations(range(4), 2)) <= 1


def test_a_part_is_spread_over_the_prompts() -> None:
    plan = plan_pairings(ALL, max_pairs=36, seed=1)
    assert len({one.prompt for one in plan}) >= 30


@given(
    answered=st.lists(st.sets(st.integers(0, 12), min_size=1), min_size=2, max_size=6),
    seed=st.integers(0, 9),
)
def test_only_what_both_models_answered_is_judged(answered: list[set[int]], seed: int) -> None:
    wanted = {
        Pairing(prompt, a, b)
        for a, b in combinations(range(len(answered)), 2)
        for prompt in answered[a] & answered[b]
    }
    try:
        plan = plan_pairings(answered, seed=seed)
    except DataError:
        return  # not linked; another test says when
    assert len(plan) == len(set(plan))
    assert set(plan) == wanted


@pytest.mark.parametrize("num_models", [2, 3, 5, 9])
@pytest.mark.parametrize("seed", range(5))
def test_one_pair_fewer_than_models_links_them_all(num_models: int, seed: int) -> None:
    answered = [set(range(20))] * num_models
    plan = plan_pairings(answered, max_pairs=num_models - 1, seed=seed)
    linked = {plan[0].a}
    for _ in plan:
        for one in plan:
            if linked & {one.a, one.b}:
                linked |= {one.a, one.b}
    assert linked == set(range(num_models))


def test_too_few_pairs_to_link_all_models_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"max_pairs=2 does not link 4 models\. Give at least 3"):
        plan_pairings(ALL, max_pairs=2)


def test_models_without_a_common_prompt_are_refused() -> None:
    with pytest.raises(DataError, match="no prompt that any of the others did"):
        plan_pairings([{0, 1}, {1, 2}, {3}])


def test_models_are_linked_through_others() -> None:
    plan = plan_pairings([{0}, {0, 1}, {1}])
    assert set(plan) == {Pairing(0, 0, 1), Pairing(1, 1, 2)}


def test_another_seed_is_another_order() -> None:
    assert plan_pairings(ALL, seed=1) != plan_pairings(ALL, seed=2)
    assert plan_pairings(ALL, seed=1) == plan_pairings(ALL, seed=1)
