"""Which tokens are marked: those with a whole context that is new."""

from typing import Literal

from hypothesis import given, settings
from hypothesis import strategies as st
from watermark_cases import Row

from stillhouse.watermark import context_hash
from stillhouse.watermark._contexts import _MAX_ROWS, NewContexts

IDS = st.lists(st.integers(0, 3), max_size=40)


def plain(
    row: Row, previous: list[int], width: int, repeats: Literal["completion", "conversation"]
) -> int | None:
    if len(previous) < width:
        return None
    earlier = [previous[end - width : end] for end in range(width, len(previous))]
    if repeats == "conversation":
        prompt = list(row.prompt_ids)
        earlier += [prompt[end - width : end] for end in range(width, len(prompt) + 1)]
    context = previous[-width:]
    return None if context in earlier else context_hash(context)


@settings(deadline=None)
@given(
    IDS,
    IDS,
    st.integers(1, 5),
    st.sampled_from(["completion", "conversation"]),
    st.lists(st.integers(0, 40), max_size=12),
)
def test_the_answer_depends_on_the_arguments_alone(
    prompt: list[int],
    ids: list[int],
    width: int,
    repeats: Literal["completion", "conversation"],
    order: list[int],
) -> None:
    """Whatever was asked before: longer, shorter, another completion of the same row."""
    contexts, row = NewContexts(width, repeats), Row(prompt_ids=tuple(prompt))
    for length in [*order, *range(len(ids) + 1)]:
        previous = ids[:length]
        assert contexts(row, previous) == plain(row, previous, width, repeats)
    changed = [one ^ 1 for one in ids]
    assert contexts(row, changed) == plain(row, changed, width, repeats)


def test_a_loop_is_marked_once() -> None:
    contexts, row, ids = NewContexts(2, "completion"), Row(), [5, 6]
    marked = 0
    for _ in range(100):
        marked += contexts(row, ids) is not None
        ids.append(ids[-2])
    assert marked == 2  # 5 6 and 6 5


def test_rows_do_not_see_each_other_and_memory_is_bounded() -> None:
    contexts = NewContexts(2, "completion")
    rows = [Row(seed=seed) for seed in range(_MAX_ROWS + 50)]
    for row in rows:
        assert contexts(row, [1, 2]) == context_hash([1, 2])
        assert contexts(row, [1, 2, 1, 2]) is None
    assert len(contexts._rows) == _MAX_ROWS
    assert contexts(rows[0], [1, 2, 3]) == context_hash([2, 3])
