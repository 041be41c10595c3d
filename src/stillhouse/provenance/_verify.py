"""Check every byte of an artefact and of everything it was made from."""

from dataclasses import dataclass
from pathlib import Path

from stillhouse.artifacts import Artifact, check_files, check_rows_root, open_artifact
from stillhouse.provenance._lineage import lineage
from stillhouse.runlog import Listener, Ticker, ignore_progress


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
    """

    path: Path
    kind: str
    stage: str
    files: int
    rows: int | None
    bytes: int
    manifest_sha256: str


@dataclass(frozen=True)
class VerifyReport:
    """All artefacts that were checked, parents before children."""

    artifacts: tuple[VerifiedArtifact, ...]


def verify(folder: Path, *, on_progress: Listener = ignore_progress) -> VerifyReport:
    """Check the artefact in `folder` and all its ancestors: files, hashes, rows, parents.

    Raises:
        IntegrityError: something is missing, damaged, changed or added; the message names it.
    """
    nodes = lineage(folder).nodes
    ticker = Ticker(on_progress, stage="verify", total=len(nodes), unit="artefacts")
    verified = []
    for node in nodes:
        verified.append(_verify_one(node.path))
        ticker.advance()
    return VerifyReport(artifacts=tuple(verified))


def _verify_one(folder: Path) -> VerifiedArtifact:
    artifact = open_artifact(folder)
    check_files(artifact)
    check_rows_root(artifact)
    return _summary(artifact)


def _summary(artifact: Artifact) -> VerifiedArtifact:
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
    )
