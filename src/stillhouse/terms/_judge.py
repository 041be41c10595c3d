"""The rules: from origins, what the user declared and the registry to a verdict. Pure, no files."""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import NamedTuple

from stillhouse.errors import ConfigError
from stillhouse.records import Record
from stillhouse.terms._conflicts import conflicts_of
from stillhouse.terms._declaration import Declaration
from stillhouse.terms._facts import Facts, Truth, holds, outside_family
from stillhouse.terms._records import (
    ClauseRef,
    Duty,
    Role,
    SourceFinding,
    TermsRecord,
    Verdict,
    is_allowed,
    strictest,
)
from stillhouse.terms._registry import Registry
from stillhouse.terms._sources import Clause, Effect, Source
from stillhouse.terms._waivers import Waiver

_ROLE_NAMES: dict[Role, str] = {
    "teacher": "teacher",
    "dataset": "dataset",
    "base_model": "base model",
}


class Origin(Record):
    """Something that a student is made from, and whose terms it is under."""

    role: Role
    name: str
    """Of a teacher its spec or id, of data a file, of a base model its folder or name."""
    sources: tuple[str, ...] = ()
    """Registry ids, all of which apply; none where the terms are not known."""
    rows: int | None = None
    """Rows that come from it; None where they are not counted."""
    share: float | None = None
    """Of all rows, 0 to 1."""
    why: str = ""
    """How the sources were found, or why none were."""

    @property
    def label(self) -> str:
        """Role and name, as findings have it."""
        return f"{_ROLE_NAMES[self.role]} {self.name}"


def judge(
    origins: Sequence[Origin],
    declaration: Declaration,
    *,
    registry: Registry,
    today: date,
    waivers: Sequence[Waiver] = (),
) -> TermsRecord:
    """What the terms of all `origins` together say.

    Args:
        origins: What goes into the student; their order does not matter.
        declaration: What the user states.
        registry: The sources.
        today: For the record.
        waivers: Owners' permissions whose signatures were checked.

    Raises:
        ConfigError: an origin or a reading names what the registry does not have, or a reading is
            of a clause that nobody disputes.
    """
    _check_readings(declaration, registry)
    base_families = _base_families(origins, declaration, registry)
    findings, used = [], {}
    # By all that they say: the order of a set differs from one process to the next.
    for origin in sorted(set(origins), key=lambda one: (one.label, one.model_dump_json())):
        if not origin.sources:
            findings.append(_not_known(origin))
        for source_id in origin.sources:
            source = registry.source(source_id, where=origin.label)
            given = [one for one in waivers if one.covers(origin.role, origin.name, source_id)]
            facts = Facts(
                role=origin.role,
                competes=declaration.competes,
                commercial=declaration.commercial,
                research=declaration.research,
                distribution=declaration.distribution,
                student=declaration.student,
                outside_family=outside_family(source.family, base_families),
                share=origin.share,
            )
            finding, relied_on = _finding(origin, source, facts, declaration, given)
            findings.append(finding)
            used.update({one.envelope_sha256: one for one in relied_on})
    duties = merged(duty for finding in findings for duty in finding.duties)
    conflicts = conflicts_of(duties, declaration.distribution)
    verdicts = [one.verdict for one in findings] + [one.verdict for one in conflicts]
    return TermsRecord(
        registry_version=registry.version,
        registry_sha256=registry.sha256,
        judged_on=today.isoformat(),
        declaration=declaration.model_dump(mode="json"),
        findings=tuple(findings),
        conflicts=conflicts,
        verdict=strictest(verdicts),
        duties=duties,
        waivers=tuple(used[key].use() for key in sorted(used)),
    )


def merged(duties: Iterable[Duty]) -> tuple[Duty, ...]:
    """Each duty once, with all that ask for it; in one order, whatever the order given."""
    by_content: dict[tuple[str, str], list[Duty]] = {}
    for duty in duties:
        by_content.setdefault((duty.kind, duty.value), []).append(duty)
    return tuple(
        Duty(
            kind=same[0].kind,
            value=same[0].value,
            clause=min(duty.clause for duty in same),
            sources=tuple(sorted({source for duty in same for source in duty.sources})),
        )
        for _, same in sorted(by_content.items())
    )


def _finding(
    origin: Origin,
    source: Source,
    facts: Facts,
    declaration: Declaration,
    waivers: Sequence[Waiver],
) -> tuple[SourceFinding, list[Waiver]]:
    if origin.rows == 0:
        told = [_Told("allow", "No row of it is left.")]
        return _found(origin, source, told, ()), []
    told, duties, used = [], [], []
    for clause in source.clauses:
        permits = [one for one in waivers if clause.id in one.clauses]
        if permits and clause.effects:
            used += permits
            told.append(_Told("allow", f"{clause.id} is waived by {permits[0].owner}."))
            continue
        told.append(_verdict_of(clause, source, facts, declaration))
        duties += [
            Duty(
                kind=effect.duty.kind,
                value=effect.duty.value,
                clause=clause.id,
                sources=(source.id,),
            )
            for effect in clause.effects
            # Where a fact is not declared, the duty is kept: leaving it out may be wrong.
            if effect.duty is not None and _applies(effect, facts).value is not False
        ]
    return _found(origin, source, told, merged(duties)), used


