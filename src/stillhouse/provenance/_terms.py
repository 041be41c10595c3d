"""Whose terms an artefact is under: every teacher, dataset and base model of its lineage."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from stillhouse.artifacts import Artifact
from stillhouse.errors import IntegrityError
from stillhouse.provenance._lineage import Lineage, lineage
from stillhouse.provenance._rows_by_teacher import rows_by_teacher
from stillhouse.terms import (
    OWN,
    Declaration,
    Origin,
    StudentKind,
    Terms,
    TermsRecord,
    Verdict,
    base_origin,
    dataset_origin,
    declared_sources,
    judged,
    teacher_origin,
)

RESULT = "terms"
"""Where a manifest's results hold the verdict."""

_NONE = "no base model"
_STUDENTS: dict[str, StudentKind] = {"student": "language_model", "classifier": "classifier"}


@dataclass(frozen=True)
class ChangedVerdict:
    """A finding of which today's verdict differs from the recorded one."""

    folder: Path
    origin: str
    source: str
    recorded: Verdict
    today: Verdict


@dataclass(frozen=True)
class LineageTerms:
    """The verdict over a lineage.

    Attributes:
        record: Under today's registry.
        changes: Where an artefact recorded another verdict.
        num_unrecorded: Artefacts that asked or learnt and recorded none: made before there was a
            gate.
    """

    record: TermsRecord
    changes: tuple[ChangedVerdict, ...]
    num_unrecorded: int


def terms_of(folder: Path, terms: Terms) -> LineageTerms:
    """Judge all that the artefact in `folder` was made from, under today's registry.

    Where nothing is declared, what was declared when it was made counts again; waivers of then do
    not, since their signatures are not at hand.

    Raises:
        IntegrityError: a manifest of the lineage is not sound, or holds no terms that can be read.
        ConfigError: a source that is named is no longer in the registry.
    """
    nodes = lineage(folder)
    records = {node.path: record for node in nodes.nodes if (record := recorded_terms(node))}
    if terms.path is None and records:
        terms = _as_declared(terms, list(records.values())[-1])
    origins = _origins(nodes, terms)
    root = nodes.nodes[-1]
    record = judged(origins, terms, student=_STUDENTS.get(root.manifest.kind))
    today = {(one.origin, one.source): one.verdict for one in record.findings}
    changes = [
        ChangedVerdict(path, one.origin, one.source, one.verdict, verdict)
        for path, recorded in records.items()
        for one in recorded.findings
        if (verdict := today.get((one.origin, one.source))) not in (None, one.verdict)
    ]
    asked = [node for node in nodes.nodes if node.manifest.kind in ("completions", *_STUDENTS)]
    return LineageTerms(record, tuple(changes), sum(node.path not in records for node in asked))


def recorded_terms(node: Artifact) -> TermsRecord | None:
    """The verdict in a manifest; None where there is none.

    Raises:
        IntegrityError: it is not one.
    """
    given = node.manifest.results.get(RESULT)
    if given is None:
        return None
    try:
        return TermsRecord.model_validate(given)
    except ValidationError as err:
        first = err.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise IntegrityError(
            f"{node.path}: results.{RESULT} is no record of terms ({place}: {first['msg']}). Run "
            "its stage again."
        ) from err


def origins_of(folder: Path, terms: Terms) -> list[Origin]:
    """All that the artefact in `folder` was made from, with the share of rows of each teacher.

    Raises:
        IntegrityError: a manifest of the lineage is not sound.
    """
    return _origins(lineage(folder), terms)


def teacher_origins(spec: str, terms: Terms, *, name: str | None = None) -> list[Origin]:
    """What a teacher's answers are under; of a recording or a student of ours, all of its lineage.

    Args:
        spec: Who is asked.
        terms: What was declared.
        name: What rows call the teacher; the spec when None.

    Raises:
        ConfigError: the spec looks like another, or a source is not in the registry.
        IntegrityError: a lineage is not sound.
    """
    folder = _artifact_of(spec)
    if folder is None or declared_sources(spec, terms.declaration.teachers):
        origin = teacher_origin(spec, terms.declaration, terms.registry)
        return [origin.model_copy(update={"name": name or spec})]
    found = origins_of(folder, terms)
    # Who learns from a student learns from what that was made of, its base included.
    models = [one for one in found if one.role != "dataset"]
    unknown = next((one for one in models if not one.sources), None)
    sources = {source: None for one in models for source in one.sources}
    origin = Origin(
        role="teacher",
        name=name or spec,
        sources=() if unknown else tuple(sources),
        why=f"{unknown.label}: {unknown.why}" if unknown else f"by the lineage of {folder}",
    )
    return [origin, *(one for one in found if one.role == "dataset")]


