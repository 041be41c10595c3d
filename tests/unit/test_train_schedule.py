"""The order of examples: complete, reproducible, and free of how often a run was resumed."""

import itertools
import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.train._batches import Schedule, split_by_tokens, split_evenly

lengths = st.lists(st.integers(1, 200), min_size=1, max_size=120)
sizes = st.integers(1, 20)
seeds = st.integers(-(2**40), 2**40)


@given(lengths, sizes, st.integers(0, 3), seeds)
def test_an_epoch_sees_each_example_once(
    lengths: list[int], size: int, epoch: int, seed: int
) -> None:
    schedule = Schedule(lengths, size, epochs=4, seed=seed)
    batches = schedule.epoch_batches(epoch)
    assert Counter(itertools.chain(*batches)) == Counter(range(len(lengths)))
    assert len(batches) == schedule.steps_in(epoch) == math.ceil(len(lengths) / size)
    assert all(1 <= len(batch) <= size for batch in batches)


@given(lengths, sizes, st.floats(0.1, 3.0), seeds, st.data())
def test_a_resumed_schedule_goes_on_as_the_whole_one(
    lengths: list[int], size: int, epochs: float, seed: int, data: st.DataObject
) -> None:
    tokens = data.draw(st.none() | st.integers(1, 1_000))
    whole = list(Schedule(lengths, size, epochs, seed, tokens).steps())
    start = data.draw(st.integers(0, len(whole)))
    assert list(Schedule(lengths, size, epochs, seed, tokens).steps(start)) == whole[start:]
    assert [step for step, _ in whole] == list(range(len(whole)))


@pytest.mark.parametrize(
    ("epochs", "num_steps"), [(0.01, 1), (0.5, 2), (1.0, 4), (1.25, 5), (2.5, 10)]
)
def test_epochs_may_be_a_fraction(epochs: float, num_steps: int) -> None:
    schedule = Schedule([5] * 32, batch_size=8, epochs=epochs, seed=0)
    assert len(list(schedule.steps())) == schedule.num_steps == num_steps


@given(lengths, st.integers(1, 1_000), st.integers(0, 3), seeds)
def test_batches_of_tokens_keep_their_budget_and_see_each_example_once(
    lengths: list[int], tokens: int, epoch: int, seed: int
) -> None:
    schedule = Schedule(lengths, 1, epochs=4, seed=seed, batch_tokens=tokens)
    batches = schedule.epoch_batches(epoch)
    assert Counter(itertools.chain(*batches)) == Counter(range(len(lengths)))
    assert len(batches) == schedule.steps_in(epoch)
    assert all(
        len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= tokens
        for batch in batches
    )


def test_batches_of_tokens_fill_their_budget() -> None:
    lengths = [20 + number * 7 % 181 for number in range(2_000)]
    schedule = Schedule(lengths, 1, epochs=1, seed=0, batch_tokens=2_000)
    used = [sum(lengths[index] for index in batch) for batch in schedule.epoch_batches(0)]
    assert sum(used) / len(used) > 0.85 * 2_000


def test_seeds_and_epochs_give_other_orders() -> None:
    schedule = Schedule([5] * 64, batch_size=8, epochs=2, seed=0)
    assert schedule.epoch_batches(0) != schedule.epoch_batches(1)
    assert schedule.epoch_batches(0) != Schedule([5] * 64, 8, 2, seed=1).epoch_batches(0)


def test_batches_hold_examples_of_like_length_in_no_order_of_length() -> None:
    lengths = [1 + number % 100 for number in range(400)]
    batches = Schedule(lengths, batch_size=8, epochs=1, seed=0).epoch_batches(0)
    longest = [max(lengths[index] for index in batch) for batch in batches]
    padded = sum(8 * length for length in longest) / sum(lengths)
    assert padded < 1.2  # random batches of eight pad this mix to 1.76
    assert longest != sorted(longest)


@given(st.lists(st.integers(), min_size=1, max_size=40), st.integers(1, 50))
def test_parts_hold_the_batch_in_order_and_differ_by_one_at_most(
    batch: list[int], parts: int
) -> None:
    split = split_evenly(batch, parts)
    assert list(itertools.chain(*split)) == batch
    assert len(split) == min(parts, len(batch))
    part_sizes = [len(part) for part in split]
    assert max(part_sizes) - min(part_sizes) <= 1
    assert min(part_sizes) >= 1


@given(st.lists(st.integers(1, 200), min_size=1, max_size=40), st.integers(1, 1_000))
def test_parts_by_tokens_hold_each_item_once_within_the_budget(
    batch: list[int], tokens: int
) -> None:
    parts = split_by_tokens(batch, tokens, length=lambda item: item)
    assert Counter(itertools.chain(*parts)) == Counter(batch)
    assert all(len(part) == 1 or len(part) * max(part) <= tokens for part in parts)


@pytest.mark.parametrize("tokens", [None, 9])
def test_a_batch_within_the_budget_is_one_part_as_it_is(tokens: int | None) -> None:
    assert split_by_tokens([3, 1, 2], tokens, length=lambda item: item) == [[3, 1, 2]]


def test_parts_leave_little_padding() -> None:
    assert split_by_tokens([9, 1, 8, 2], 18, length=lambda item: item) == [[1, 2], [8, 9]]
