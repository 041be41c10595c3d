"""What a report says of the terms that a student is under, and of who signed what."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from stillhouse.artifacts import Artifact
from stillhouse.pages import Provenance, TermsLine, percent
from stillhouse.provenance import check_attestations, lineage, recorded_terms
from stillhouse.terms import (
    ClauseRef,
    Duty,
    DutyKind,
    SourceFinding,
    TermsRecord,
    Verdict,
    is_allowed,
)

VERDICTS: dict[Verdict, str] = {
    "allow": "allowed",
    "allow_with_duties": "allowed with duties",
    "unknown": "not known to be allowed",
    "forbid": "forbidden",
}
DUTIES: dict[DutyKind, str] = {
    "name_prefix": "Its name begins with",
    "notice": "Show",
    "use_policy": "Pass on the use policy",
    "non_commercial": "No commercial use",
    "share_alike": "Share under the same licence",
    "no_redistribution": "Do not pass it on",
    "attribution": "Credit",
}
_ASKED_OR_LEARNT = ("completions", "student", "classifier")
_NO_BASE = "no base model"
_SHORT_HASH = 12


def provenance_of(student: Artifact) -> Provenance:
    """Terms and signatures of a student and all that it was made from.

    Args:
        student: What the report is about.

    Raises:
        IntegrityError: the lineage is damaged, holds no terms that can be read, or what was signed
            of it has changed.
    """
    nodes = lineage(student.path).nodes
    records = {node.path: record for node in nodes if (record := recorded_terms(node)) is not None}
    silent = [
        node.path.name
        for node in nodes
        if node.manifest.kind in _ASKED_OR_LEARNT and node.path not in records
    ]
    notes = []
    if silent:
        notes.append(f"No terms were recorded when {', '.join(silent)} were made.")
    found = Provenance(signatures=tuple(_signatures(nodes)), notes=tuple(notes))
    # The one nearest to the student has judged all that came before it.
    return _with_terms(found, list(records.values())[-1]) if records else found


def _with_terms(found: Provenance, record: TermsRecord) -> Provenance:
    conflicts = [f"Duties that nobody can keep at once: {one.reason}" for one in record.conflicts]
    waivers = [
        f"{one.owner} permitted it to {one.grantee} until {one.valid_until}, signed by key "
        f"{one.key_id[:_SHORT_HASH]}."
        for one in record.waivers
    ]
    return replace(
        found,
        verdict=VERDICTS[record.verdict],
        is_allowed=is_allowed(record.verdict),
        judged=f"registry {record.registry_version}"
        + (f", judged on {record.judged_on}" if record.judged_on else ""),
        lines=tuple(_line(one) for one in record.findings),
        duties=tuple(_duty(one) for one in record.duties),
        notes=(*conflicts, *waivers, *found.notes),
    )


def _line(one: SourceFinding) -> TermsLine:
    details = [f"{percent(one.share)} of rows"] if one.share is not None else []
    details += [_clause(clause) for clause in one.clauses]
    origin = _NO_BASE if one.origin == f"base model {_NO_BASE}" else one.origin
    if not is_allowed(one.verdict) or not one.clauses:
        details.append(one.reason)
    return TermsLine(
        what=f"{origin}, {one.source or 'terms unknown'}",
        verdict=VERDICTS[one.verdict],
        is_allowed=is_allowed(one.verdict),
        details=tuple(details),
        clauses=tuple(f"{clause.id}: {clause.summary}" for clause in one.clauses),
    )


def _clause(clause: ClauseRef) -> str:
    disputed = ", disputed" if clause.disputed else ""
    return f"{clause.id} of {clause.date or 'an unknown date'}{disputed}"


def _duty(duty: Duty) -> str:
    value = f": {duty.value}" if duty.value else ""
    return f"{DUTIES[duty.kind]}{value} ({duty.clause})"


def _signatures(nodes: Sequence[Artifact]) -> Iterator[str]:
    now = datetime.now(UTC)
    for node in reversed(nodes):
        for one in check_attestations(node.path, now=now):
            kind = one.predicate_type.rsplit("/", maxsplit=2)[-2]
            yield (
                f"{node.path.name}: {kind}, signed by {one.signer} on "
                f"{one.signed_utc:%Y-%m-%d}, key {one.key_id[:_SHORT_HASH]}"
            )
