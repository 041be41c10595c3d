"""The gates of stages: nothing is asked, and nothing learnt, that terms are not known to allow."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from stillhouse.artifacts import TermsRef
from stillhouse.errors import ConfigError
from stillhouse.provenance._terms import RESULT, base_origins, origins_of, teacher_origins
from stillhouse.terms import (
    Origin,
    SourceFinding,
    StudentKind,
    Terms,
    TermsRecord,
    allowed,
    dataset_origin,
    judged,
    load_terms,
    provider_origin,
    strictest,
)


def terms_given(path: str | Path | None) -> Terms:
    """What was declared in the file of a setting `terms`, or in that of the environment.

    Raises:
        ConfigError: see `load_terms`.
    """
    return load_terms(Path(path) if path is not None else None)


def asking_terms(
    teachers: Mapping[str, str] | Iterable[str], terms: Terms, *, data: str | None = None
) -> TermsRecord:
    """The verdict over teachers that are about to be asked.

    Args:
        teachers: Specs, or names in rows by spec.
        terms: What was declared.
        data: The file whose prompts they are asked.

    Raises:
        TermsError: it does not allow.
        ConfigError: a teacher looks like another, or a source is not in the registry.
    """
    return allowed(_asked(teachers, terms, data), terms)


def passing_terms(provider: str, terms: Terms) -> TermsRecord:
    """The verdict over all that an application will ask a provider, to be learnt from.

    Raises:
        TermsError: it does not allow.
    """
    return allowed([provider_origin(provider, terms.declaration, terms.registry)], terms)


def recorded_asking(
    teachers: Iterable[str], terms: Terms, *, data: str | None = None, is_strict: bool = False
) -> TermsRecord:
    """The same for answers that are there already: whatever the verdict, it is kept.

    Whoever answered is named as rows name it, which may be anything, unless `is_strict`.

    Raises:
        ConfigError: `is_strict`, and a teacher looks like another.
    """
    origins = []
    for name in teachers:
        try:
            origins += teacher_origins(name, terms)
        except ConfigError as err:
            if is_strict:
                raise
            origins.append(Origin(role="teacher", name=name, why=str(err)))
    return judged([*origins, *_data(data, terms)], terms)


def named_by(record: TermsRecord, names: Mapping[str, str]) -> TermsRecord:
    """A verdict with teachers called as rows call them, by their specs."""
    labels = {f"teacher {spec}": f"teacher {name}" for spec, name in names.items()}
    findings = tuple(
        one.model_copy(update={"origin": labels.get(one.origin, one.origin)})
        for one in record.findings
    )
    return record.model_copy(update={"findings": findings})


def learning_terms(
    dataset: Path,
    terms: Terms,
    *,
    student: StudentKind,
    base: str | None,
    is_random: bool = False,
    teachers: Iterable[str] = (),
) -> TermsRecord:
    """The verdict over a student that is about to be trained.

    Args:
        dataset: What it learns from, with its lineage.
        terms: What was declared.
        student: What is made.
        base: What it starts from; None: nothing.
        is_random: Whether the base gives no weights.
        teachers: Specs of those that are asked while it learns.

    Raises:
        TermsError: it does not allow.
        IntegrityError: the lineage is not sound.
    """
    origins = origins_of(dataset, terms)
    origins += base_origins(base or "", terms, is_random=is_random or base is None)
    known = {one.label for one in origins}
    for spec in teachers:
        origins += [one for one in teacher_origins(spec, terms) if one.label not in known]
    return allowed(origins, terms, student=student)


def run_terms(
    teacher: str, bases: Iterable[tuple[str, bool]], terms: Terms, *, data: str | None = None
) -> TermsRecord:
    """The verdict over a whole run of language models, whatever it is.

    Args:
        teacher: Who is asked.
        bases: What students start from, each with whether its weights are not used.
        terms: What was declared.
        data: The file of prompts.
    """
    origins = _asked([teacher], terms, data)
    for base, is_random in dict.fromkeys(bases):
        origins += base_origins(base, terms, is_random=is_random)
    return judged(origins, terms, student="language_model")


def terms_result(record: TermsRecord) -> dict[str, Any]:
    """What a manifest's results hold of a verdict."""
    return {RESULT: record.model_dump(mode="json")}


def teacher_terms(record: TermsRecord) -> TermsRef | None:
    """What a manifest's teacher holds of it; None where there is not one teacher with clauses."""
    findings = [one for one in record.findings if one.role == "teacher" and one.clauses]
    if len({one.origin for one in findings}) != 1:
        return None
    worst = strictest([one.verdict for one in findings])
    finding = next(one for one in findings if one.verdict == worst)
    clause = _decisive(finding)
    return TermsRef(
        verdict=finding.verdict,
        clause=clause.id,
        date=clause.date,
        text_sha256=clause.text_sha256,
    )


def _decisive(finding: SourceFinding) -> Any:
    """The clause that its reason begins with, else one that asks for a duty, else the first."""
    asked = [duty.clause for duty in finding.duties]
    named = [one for one in finding.clauses if finding.reason.startswith(f"{one.id} ")]
    dutiful = [one for one in finding.clauses if one.id in asked]
    return (named or dutiful or list(finding.clauses))[0]


def _asked(
    teachers: Mapping[str, str] | Iterable[str], terms: Terms, data: str | None
) -> list[Origin]:
    names = dict(teachers) if isinstance(teachers, Mapping) else {one: one for one in teachers}
    origins = [
        origin for spec, name in names.items() for origin in teacher_origins(spec, terms, name=name)
    ]
    return [*origins, *_data(data, terms)]


def _data(data: str | None, terms: Terms) -> list[Origin]:
    given = dataset_origin(data, terms.declaration) if data is not None else None
    return [given] if given is not None else []