def base_origins(base: str, terms: Terms, *, is_random: bool = False) -> list[Origin]:
    """What a base model is under; of a student of ours, all of its lineage.

    Args:
        base: A setting `base`.
        terms: What was declared.
        is_random: Whether its weights are not used.
    """
    if is_random:
        return [Origin(role="base_model", name=_NONE, sources=(OWN,), why="weights are drawn")]
    folder = _artifact_of(base)
    if folder is None or declared_sources(base, terms.declaration.base_models):
        return [base_origin(base, terms.declaration, terms.registry)]
    return origins_of(folder, terms)


def _artifact_of(spec: str) -> Path | None:
    """The folder of ours that a spec or a base names; None where it names anything else."""
    scheme, colon, rest = spec.partition(":")
    if colon and scheme not in ("local", "replay"):
        return None
    place = rest.partition("?")[0] if colon else spec
    return Path(place) if place and (Path(place) / "manifest.json").is_file() else None


def _as_declared(terms: Terms, record: TermsRecord) -> Terms:
    given = {**record.declaration, "waivers": (), "trust": None, "registries": ()}
    try:
        declaration = Declaration.model_validate(given)
    except ValidationError:  # of a version whose declarations said more
        return terms
    return Terms(None, declaration, terms.registry, (), terms.now)


def _origins(graph: Lineage, terms: Terms) -> list[Origin]:
    recorded = _recorded_sources(graph)
    counts = rows_by_teacher(graph)
    total = sum(rows for rows in counts.values() if rows is not None)
    origins = []
    for name, rows in counts.items():
        share = rows / total if rows is not None and total else None
        origin = _teacher_of(name, recorded, terms)
        origins.append(origin.model_copy(update={"rows": rows, "share": share}))
    if not any(node.manifest.kind == "completions" for node in graph.nodes):
        origins += _without_collection(graph, recorded, terms)
    origins += _datasets_of(recorded, terms)
    for node in graph.nodes:
        origins += _bases_of(node, recorded, terms)
    return list({(one.label, one.sources): one for one in origins}.values())


def _without_collection(
    graph: Lineage, recorded: Mapping[str, tuple[str, ...]], terms: Terms
) -> Iterator[Origin]:
    """What manifests alone say of datasets that no collection of ours went into."""
    for node in graph.nodes:
        if node.manifest.kind != "dataset":
            continue
        if node.manifest.teacher is not None:
            yield _teacher_of(node.manifest.teacher.id, recorded, terms)
            continue
        name = node.path.as_posix()
        why = (
            f"Its manifest names no teacher. Declare it in terms.yaml: datasets: {{{name!r}: ...}}"
        )
        unknown = Origin(role="dataset", name=node.path.name, why=why)
        yield dataset_origin(name, terms.declaration) or unknown


def _recorded_sources(graph: Lineage) -> dict[str, tuple[str, ...]]:
    """Registry ids by origin, as artefacts of the lineage recorded them, later ones first."""
    found: dict[str, tuple[str, ...]] = {}
    for node in reversed(graph.nodes):
        record = recorded_terms(node)
        by_origin: dict[str, list[str]] = {}
        for finding in record.findings if record else ():
            if finding.source:
                by_origin.setdefault(finding.origin, []).append(finding.source)
        for origin, sources in by_origin.items():
            found.setdefault(origin, tuple(sources))
    return found


def _teacher_of(name: str, recorded: Mapping[str, tuple[str, ...]], terms: Terms) -> Origin:
    origin = Origin(role="teacher", name=name)
    sources = recorded.get(origin.label)
    if sources is None or declared_sources(name, terms.declaration.teachers):
        return teacher_origin(name, terms.declaration, terms.registry)
    return origin.model_copy(update={"sources": sources, "why": "as recorded when it was asked"})


def _datasets_of(recorded: Mapping[str, tuple[str, ...]], terms: Terms) -> Iterator[Origin]:
    for label, sources in recorded.items():
        if not label.startswith("dataset "):
            continue
        name = label.removeprefix("dataset ")
        origin = Origin(role="dataset", name=name, sources=sources, why="as recorded")
        yield dataset_origin(name, terms.declaration) or origin


def _bases_of(
    node: Artifact, recorded: Mapping[str, tuple[str, ...]], terms: Terms
) -> list[Origin]:
    manifest = node.manifest
    if manifest.kind not in _STUDENTS or manifest.student is None:
        return []
    if manifest.config.get("init") == "random":
        return base_origins("", terms, is_random=True)
    base = manifest.config.get("base")
    name = base if isinstance(base, str) else manifest.student.base
    if _artifact_of(name) is not None:
        return []  # a parent, and so part of this lineage itself
    origin = Origin(role="base_model", name=name)
    sources = recorded.get(origin.label)
    if sources is None or declared_sources(name, terms.declaration.base_models):
        return [base_origin(name, terms.declaration, terms.registry)]
    return [origin.model_copy(update={"sources": sources, "why": "as recorded"})]
