"""What goes into an audit pack, as the bytes of its files by name."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from stillhouse.artifacts import Artifact, read_manifest
from stillhouse.documents import TRACE, Graph, gather, make_documents, trace_bytes
from stillhouse.economics import Economics, render_economics
from stillhouse.errors import ConfigError
from stillhouse.provenance import (
    lineage,
    lineage_svg,
    prove,
    read_attestations,
    recorded_terms,
    row_history,
)
from stillhouse.signing import Trust, open_envelope, signer_of
from stillhouse.terms import TermsRecord, load_registry

Files = dict[str, bytes]

MANIFEST, ATTESTATIONS = "manifest.json", "attestations.jsonl"


@dataclass(frozen=True)
class Packed:
    """An artefact of the pack.

    Attributes:
        artifact: On this disk.
        folder: Its folder in the pack.
    """

    artifact: Artifact
    folder: str


def packed_artifacts(folder: Path, graph: Graph) -> tuple[Packed, ...]:
    """The artefacts of a graph, parents before children; the graph names them from one folder."""
    root = folder.resolve()
    top = root.parents[len(Path(graph.subject).parts) - 1]
    found = []
    for number, node in enumerate(graph.nodes):
        path = top / node.name
        artifact = Artifact(path=path, manifest=read_manifest(path))
        found.append(Packed(artifact, f"lineage/{number:03d}-{_plain(path.name)}"))
    return tuple(found)


def lineage_files(folder: Path, packed: Sequence[Packed]) -> Files:
    """Manifests and signatures as they are, and the lineage as a picture."""
    files: Files = {"lineage.svg": lineage_svg(lineage(folder)).encode()}
    for one in packed:
        files[f"{one.folder}/{MANIFEST}"] = (one.artifact.path / MANIFEST).read_bytes()
        signed = one.artifact.path / ATTESTATIONS
        if read_attestations(one.artifact.path):
            files[f"{one.folder}/{ATTESTATIONS}"] = signed.read_bytes()
    return files


def key_files(packed: Sequence[Packed], trust: Trust | None, trust_file: Path | None) -> Files:
    """The public keys of those who signed, and whom the user trusts."""
    files: Files = {}
    for one in packed:
        for envelope in read_attestations(one.artifact.path):
            key = signer_of(open_envelope(envelope)).key
            files[f"keys/{key.key_id}.pub"] = key.to_bytes()
    if trust is not None and trust_file is not None:
        files[f"trust/trust{trust_file.suffix}"] = trust_file.read_bytes()
        for key_id, trusted in trust.keys.items():
            files[f"trust/{key_id}.pub"] = trusted.key.to_bytes()
    return files


def proof_files(
    packed: Sequence[Packed], num_rows: int, *, hide_rows: bool
) -> tuple[Files, list[dict[str, Any]]]:
    """Inclusion proofs of rows of the dataset, and the calls of the teacher behind each.

    Which rows is drawn by the hash of the manifest, so that nobody chose them. Without a dataset it
    is the last artefact that has rows.

    Raises:
        IntegrityError: the rows are not what the manifest says.
    """
    with_rows = [one for one in packed if one.artifact.manifest.rows_root is not None]
    datasets = [one for one in with_rows if one.artifact.manifest.kind == "dataset"]
    if not with_rows:
        return {}, []
    source = (datasets or with_rows)[-1]
    size = sum(entry.rows or 0 for entry in source.artifact.manifest.files)
    draws = random.Random(source.artifact.manifest_sha256)
    files: Files = {}
    proofs = []
    for row in sorted(draws.sample(range(size), min(num_rows, size))):
        name = f"proofs/row-{row:09d}.json"
        files[name] = prove(source.artifact.path, row, hide_row=hide_rows).to_bytes()
        proofs.append({"file": name, "folder": source.folder, "row": row})
        if not hide_rows:
            history = row_history(source.artifact.path, row).model_dump(mode="json")
            del history["not_at_hand"]  # it speaks of the folders of this disk
            files[f"proofs/row-{row:09d}-history.json"] = _json(_without_paths(history, packed))
    return files, proofs


def document_files(graph: Graph) -> Files:
    """Cards, bills of materials and summaries, with where each field is from."""
    documents = make_documents(gather(graph))
    files = {f"documents/{one.file}": one.to_bytes() for one in documents}
    return {**files, f"documents/{TRACE}": trace_bytes(documents)}


def economics_files(found: Economics) -> Files:
    """The accounts, for people and for programs."""
    page = render_economics(found, command="stillhouse economics DIR")
    return {"economics/economics.html": page.encode(), "economics/economics.json": found.to_bytes()}


def terms_files(packed: Sequence[Packed], root: Path) -> Files:
    """The verdicts that were recorded, and what the registry holds of the sources they rest on."""
    nodes = {node.path.resolve() for node in lineage(root).nodes}
    files: Files = {}
    used: set[str] = set()
    last: TermsRecord | None = None
    for one in packed:
        record = recorded_terms(one.artifact)
        if record is None or one.artifact.path.resolve() not in nodes:
            continue
        last = record
        used |= {finding.source for finding in record.findings if finding.source}
    if last is None:
        return files
    registry = load_registry(today=datetime.now(UTC).date())
    known = {name: registry.sources[name] for name in sorted(used) if name in registry.sources}
    files["terms/record.json"] = _json(last.model_dump(mode="json"))
    files["terms/registry.json"] = _json(
        {
            "registry_version": registry.version,
            "registry_sha256": registry.sha256,
            "recorded_sha256": last.registry_sha256,
            "sources": {name: source.model_dump(mode="json") for name, source in known.items()},
            "not_in_this_registry": sorted(used - known.keys()),
        }
    )
    return files


def check_free(out: Path, packed: Sequence[Packed]) -> None:
    """Refuse a target that is there, or that would lie in an artefact.

    Raises:
        ConfigError: it is, or would.
    """
    if out.exists() or out.is_symlink():
        raise ConfigError(f"{out} exists, and is not overwritten. Give another name with --out.")
    place = out.absolute().parent.resolve()
    for one in packed:
        home = one.artifact.path.resolve()
        if home == place or home in place.parents:
            raise ConfigError(
                f"{out} would lie in the artefact {one.artifact.path}, which holds nothing that "
                "its manifest does not list. Give another place with --out."
            )


def _without_paths(value: Any, packed: Sequence[Packed]) -> Any:
    """The same with folders of this pack in place of those of this disk."""
    folders = {one.artifact.manifest_sha256: one.folder for one in packed}

    def told(item: Any) -> Any:
        if isinstance(item, list):
            return [told(one) for one in item]
        if not isinstance(item, dict):
            return item
        changed = {name: told(one) for name, one in item.items()}
        if isinstance(item.get("path"), str):
            home = folders.get(str(item.get("manifest_sha256")))
            changed["path"] = home or Path(item["path"]).name
        return changed

    return told(value)


def _plain(name: str) -> str:
    """A folder's name in letters that every file system takes."""
    kept = "".join(one if one.isascii() and one.isalnum() else "-" for one in name)
    return kept.strip("-")[:60] or "artefact"


def _json(value: Any) -> bytes:
    options = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(value, option=options)


def listed(value: Any) -> bytes:
    """`PACK.json` as plain Python writes it."""
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()
