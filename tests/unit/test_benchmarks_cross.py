"""What the cross-tokenizer benchmark makes of its figures, and its place on the page."""

from typing import Any

import pytest
from benchmarks._cross import tables
from benchmarks._cross.materials import keep_half_of_the_merges, prompts
from benchmarks._cross.options import RESULTS
from benchmarks._cross.students import ARMS, WHOLE, with_shares
from benchmarks._parts.goals import rows
from benchmarks._parts.pages import PAGE, with_tables
from benchmarks._parts.results import read
from benchmarks.cross import CROSS


def arm(before: float, *after: float) -> dict[str, Any]:
    return {"untrained_nats_per_byte": before, "nats_per_byte": list(after)}


def test_a_gain_is_the_share_of_the_gap_to_the_teacher() -> None:
    other = "other tokenizer, alm"
    found = with_shares({WHOLE: arm(3.0, 2.0, 1.5), other: arm(5.0, 3.2, 2.6)}, 1.0)
    assert found[WHOLE]["gap_closed"] == [0.5, 0.75]
    assert found[other]["gap_closed"] == pytest.approx([0.45, 0.6])
    assert found[other]["share_of_same_tokenizer"] == pytest.approx({"mean": 0.85, "least": 0.8})


def test_the_worst_seed_decides_and_two_seeds_prove_nothing() -> None:
    for seeds, expected in ((3, ("80 %", "**no**")), (2, ("not measured", ""))):
        arms = {WHOLE: arm(3.0, *[2.0] * seeds), "other tokenizer, alm": arm(3.0, 2.0, 2.2)}
        document = {"students": {"seeds": seeds, "arms": with_shares(arms, 1.0)}}
        assert rows(document, tables.GOALS)[0].cells[2:] == expected


def test_without_the_arm_to_compare_with_there_is_no_share() -> None:
    found = with_shares({"other tokenizer, alm": arm(3.0, 2.0)}, 1.0)
    table = tables.students_table({"arms": found}).splitlines()[2]
    assert table == "| other tokenizer, alm | 3.000 | 2.000 (2.000 to 2.000) | " + (
        "50.0% (50.0% to 50.0%) |  |"
    )


def test_half_of_the_merges_leaves_the_ids_that_they_make() -> None:
    model = {
        "merges": ["a b", "ab c", "c d", "cd e"],
        "vocab": {"a": 0, "b": 1, "c": 2, "d": 3, "e": 4, "ab": 5, "abc": 6, "cd": 7, "cde": 8},
    }
    keep_half_of_the_merges(model)
    assert model["merges"] == ["a b", "ab c"]
    assert list(model["vocab"]) == ["a", "b", "c", "d", "e", "ab", "abc"]


def test_every_fifth_prompt_is_held_out() -> None:
    asked = prompts(11)
    assert [prompt.split for prompt in asked].count("held_out") == 3
    assert len({prompt.messages[0].content for prompt in asked}) == 11


def test_the_arms_have_names_of_their_own_and_the_page_is_that_of_the_results() -> None:
    assert len({one.name for one in ARMS}) == len(ARMS)
    page = PAGE.read_text()
    assert with_tables(page, CROSS.section, tables.tables(read(RESULTS))) == page
