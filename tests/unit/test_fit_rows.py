"""Which rows are learnt, as what, and which are set aside."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from fit_cases import LABELS, a_dataset, a_task, an_answer, rows_of

from stillhouse.errors import ConfigError, DataError, IntegrityError
from stillhouse.fit._rows import read_rows
from stillhouse.fit._split import parted, validation_flags


def test_soft_targets_are_the_teachers_probabilities(tmp_path: Path) -> None:
    row = an_answer(0, "card", probabilities={"card": 0.75, "loan": 0.25})
    dataset = a_dataset(tmp_path / "d", [row])
    soft, _ = read_rows(dataset, targets="soft")
    hard, _ = read_rows(dataset, targets="hard")
    np.testing.assert_allclose(soft.targets_NL, [[0.75, 0.0, 0.25, 0.0]])
    np.testing.assert_allclose(hard.targets_NL, [[1.0, 0.0, 0.0, 0.0]])


def test_of_several_labels_each_gets_the_share_of_the_answers_with_it(tmp_path: Path) -> None:
    shares = {"card, cash": 0.5, "cash": 0.25, "": 0.25}
    row = an_answer(0, "card, cash", probabilities=shares)
    task = a_task(multiple=True)
    rows, _ = read_rows(a_dataset(tmp_path / "d", [row], task=task), targets="soft")
    np.testing.assert_allclose(rows.targets_NL, [[0.5, 0.75, 0.0, 0.0]])


def test_rows_without_a_valid_answer_are_counted_by_reason(tmp_path: Path) -> None:
    rows = [
        an_answer(0, "card"),
        an_answer(1, None, invalid=("unknown_label: 'credit'", "empty"), num_invalid=2),
        an_answer(2, None, invalid=("empty",)),
        an_answer(3, None, num_answers=0, num_invalid=0, invalid=()),
        an_answer(4, "cash", " \n"),
    ]
    kept, dropped = read_rows(a_dataset(tmp_path / "d", rows), targets="soft")
    assert kept.answers == ("card",)
    assert dropped == {"unknown_label": 1, "empty": 1, "unanswered": 1, "blank_text": 1}


def test_held_out_rows_are_passed_over_whatever_they_hold(tmp_path: Path) -> None:
    rows, _ = rows_of(20)
    damaged = an_answer(
        99, "no label", "card", split="held_out", probabilities={"no label": float("nan")}
    )
    kept, dropped = read_rows(a_dataset(tmp_path / "d", [*rows, damaged]), targets="soft")
    assert len(kept) == 20
    assert not dropped


def test_what_cannot_be_learnt_is_refused(tmp_path: Path) -> None:
    def read(name: str, *rows: object, **options: object) -> None:
        read_rows(a_dataset(tmp_path / name, rows, **options), targets="soft")  # type: ignore[arg-type]

    with pytest.raises(DataError, match="no distribution"):
        read("nan", an_answer(0, "card", probabilities={"card": float("nan")}))
    with pytest.raises(DataError, match="no distribution"):
        read("half", an_answer(0, "card", probabilities={"card": 0.5}))
    with pytest.raises(IntegrityError, match="'savings', which is none"):
        read("strange", an_answer(0, "savings"))
    with pytest.raises(DataError, match="no training rows"):
        read("empty")
    with pytest.raises(DataError, match="no training rows"):
        read("other", an_answer(0, "card"), stem="examples")
    with pytest.raises(DataError, match=r"None of 1 training rows .*unknown_label 1"):
        read("invalid", an_answer(0, None))
    with pytest.raises(ConfigError, match="kind 'text'"):
        read("text", an_answer(0, "x"), task=a_task(kind="text", labels=()))


def test_a_row_stays_on_its_side_whatever_others_there_are() -> None:
    rows, _ = rows_of(400)
    flags = validation_flags(rows, 0.1)
    assert 20 <= flags.sum() <= 60
    backwards = validation_flags(rows[::-1], 0.1)[::-1]
    np.testing.assert_array_equal(flags, backwards)
    np.testing.assert_array_equal(flags[:200], validation_flags(rows[:200], 0.1))
    more = validation_flags(rows, 0.2)
    assert (more | ~flags).all()
    assert more.sum() > flags.sum()


def test_groups_stay_whole() -> None:
    rows = [an_answer(number, "card", group=f"g{number % 30}") for number in range(300)]
    flags = validation_flags(rows, 0.3)
    sides: dict[str | None, set[bool]] = {}
    for row, flag in zip(rows, flags, strict=True):
        sides.setdefault(row.group, set()).add(bool(flag))
    assert all(len(side) == 1 for side in sides.values())
    assert 0 < flags.sum() < 300


@pytest.mark.parametrize("num_rows", [2, 3, 10])
def test_of_a_handful_at_least_one_is_set_aside_and_one_is_not(num_rows: int) -> None:
    for start in range(50):
        rows = [an_answer(start + number, "card") for number in range(num_rows)]
        assert 0 < validation_flags(rows, 0.1).sum() < num_rows


def test_no_text_that_is_learnt_is_set_aside(tmp_path: Path) -> None:
    rows = [an_answer(n, LABELS[n % 4], f"Text {n // 2}" + " " * (n % 2)) for n in range(400)]
    kept, _ = read_rows(a_dataset(tmp_path / "d", rows), targets="soft")
    parts = parted(kept, Counter(), fraction=0.2)
    learnt = {text.strip() for text in parts.learn.texts}
    assert not learnt & {text.strip() for text in parts.aside.texts}
    lost = parts.dropped["repeats_training_text"]
    assert lost > 0
    assert len(parts.learn) + len(parts.aside) + lost == 400


def test_too_few_rows_are_refused_with_what_would_do(tmp_path: Path) -> None:
    def part(name: str, rows: list[object], fraction: float = 0.1) -> None:
        kept, dropped = read_rows(a_dataset(tmp_path / name, rows), targets="soft")  # type: ignore[arg-type]
        parted(kept, dropped, fraction=fraction)

    three = [an_answer(n, LABELS[n % 4]) for n in range(3)]
    with pytest.raises(DataError, match=r"There are 3 training rows .* Give 10 or more"):
        part("three", [*three])
    with pytest.raises(DataError, match="1 others were dropped"):
        part("lost", [*three, an_answer(9, None)])
    with pytest.raises(DataError, match="are of one group"):
        part("group", [an_answer(n, LABELS[n % 4], group="g") for n in range(20)])
    with pytest.raises(DataError, match="repeat texts to learn from"):
        part("same", [an_answer(n, LABELS[n % 4], "the same") for n in range(40)])
