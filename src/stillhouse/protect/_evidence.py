"""A finding in a form that stands before others: what was asked, how it was tested, what it says.

The record holds everything that the page shows, in the order of the page.
"""

from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field

from stillhouse.artifacts import Artifact, Counts, begin_artifact
from stillhouse.records import Record, Usage, canonical_json

EVIDENCE_NAME = "evidence.json"
PAGE_NAME = "evidence.html"


class KeyFigure(Record):
    """One number that the page opens with."""

    label: str
    value: str
    details: tuple[str, ...] = ()


class EvidenceTable(Record):
    """Rows of text under a heading."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


class Strip(Record):
    """Values on one axis: what the real one stands out from."""

    title: str
    axis: str
    ordinary: tuple[float, ...]
    """Where a test that must find nothing came out."""
    ordinary_label: str
    marked: tuple[tuple[str, float], ...]
    """What is asked about, by name."""


class Evidence(Record):
    """What a test found, for people and programs."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    schema_version: int = Field(default=1, ge=1, le=1)
    """Of this record."""
    title: str
    """What was tested."""
    verdict: str
    """In one sentence, with its level."""
    is_found: bool
    """Whether the null hypothesis is rejected."""
    null_hypothesis: str
    """What is supposed until the p-value says otherwise."""
    statistic: str
    """What was computed, so that another can do it again."""
    log10_p: float
    """Of the deciding test, after correction for all that were made."""
    level: float
    """Chosen before."""
    num_observations: int
    """What the deciding statistic is made of."""
    figures: tuple[KeyFigure, ...]
    """The numbers that count."""
    shows: tuple[tuple[str, str], ...]
    """Separate questions, each with what this test says about it."""
    strip: Strip | None = None
    """Where the result stands among tests that must find nothing."""
    tables: tuple[EvidenceTable, ...]
    """All tests, those that decide nothing too."""
    assumptions: tuple[str, ...]
    """Under which the p-value is right."""
    controls: tuple[str, ...]
    """What was done so that it is, and came out."""
    not_shown: tuple[str, ...]
    """What must not be read from it."""
    inputs: dict[str, str]
    """Fingerprints of what went in."""
    created_utc: datetime
    """When."""
    command: str
    """That makes it again."""
    results: dict[str, Any]
    """The test's own record, number for number."""


def write_evidence(
    evidence: Evidence,
    out: Path,
    *,
    stage: str,
    config: dict[str, Any],
    parents: tuple[Artifact, ...],
    seconds: float,
    replace: bool,
) -> Artifact:
    """The artefact: `stillhouse sign` signs its manifest, and with it both files.

    Raises:
        ConfigError: the folder holds something else, and `replace` is not given.
    """
    from stillhouse.protect._page import render_evidence

    writer = begin_artifact(
        out,
        kind="evidence",
        stage=stage,
        config=config,
        config_given=config,
        parents=list(parents),
        replace=replace,
    )
    try:
        writer.new_file(EVIDENCE_NAME).write_bytes(canonical_json(evidence) + b"\n")
        writer.new_file(PAGE_NAME).write_text(render_evidence(evidence), encoding="utf-8")
        kept = evidence.num_observations
        return writer.finish(
            counts=Counts.model_validate({"in": kept, "kept": kept}),
            usage=Usage(cost_usd=0.0, seconds=seconds),
            device="cpu",
            results={
                "verdict": evidence.verdict,
                "is_found": evidence.is_found,
                "log10_p": evidence.log10_p,
                "level": evidence.level,
            },
        )
    finally:
        writer.release()
