"""What was judged: a verdict with its clauses, duties and sources. Never legal advice."""

from typing import Any, Literal

from pydantic import Field

from stillhouse.records import Record

Verdict = Literal["allow", "allow_with_duties", "unknown", "forbid"]
"""From the mildest to the strictest; of several, the strictest counts. `unknown` never allows."""

DutyKind = Literal[
    "name_prefix",
    "notice",
    "use_policy",
    "non_commercial",
    "share_alike",
    "no_redistribution",
    "attribution",
]
Role = Literal["teacher", "dataset", "base_model"]
Distribution = Literal["internal", "service", "weights"]
StudentKind = Literal["language_model", "classifier"]

NOTE = "A record, not legal advice."
_STRICTNESS: dict[Verdict, int] = {
    "allow": 0,
    "allow_with_duties": 1,
    "unknown": 2,
    "forbid": 3,
}


def strictest(verdicts: list[Verdict]) -> Verdict:
    """The strictest of `verdicts`; `allow` where there is none."""
    return max(verdicts, key=_STRICTNESS.__getitem__, default="allow")


def is_allowed(verdict: Verdict) -> bool:
    """Whether work may go on under a verdict: only where it is known to."""
    return verdict in ("allow", "allow_with_duties")


class Duty(Record):
    """Something that whoever has the student must do, or must not."""

    kind: DutyKind
    value: str
    """What exactly: a prefix, a text to show, the address of a policy, a licence."""
    clause: str
    """Id of the clause that asks for it; the first, where several do."""
    sources: tuple[str, ...]
    """Registry ids of those that ask for it."""


class ClauseRef(Record):
    """A clause that a verdict rests on."""

    id: str
    url: str
    date: str
    """Of the text: ISO 8601, maybe without day or month where the text has none."""
    text_sha256: str | None
    """Of the bytes of the text that was read; None where none is held."""
    disputed: bool
    summary: str
    evidence: str = ""
    """How well the text is known: `primary`, `copy`, `secondary` or `recalled`."""


class SourceFinding(Record):
    """What the terms of one source say about one origin of the student."""

    source: str
    """Registry id; empty where the origin's terms are not known."""
    origin: str
    """`teacher openai:gpt-5`, `dataset X`, `base model Y`."""
    role: Role = "teacher"
    rows: int | None
    share: float | None
    """Of all rows, 0 to 1; None where it is not known."""
    verdict: Verdict
    clauses: tuple[ClauseRef, ...]
    duties: tuple[Duty, ...]
    reason: str
    """Why this verdict, and what to declare or to do where it does not allow."""
    open_facts: tuple[str, ...] = ()
    """What the verdict depends on and was not declared: fields of the declaration."""


class Conflict(Record):
    """Duties that nobody can keep at once."""

    duties: tuple[Duty, ...]
    verdict: Verdict
    reason: str


class WaiverUse(Record):
    """An owner's signed permission that was relied on."""

    owner: str
    source: str
    clauses: tuple[str, ...]
    grantee: str
    scope: str
    teacher: str
    """Pattern of the teachers that it is for."""
    valid_until: str
    key_id: str
    envelope_sha256: str


class TermsRecord(Record):
    """The verdict over everything a student, or a set of answers, is made from."""

    registry_version: str
    registry_sha256: str
    judged_on: str = ""
    """The day, ISO 8601."""
    declaration: dict[str, Any]
    """What the user stated, defaults included."""
    findings: tuple[SourceFinding, ...]
    conflicts: tuple[Conflict, ...] = ()
    verdict: Verdict
    duties: tuple[Duty, ...]
    waivers: tuple[WaiverUse, ...] = ()
    note: str = Field(default=NOTE)
