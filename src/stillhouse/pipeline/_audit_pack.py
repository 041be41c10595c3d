"""All that somebody needs to check where a student comes from, in one file, offline."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from stillhouse import __version__
from stillhouse.artifacts import atomic_write_bytes
from stillhouse.documents import read_graph
from stillhouse.economics import Assumptions
from stillhouse.errors import ConfigError
from stillhouse.evaluate import provenance_of
from stillhouse.pipeline._audit_content import (
    Files,
    Packed,
    check_free,
    document_files,
    economics_files,
    key_files,
    lineage_files,
    listed,
    packed_artifacts,
    proof_files,
    terms_files,
)
from stillhouse.pipeline._audit_index import index_page, readme
from stillhouse.pipeline._economics import economics_of
from stillhouse.pipeline.check_pack import LIST, PROOF_VERIFIER, SUM, VERIFIER, check
from stillhouse.pipeline.check_pack import packed as zipped
from stillhouse.provenance import lineage, proof_verifier, verify
from stillhouse.runlog import Listener, ignore_progress
from stillhouse.signing import load_trust

_VERSION = 1
_README, _INDEX = "README.txt", "INDEX.html"


@dataclass(frozen=True)
class AuditPack:
    """A pack that was written.

    Attributes:
        path: The zip file.
        pack_sha256: Of `PACK.json`, on which all of it hangs; what to tell whoever checks it.
        zip_sha256: Of the zip file.
        num_files: In it.
        num_bytes: Of the zip file.
        checked: What its own verifier found in it.
    """

    path: Path
    pack_sha256: str
    zip_sha256: str
    num_files: int
    num_bytes: int
    checked: tuple[str, ...]


def audit_pack(
    folder: Path,
    out: Path,
    *,
    num_rows: int = 5,
    hide_rows: bool = False,
    evaluations: Sequence[Path] = (),
    about: Path | None = None,
    assumptions: Assumptions | None = None,
    trust: Path | None = None,
    on_progress: Listener = ignore_progress,
) -> AuditPack:
    """Pack documents, proofs, signatures, terms and accounts of an artefact with their verifier.

    The same records, settings and machine give the same bytes. Weights and rows stay where they
    are, but for the rows that are proved.

    Args:
        folder: A student, classifier, cascade, export or dataset.
        out: The zip file to write.
        num_rows: Rows of the dataset to prove, drawn by its hash.
        hide_rows: Whether only hashes of them are told, and not where they came from.
        evaluations: Of the student, besides those that lie next to it. The first one tells how long
            an answer takes.
        about: What only the user can say, as for documents.
        assumptions: Of the accounts.
        trust: A file of trusted keys: then signatures must count, and it is packed.
        on_progress: Told about the artefacts that are checked.

    Raises:
        ConfigError: `out` is there or lies in an artefact, or something given is of no use.
        IntegrityError: something of the lineage is missing, damaged, changed or signed by nobody
            who counts; nothing is written.
    """
    if num_rows < 0:
        raise ConfigError(f"{num_rows} rows cannot be proved. Give 0 or more.")
    trusted = None if trust is None else load_trust(trust)
    if trusted is not None:
        verify(folder, trust=trusted, now=datetime.now(UTC), on_progress=on_progress)
    graph = read_graph(folder, evaluations=evaluations, about=about, on_progress=on_progress)
    packed = packed_artifacts(folder, graph)
    check_free(out, packed)
    proofs, proved = proof_files(packed, num_rows, hide_rows=hide_rows)
    found = economics_of(folder, assumptions=assumptions, evaluation=_timed(folder, packed))
    root = next(one for one in packed if one.artifact.path == folder.resolve())
    files: Files = {
        **lineage_files(folder, packed),
        **key_files(packed, trusted, trust),
        **proofs,
        **document_files(graph),
        **economics_files(found),
        **terms_files(packed, folder),
        VERIFIER: Path(__file__).with_name(VERIFIER).read_bytes(),
        PROOF_VERIFIER: proof_verifier().encode(),
    }
    provenance = provenance_of(root.artifact)
    files[_README] = readme(root, files, num_proofs=len(proved)).encode()
    files[_INDEX] = index_page(root, files, provenance, found).encode()
    return _write(out, _with_list(files, root, packed, proved))


def _timed(folder: Path, packed: Sequence[Packed]) -> Path | None:
    """The evaluation in the pack that timed what is in `folder`; None where there is none."""
    made = {node.manifest_sha256 for node in lineage(folder).nodes}
    for one in packed:
        manifest = one.artifact.manifest
        students = {parent.sha256 for parent in manifest.parents[1:]}  # the first is the dataset
        if (manifest.kind, manifest.stage) == ("evaluation", "evaluate") and students & made:
            return one.artifact.path
    return None


def _with_list(
    files: Files, root: Packed, packed: Sequence[Packed], proved: Sequence[dict[str, object]]
) -> Files:
    entries = [
        {"name": name, "bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
        for name, raw in sorted(files.items())
    ]
    nodes = [
        {
            "folder": one.folder,
            "kind": one.artifact.manifest.kind,
            "stage": one.artifact.manifest.stage,
            "manifest_sha256": one.artifact.manifest_sha256,
        }
        for one in packed
    ]
    raw = listed(
        {
            "pack": _VERSION,
            "stillhouse": __version__,
            "folder": root.folder,
            "manifest_sha256": root.artifact.manifest_sha256,
            "made_utc": root.artifact.manifest.created_utc.isoformat(),
            "lineage": nodes,
            "proofs": list(proved),
            "files": entries,
            "note": "A record, not legal advice.",
        }
    )
    digest = hashlib.sha256(raw).hexdigest()
    return {**files, LIST: raw, SUM: f"{digest}  {LIST}\n".encode()}


def _write(out: Path, files: Files) -> AuditPack:
    # What its reader will run, before anybody gets it.
    checked = check(files)
    raw = zipped(files)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        atomic_write_bytes(out, raw)
    except OSError as err:
        raise ConfigError(
            f"{out} cannot be written ({err.strerror}). Give another place with --out."
        ) from err
    return AuditPack(
        path=out,
        pack_sha256=hashlib.sha256(files[LIST]).hexdigest(),
        zip_sha256=hashlib.sha256(raw).hexdigest(),
        num_files=len(files),
        num_bytes=len(raw),
        checked=tuple(checked),
    )
