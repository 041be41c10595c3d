import itertools

import pytest

from stillhouse.errors import DataError
from stillhouse.graders import self_agreement, text
from stillhouse.tasks import TaskAnswer


def row(name: str, votes: dict[str, dict[str, int]], group: str | None = None) -> TaskAnswer:
    total = sum(sum(counts.values()) for counts in votes.values())
    return TaskAnswer(
        prompt_id=name,
        text=name,
        group=group,
        answer=None,
        num_answers=total,
        num_invalid=0,
        votes=votes,
    )


def test_agreement_is_that_of_all_pairs() -> None:
    found = self_agreement([row("p", {"t": {"a": 3, "b": 1, "c": 1}}, group="g")])
    answers = ["a", "a", "a", "b", "c"]
    pairs = list(itertools.combinations(answers, 2))
    assert found.scores == (pytest.approx(sum(x == y for x, y in pairs) / len(pairs)),)
    assert (found.prompt_ids, found.groups) == (("p",), ("g",))
    assert found.mean == found.scores[0]


def test_another_score_grades_each_pair() -> None:
    found = self_agreement([row("p", {"t": {"the cat": 2, "the dog": 1}})], text)
    assert found.scores == (pytest.approx((1.0 + 0.5 + 0.5) / 3),)


def test_teachers_are_compared_with_themselves_only() -> None:
    found = self_agreement([row("p", {"t": {"a": 2}, "b": {"b": 1, "c": 1}, "c": {"d": 1}})])
    assert found.scores == (pytest.approx((1.0 + 0.0) / 2),)


def test_prompts_that_were_answered_once_are_left_out() -> None:
    rows = [row("p", {"t": {"a": 1}}), row("q", {"t": {"a": 2}}), row("r", {})]
    assert self_agreement(rows).prompt_ids == ("q",)
    with pytest.raises(DataError, match="samples_per_prompt of 2"):
        self_agreement(rows[:1])
    with pytest.raises(DataError, match="two valid answers"):
        self_agreement([])
