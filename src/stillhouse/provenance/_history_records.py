"""What is told about where a row came from."""

from datetime import datetime
from typing import Any

from pydantic import ConfigDict

from stillhouse.records import FinishReason, Record, Sampling, Usage


class RowPlace(Record):
    """A row of an artefact, and its hash."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    path: str
    """The artefact's folder."""
    kind: str
    stage: str
    manifest_sha256: str
    file: str
    table: str
    row: int
    """Its place among all rows of the artefact, from 0: the number of its leaf."""
    leaf_sha256: str
    """Its hash in the Merkle tree (docs/format.md, section 3)."""


class ImportedFrom(Record):
    """What an import read a row from."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    """Of the file or folder."""
    sha256: str
    """Of its content."""
    place: str | None
    """Where in it; None in artefacts from before it was kept."""


class LedgerCall(Record):
    """What the ledger says about a call."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    path: str
    response_id: str
    """The endpoint's own name of the response; empty where it gave none."""
    dialect: str
    """Whose words the stored body is in."""
    answered_utc: datetime | None
    has_body: bool
    """Whether the answer itself is still there."""


class TeacherCall(Record):
    """The call of a teacher that a row goes back to."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    place: RowPlace
    """Its completion, where it was first written."""
    copies: tuple[RowPlace, ...]
    """The same completion in artefacts that were made from that one, the nearest first."""
    request_id: str
    """SHA-256 of all that was asked."""
    prompt_id: str
    sample_index: int
    teacher: str
    model: str
    """What the teacher says answered."""
    revision: str | None
    sampling: Sampling | None
    """None where it is not known, as of most imports."""
    finish_reason: FinishReason
    usage: Usage
    """Tokens, cost and seconds of this call."""
    created_utc: datetime
    terms: dict[str, Any] | None
    """What the terms gate said when it was collected; None where it was not asked."""
    imported: ImportedFrom | None
    ledger: LedgerCall | None


class RowHistory(Record):
    """From a row back to the calls that it was made of."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    row: RowPlace
    path: tuple[RowPlace, ...]
    """The rows of other artefacts on the way to the completions, the nearest first."""
    calls: tuple[TeacherCall, ...]
    """In the order of their artefact. An answer that several teachers voted on has several."""
    not_at_hand: tuple[str, ...]
    """What these records cannot tell, one sentence each."""