def _found(
    origin: Origin,
    source: Source,
    told: Sequence["_Told"],
    duties: tuple[Duty, ...],
) -> SourceFinding:
    verdict = strictest([one.verdict for one in told])
    reasons = [one.reason for one in told if one.verdict == verdict and one.reason]
    open_facts = {name for one in told if one.verdict == verdict for name in one.open_facts}
    if verdict == "allow" and duties:
        verdict = "allow_with_duties"
    return SourceFinding(
        source=source.id,
        origin=origin.label,
        role=origin.role,
        rows=origin.rows,
        share=origin.share,
        verdict=verdict,
        clauses=tuple(_reference(clause, source) for clause in source.clauses),
        duties=duties,
        reason=" ".join(reasons) or _permitted(source, duties),
        open_facts=tuple(sorted(open_facts)),
    )


class _Told(NamedTuple):
    """What one clause says; an empty reason where it permits."""

    verdict: Verdict
    reason: str = ""
    open_facts: tuple[str, ...] = ()


def _verdict_of(clause: Clause, source: Source, facts: Facts, declaration: Declaration) -> _Told:
    told = [
        (effect.verdict, _applies(effect, facts))
        for effect in clause.effects
        if effect.verdict is not None
    ]
    matters = [(verdict, truth) for verdict, truth in told if truth.value is not False]
    place = f"{clause.id} ({source.texts[clause.text].date})"
    if clause.disputed is not None and (matters or not clause.effects):
        reading = declaration.readings.get(clause.id)
        if reading is None:
            return _Told(
                "unknown",
                f"{place} is disputed: {clause.disputed}. Decide it under 'readings', with who "
                "decided, when and why.",
            )
        return _Told(reading.verdict, f"{place} is read as '{reading.verdict}' by {reading.by}.")
    if any(verdict == "forbid" and truth.value is True for verdict, truth in matters):
        return _Told("forbid", f"{place} forbids it: {clause.summary}")
    open_facts = tuple(sorted({name for _, truth in matters for name in truth.open_facts}))
    if open_facts:
        reason = f"{place} depends on what is not declared: {clause.summary}"
        return _Told("unknown", reason, open_facts)
    if matters:
        return _Told("unknown", f"{place} leaves it open: {clause.summary}")
    return _Told("allow")


def _applies(effect: Effect, facts: Facts) -> Truth:
    truth = holds(effect.when, facts)
    if effect.unless is None or truth.value is False:
        return truth
    exception = holds(effect.unless, facts)
    if exception.value is True:
        return Truth(False)
    if exception.value is False:
        return truth
    return Truth(None, (*truth.open_facts, *exception.open_facts))


def _reference(clause: Clause, source: Source) -> ClauseRef:
    text = source.texts[clause.text]
    return ClauseRef(
        id=clause.id,
        url=text.url,
        date=text.date,
        text_sha256=text.sha256,
        disputed=clause.disputed is not None,
        summary=clause.summary,
        evidence=text.evidence,
    )


def _permitted(source: Source, duties: Sequence[Duty]) -> str:
    if not duties:
        return f"No clause of {source.id} is against it."
    kinds = sorted({duty.kind.replace("_", " ") for duty in duties})
    return f"{source.id} allows it, with duties: {', '.join(kinds)}."


def _not_known(origin: Origin) -> SourceFinding:
    return SourceFinding(
        source="",
        origin=origin.label,
        role=origin.role,
        rows=origin.rows,
        share=origin.share,
        verdict="allow" if origin.rows == 0 else "unknown",
        clauses=(),
        duties=(),
        reason=origin.why or "Nothing tells which terms it is under.",
    )


def _base_families(
    origins: Sequence[Origin], declaration: Declaration, registry: Registry
) -> tuple[str | None, ...] | None:
    """The families of the base models; None where no base model is known."""
    of_origins = [one.sources for one in origins if one.role == "base_model"]
    # Before there is a student, what the user says of its base is all there is.
    known = of_origins or list(declaration.base_models.values())
    if not known or not all(known):
        return None
    return tuple(
        registry.source(source_id, where="base_models").family
        for sources in known
        for source_id in sources
    )


def _check_readings(declaration: Declaration, registry: Registry) -> None:
    for clause_id in declaration.readings:
        source = registry.source(clause_id.split("/")[0], where="readings")
        clause = next((one for one in source.clauses if one.id == clause_id), None)
        if clause is None:
            raise ConfigError(
                f"readings: {source.id} has no clause {clause_id!r}. See: stillhouse terms show "
                f"{source.id}"
            )
        if clause.disputed is None:
            raise ConfigError(
                f"readings: nobody disputes what {clause_id} says, so it is not for you to read. "
                f"Where it stands in the way, only {source.owner} can permit: docs/terms.md."
            )


def refused(record: TermsRecord) -> list[SourceFinding]:
    """The findings that do not allow, the strictest first."""
    found = [one for one in record.findings if not is_allowed(one.verdict)]
    return sorted(found, key=lambda one: one.verdict != "forbid")
