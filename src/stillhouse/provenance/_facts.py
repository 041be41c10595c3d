"""What the manifest of an artefact says in a few words, for people who look at a lineage."""

from stillhouse.artifacts import Artifact

_HEX = 12


def fact_lines(node: Artifact) -> list[str]:
    """What it is, then what it was made with: one line each."""
    manifest = node.manifest
    kept = f"{manifest.counts.kept:,} rows"
    lines = [f"{manifest.kind} by {manifest.stage}, {kept}, {node.manifest_sha256[:_HEX]}"]
    teacher, student, usage = manifest.teacher, manifest.student, manifest.usage
    if teacher is not None:
        lines.append(f"teacher {teacher.id}{_at(teacher.revision)}{_terms(node)}")
    if student is not None:
        lines.append(f"base {student.base}{_at(student.revision)}")
    codec = manifest.results.get("codec")
    if manifest.kind == "signal" and isinstance(codec, dict):
        lines.append(f"codec {codec.get('name')} {codec.get('version')}")
    cost = "cost unknown" if usage.cost_usd is None else f"${usage.cost_usd:,.4f}"
    code = manifest.code
    commit = "" if code.commit is None else f" at {code.commit[:_HEX]}"
    changed = ", with local changes" if code.dirty else ""
    lines.append(f"code {code.version}{commit}{changed}; {usage.seconds:,.1f} s, {cost}")
    return lines


def verdict_of(node: Artifact) -> str | None:
    """What the terms gate said when it was made; None where it was not asked."""
    recorded = node.manifest.results.get("terms")
    if isinstance(recorded, dict) and isinstance(recorded.get("verdict"), str):
        return str(recorded["verdict"])
    teacher = node.manifest.teacher
    return teacher.terms.verdict if teacher is not None and teacher.terms is not None else None


def _terms(node: Artifact) -> str:
    verdict = verdict_of(node)
    return ", terms not recorded" if verdict is None else f", terms {verdict}"


def _at(revision: str | None) -> str:
    return "" if revision is None else f" at {revision[:_HEX]}"
