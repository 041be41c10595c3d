"""What effects can say that no source of today's registry says."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from terms_cases import TODAY, origin

from stillhouse.terms import Declaration, Origin, TermsRecord, judge, load_registry

NOT_INTERNAL = {"distribution": ["service", "weights"]}


def verdict(
    tmp_path: Path, effects: dict[str, list[dict[str, Any]]], *origins: Origin | str, **given: Any
) -> TermsRecord:
    """The verdict under a registry of sources that have one clause each."""
    sources = [
        {
            "id": name,
            "title": name,
            "owner": "ACME",
            "family": name,
            "texts": {
                "text": {
                    "url": "https://acme.example",
                    "date": "2026",
                    "date_of": "text",
                    "read": "2026-11-29",
                    "evidence": "primary",
                }
            },
            "clauses": [{"id": f"{name}/1", "text": "text", "summary": "x", "effects": each}],
        }
        for name, each in effects.items()
    ]
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"sources": sources}), encoding="utf-8")
    made = [origin(one) if isinstance(one, str) else one for one in origins]
    return judge(
        made,
        Declaration.model_validate(given),
        registry=load_registry([path], today=TODAY),
        today=TODAY,
    )


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.0, "allow"), (0.05, "allow"), (0.06, "forbid"), (1.0, "forbid"), (None, "unknown")],
)
def test_a_clause_may_begin_at_a_share_of_the_rows(
    tmp_path: Path, share: float | None, expected: str
) -> None:
    effects = {"a": [{"when": {"share_above": 0.05}, "verdict": "forbid"}]}
    record = verdict(tmp_path, effects, origin("teacher a", share=share))
    assert record.verdict == expected
    assert record.findings[0].open_facts == (("share of rows",) if share is None else ())


def test_what_may_not_be_passed_on_is_not(tmp_path: Path) -> None:
    effects = {"a": [{"duty": {"kind": "no_redistribution", "value": "keep it"}}]}
    record = verdict(tmp_path, effects, "teacher a", distribution="weights")
    assert record.verdict == "forbid"
    assert "a does not let the student be passed on" in record.conflicts[0].reason
    kept = verdict(tmp_path, effects, "teacher a", distribution="service")
    assert kept.verdict == "allow_with_duties"
    assert verdict(tmp_path, effects, "teacher a").verdict == "unknown"


def test_share_alike_lets_everybody_pass_on(tmp_path: Path) -> None:
    effects = {
        "a": [{"when": {"role": ["teacher"]}, "duty": {"kind": "no_redistribution", "value": "x"}}]
    }
    record = verdict(tmp_path, effects, "teacher a", "dataset gpl-3.0", distribution="weights")
    assert any("which a forbids" in one.reason for one in record.conflicts)


@pytest.mark.parametrize(("one", "other", "clash"), [("A", "B", True), ("A", "A 2", False)])
def test_a_name_begins_once(tmp_path: Path, one: str, other: str, clash: bool) -> None:
    effects = {
        name: [{"when": NOT_INTERNAL, "duty": {"kind": "name_prefix", "value": value}}]
        for name, value in (("a", one), ("b", other))
    }
    for distribution in ("service", "weights"):
        record = verdict(tmp_path, effects, "teacher a", "teacher b", distribution=distribution)
        assert (record.verdict == "forbid") == clash
    if clash:
        assert "A name cannot begin with 'A' (a) and with 'B' (b)" in record.conflicts[0].reason


def test_an_exception_that_may_hold_leaves_it_open(tmp_path: Path) -> None:
    effects = {
        "a": [
            {
                "when": {"competes": True},
                "unless": {"student": "classifier", "distribution": ["internal"]},
                "verdict": "forbid",
            }
        ]
    }
    told = {"competes": True, "student": "classifier"}
    assert verdict(tmp_path, effects, "teacher a", **told).verdict == "unknown"
    assert verdict(tmp_path, effects, "teacher a", **told, distribution="internal").verdict == (
        "allow"
    )
    assert verdict(tmp_path, effects, "teacher a", **told, distribution="service").verdict == (
        "forbid"
    )
    assert verdict(tmp_path, effects, "teacher a", competes=False).verdict == "allow"
    rival = {"competes": True, "student": "language_model"}
    assert verdict(tmp_path, effects, "teacher a", **rival).verdict == "forbid"


def test_several_base_models_are_inside_a_family_only_together(tmp_path: Path) -> None:
    effects: dict[str, list[dict[str, Any]]] = {
        "a": [{"when": {"role": ["teacher"], "outside_family": True}, "verdict": "forbid"}]
    }
    assert verdict(tmp_path, effects, "teacher a", "base a").verdict == "allow"
    assert verdict(tmp_path, effects, "teacher a", "base a", "base mit").verdict == "forbid"
    assert verdict(tmp_path, effects, "teacher a", "base ?").verdict == "unknown"
    assert verdict(tmp_path, effects, "teacher a", base_models={"x": "a"}).verdict == "allow"
    assert verdict(tmp_path, effects, "teacher a", base_models={"x": "mit"}).verdict == "forbid"
