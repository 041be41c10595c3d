"""The page of the accounts: what it says, what it never says, and that it fits its column."""

import re
from pathlib import Path
from typing import Any

import economics_cases as cases
import pytest
from report_checks import CHROMIUM, Page, browser_complaints, drawings, plain

from stillhouse.economics import (
    Assumptions,
    Economics,
    Range,
    Speed,
    cost_figure,
    economics,
    render_economics,
)

SPEED = Speed(Range(value=0.5, low=0.4, high=0.6), 1, 20, "evaluation e")
FULL: dict[str, Any] = {
    "usd_per_core_hour": 0.36, "teacher_share": 0.2, "requests_per_refresh": 5e6,
    "governance_hours": 12.0, "curation_hours": 6.0, "usd_per_person_hour": 60.0,
    "teacher_training_usd": 4e7, "teacher_requests": 1e10, "teacher_margin": 0.6,
    "protection_usd": 25_000.0, "usd_per_user_hour": 20.0, "penalty_usd": 50_000.0,
    "evasion_usd": 300.0, "cores": 2,
}  # fmt: skip


def accounts(folder: Path, speed: Speed | None = SPEED, **given: Any) -> Economics:
    return economics(folder, assumptions=Assumptions(**given), speed=speed)


def page(found: Economics) -> str:
    return render_economics(found, command="stillhouse economics student")


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cases.student_of(tmp_path_factory.mktemp("student")).path


@pytest.fixture(scope="module")
def unpriced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cases.student_of(tmp_path_factory.mktemp("unpriced"), costs=(None, None)).path


def test_every_section_and_every_flow_is_there(student: Path) -> None:
    found = accounts(student, **FULL)
    shown = plain(page(found))
    for title in (
        "When it pays back", "When a licence sells", "What it hangs on", "Who pays whom",
        "Party by party", "Who bears what nobody pays", "Copying beside training",
        "What is assumed", "Do it again",
    ):  # fmt: skip
        assert title in shown
    for one in (*found.flows, *found.effects):
        assert (one.item if hasattr(one, "item") else one.name) in shown
    for given in found.assumptions:
        assert f"Source: {given.source}." in shown
    assert found.verdict in shown
    assert "not legal or financial advice" in shown


def test_it_needs_no_network_and_no_script(student: Path) -> None:
    source = page(accounts(student, **FULL))
    tags = Page(source).tags
    assert not any(tag in ("script", "link", "img", "iframe") and
                   "data:," not in (attrs.get("href") or "") for tag, attrs in tags)  # fmt: skip
    assert not re.search(r"""(src|href)=["']https?:""", source)


def test_an_unknown_amount_is_never_shown_as_nothing(unpriced: Path) -> None:
    found = accounts(unpriced, speed=None)
    shown = plain(page(found))
    assert "What is missing" in shown
    for line in found.missing:
        assert line in shown
    told = (
        "labelling calls 2 calls, 20 tokens read and 6 written ?maker to teacher's owner ?unknown"
    )
    assert re.search(told, shown)
    assert "Pays back after unknown" in shown
    assert "A licence sells up to unknown" in shown
    assert "Requests until it pays back" not in shown
    assert "Highest royalty that sells, the penalty" not in shown


def test_what_never_pays_back_has_no_curve(student: Path) -> None:
    found = accounts(student, teacher_usd_per_request=1e-9)
    shown = page(found)
    assert "It never pays back" in plain(shown)
    assert "Pays back after never" in plain(shown)
    assert "paid for itself after" not in shown


def test_changed_assumptions_stand_out(student: Path) -> None:
    source = page(accounts(student, teacher_share=0.2))
    changed = re.findall(r'<tr class="changed"><th scope="row"><code>(\w+)</code>', source)
    assert changed == ["teacher_share"]


def test_names_from_outside_are_escaped(student: Path) -> None:
    copying = {"<b>x</b>": Assumptions().copying["thirteen million exchanges"]}
    source = page(accounts(student, copying=copying))
    assert "<b>x</b>" not in source
    assert "&lt;b&gt;x&lt;/b&gt;" in source


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e3, 1e6, 1e9])
def test_numbers_on_the_axes_stay_short(scale: float) -> None:
    drawn = cost_figure(10 * scale, 0.02 * scale, 0.001 * scale, 526.3, name="s").wide
    far = cost_figure(10 * scale, 0.02, 0.001, 526.3 * scale, name="s").narrow
    for chart in (drawn, far):
        ticks = re.findall(r'class="tick[^"]*">([^<]*)<', str(chart))
        assert len(ticks) >= 4
        assert max(map(len, ticks)) <= 7


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_nothing_sticks_out_at_any_width(student: Path, unpriced: Path, tmp_path: Path) -> None:
    sources = {
        "full": page(accounts(student, **FULL)),
        "sparse": page(accounts(student)),
        "unknown": page(accounts(unpriced, speed=None)),
        "never": page(accounts(student, **{**FULL, "requests_per_refresh": 1e5})),
    }
    complaints, drawn = browser_complaints(sources, (360, 390, 768, 1280), folder=tmp_path)
    assert complaints == []
    assert drawn[:4] == [4] * 4
    assert drawn[8:12] == [0] * 4


def test_drawings_say_what_they_show(student: Path) -> None:
    for one in drawings(page(accounts(student, **FULL))):
        assert re.search(r"<title>[^<]{20,}", one)
