"""Check every byte of an artefact and of everything it was made from."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from stillhouse.artifacts import Artifact, check_files, check_rows_root, open_artifact
from stillhouse.provenance._attestations import Attestation, check_attestations, check_signed
from stillhouse.provenance._claims import check_claims
from stillhouse.provenance._lineage import Lineage, lineage
from stillhouse.runlog import Listener, Ticker, ignore_progress
from stillhouse.signing import Trust


@dataclass(frozen=True)
class VerifiedArtifact:
    """One artefact that is what its manifest says.

    Attributes:
        path: Its folder.
        kind: What it holds.
        stage: What wrote it.
        files: Number of data files.
        rows: Rows in its Parquet files; None when it has no rows at all.
        bytes: Size of the data files.
        manifest_sha256: What a child of it records.
        attestations: What was signed about it. Whether that counts is known where a trust file was
            given.
    """

    path: Path
    kind: str
    stage: str
    files: int
    rows: int | None
    bytes: int
    manifest_sha256: str
    attestations: tuple[Attestation, ...] = ()


@dataclass(frozen=True)
class VerifyReport:
    """All artefacts that were checked, parents before children."""

    artifacts: tuple[VerifiedArtifact, ...]


def verify(
    folder: Path,
    *,
    trust: Trust | None = None,
    now: datetime | None = None,
    on_progress: Listener = ignore_progress,
) -> VerifyReport:
    """Check the artefact in `folder` and all its ancestors.

    Files, hashes, rows and parents, and what was signed about them.

    Args:
        folder: The artefact.
        trust: Whose signatures count. Then the artefact must be signed by one of them, and its
            ancestors where the trust file requires it; without, only changes are found.
        now: The clock; that of this machine when None.
        on_progress: Told about the artefacts checked.

    Raises:
        IntegrityError: something is missing, damaged, changed or added, two manifests claim one
            file, or a signature does not count; the message names it.
    """
    graph = lineage(folder)
    check_claims(graph)
    signed = _signed(graph, trust, now or datetime.now(UTC))
    ticker = Ticker(on_progress, stage="verify", total=len(graph.nodes), unit="artefacts")
    verified = []
    for node in graph.nodes:
        verified.append(_verify_one(node.path, signed[node.path]))
        ticker.advance()
    return VerifyReport(artifacts=tuple(verified))


def _signed(
    graph: Lineage, trust: Trust | None, now: datetime
) -> Mapping[Path, tuple[Attestation, ...]]:
    if trust is not None:
        counted = check_signed(graph, trust, now=now)
        return {folder: tuple(found) for folder, found in counted.items()}
    found = {}
    for node in graph.nodes:
        whole = graph if node is graph.nodes[-1] else None
        found[node.path] = check_attestations(node.path, now=now, graph=whole)
    return found


def _verify_one(folder: Path, attestations: tuple[Attestation, ...]) -> VerifiedArtifact:
    artifact = open_artifact(folder)
    check_files(artifact)
    check_rows_root(artifact)
    return _summary(artifact, attestations)


def _summary(artifact: Artifact, attestations: tuple[Attestation, ...]) -> VerifiedArtifact:
    entries = artifact.manifest.files
    counted = [entry.rows for entry in entries if entry.rows is not None]
    return VerifiedArtifact(
        path=artifact.path,
        kind=artifact.manifest.kind,
        stage=artifact.manifest.stage,
        files=len(entries),
        rows=sum(counted) if counted else None,
        bytes=sum(entry.bytes for entry in entries),
        manifest_sha256=artifact.manifest_sha256,
        attestations=attestations,
    )
