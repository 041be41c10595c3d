"""The gate: judge, and stop where the terms do not allow it."""

from collections.abc import Iterable, Sequence

from stillhouse.errors import TermsError
from stillhouse.terms._declaration import Declaration
from stillhouse.terms._judge import Origin, judge, refused
from stillhouse.terms._load import Terms
from stillhouse.terms._records import (
    NOTE,
    SourceFinding,
    StudentKind,
    TermsRecord,
    is_allowed,
)
from stillhouse.terms._waivers import why_not

_FORMS = {
    "base_models": "base_models: {NAME: SOURCE}",
    "commercial": "commercial: true or false",
    "competes": "competes: true or false",
    "distribution": "distribution: internal, service or weights",
    "research": "research: true or false",
    "student": "student: language_model or classifier",
}


def judged(
    origins: Sequence[Origin], terms: Terms, *, student: StudentKind | None = None
) -> TermsRecord:
    """The verdict over `origins`, whatever it is.

    Args:
        origins: What goes into the student.
        terms: What was declared.
        student: What is made, where the stage knows.

    Raises:
        TermsError: the declaration says that something else is made.
        ConfigError: a source is not in the registry.
    """
    return judge(
        origins,
        _with_student(terms.declaration, student),
        registry=terms.registry,
        today=terms.now.date(),
        waivers=terms.waivers,
    )


def allowed(
    origins: Sequence[Origin], terms: Terms, *, student: StudentKind | None = None
) -> TermsRecord:
    """The same where the verdict allows.

    Raises:
        TermsError: it forbids, or is not known to allow; one line with source, clause, date and
            what to do.
    """
    record = judged(origins, terms, student=student)
    check_allowed(record, terms)
    return record


def check_allowed(record: TermsRecord, terms: Terms) -> None:
    """Refuse to go on under a verdict that does not allow.

    Raises:
        TermsError: see `allowed`.
    """
    if not is_allowed(record.verdict):
        raise TermsError(refusal(record, terms))


def refusal(record: TermsRecord, terms: Terms) -> str:
    """Why a verdict does not allow, and what to do about it, on one line."""
    findings = refused(record)
    parts = [_sentence(one) for one in findings[:1]]
    parts += [one.reason for one in record.conflicts[:1] if not findings]
    parts += [
        reason
        for one in findings[:1]
        for waiver in terms.waivers
        if (reason := why_not(waiver, one.origin.removeprefix("teacher "), one.source))
    ]
    others = len(findings) + len(record.conflicts) - 1
    if others > 0:
        parts.append(f"{others} more {'stand' if others > 1 else 'stands'} in the way after that.")
    parts += _to_do(findings, terms)
    return " ".join([*parts, NOTE])


def _sentence(finding: SourceFinding) -> str:
    if not finding.source:
        return f"{finding.origin}: {finding.reason}"
    says = "does not allow it" if finding.verdict == "forbid" else "is not known to allow it"
    return f"{finding.origin}: {finding.source} {says}. {finding.reason}"


def _to_do(findings: Iterable[SourceFinding], terms: Terms) -> list[str]:
    findings = list(findings)
    names = sorted({name for one in findings for name in one.open_facts})
    if names:
        place = str(terms.path) if terms.path else "terms.yaml"
        lines = "; ".join(_FORMS.get(name, name) for name in names)
        made = "" if terms.path else ", which 'stillhouse terms init' writes; give it with --terms"
        return [f"Declare in {place}{made}: {lines}."]
    if any(one.verdict == "forbid" for one in findings):
        return ["Ask another teacher, leave it out, or get the owner's signed waiver."]
    return [] if terms.path else ["'stillhouse terms init' writes a terms.yaml for --terms."]


def _with_student(declaration: Declaration, student: StudentKind | None) -> Declaration:
    if student is None:
        return declaration
    if declaration.student not in (None, student):
        raise TermsError(
            f"The declaration says that a {declaration.student} is made, and this makes a "
            f"{student}. Correct 'student', or leave it out. {NOTE}"
        )
    return declaration.model_copy(update={"student": student})
