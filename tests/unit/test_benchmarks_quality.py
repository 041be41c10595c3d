"""The parts of the quality benchmark that judge: intervals, ratios, goals, tables."""

from typing import Any

import pytest
from benchmarks._parts.goals import rows
from benchmarks._parts.pages import PAGE, with_tables
from benchmarks._parts.results import read
from benchmarks._quality import tables, verdicts
from benchmarks._quality.options import RESULTS
from benchmarks._quality.scores import Scores, Texts
from benchmarks._quality.students import ARMS
from benchmarks.quality import QUALITY

PROMPTS = [f"p{number}" for number in range(20)]


def texts(nats: float, tokens: int = 10) -> Texts:
    """Two texts on each prompt, alternately above and below `nats` per token."""
    spread = [nats * (1.05 if number % 2 else 0.95) * tokens for number in range(20)] * 2
    return Texts(PROMPTS * 2, [tokens] * 40, spread, spread, spread)


def scores(text: float, own: float) -> Scores:
    return Scores(texts(text), texts(own), student_tokens=1_000, seconds=60.0)


def seeds(**changed: Scores) -> list[dict[str, Scores]]:
    made = {
        "seqkd": scores(1.0, 2.0),
        "kd": scores(0.7, 1.0),
        "onpolicy": scores(0.7, 0.6),
        **changed,
    }
    return [made, made, made]


def cells(document: dict[str, Any]) -> list[tuple[str, str]]:
    return [row.cells[2:] for row in rows(document, tables.GOALS)]


def test_goals_are_met_by_what_they_ask_for() -> None:
    document = {"students": verdicts.entry_of(seeds())}
    met = ("0.7", "0", "40 %", "0", "0 %")
    assert cells(document) == [(value, "yes") for value in met]


def test_the_worst_seed_counts_and_every_two_intervals_are_compared() -> None:
    worse = seeds()
    worse[1] = {**worse[1], "kd": scores(0.99, 0.65), "onpolicy": scores(0.72, 0.6)}
    found = verdicts.entry_of(worse)
    assert found["kd_over_seqkd_text_kl"]["most"] == pytest.approx(0.99)
    assert found["kd_over_seqkd_text_kl"]["overlapping_intervals"] == 3  # with each of three
    assert found["onpolicy_over_kd_own_kl"]["fall"] == pytest.approx(1 - 0.6 / 0.65)
    assert found["onpolicy_over_kd_text_nll"]["change"] == pytest.approx(0.0, abs=1e-12)
    assert [met for _, met in cells({"students": found})][:3] == ["**no**"] * 3


def test_fewer_seeds_prove_nothing() -> None:
    assert {cell for cell, _ in cells({"students": verdicts.entry_of(seeds()[:2])})} == {
        "not measured"
    }


def test_an_arm_that_was_not_made_is_not_compared() -> None:
    found = verdicts.entry_of([{"kd": scores(0.7, 1.0)}])
    assert [name for name in found if "over" in name] == []
    assert found["arms"]["kd"][0]["text_kl"]["num_clusters"] == 20


def test_a_table_has_the_mean_of_seeds_and_the_ends_of_all_intervals() -> None:
    two = [{"kd": scores(0.6, 1.0)}, {"kd": scores(0.8, 1.0)}]
    entry = verdicts.entry_of(two)
    row = tables.students_table(entry).splitlines()[2]
    low, high = (
        entry["arms"]["kd"][seed]["text_kl"][end] for seed, end in ((0, "low"), (1, "high"))
    )
    assert row.startswith(f"| cached KD | 0.700 ({low:.3f} to {high:.3f}) |")
    assert row.endswith("| 1,000 | 60 |")


def test_every_arm_has_words_and_the_page_is_that_of_the_results() -> None:
    assert set(tables._WORDS) == set(ARMS)
    page = PAGE.read_text()
    assert with_tables(page, QUALITY.section, tables.tables(read(RESULTS))) == page
