"""Write the documents of an artefact into a new folder."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillhouse.artifacts import atomic_write_bytes, sync_folder
from stillhouse.documents._catalogue import make_documents
from stillhouse.documents._document import Document
from stillhouse.documents._gather import gather
from stillhouse.documents._graph import read_graph
from stillhouse.errors import ConfigError
from stillhouse.runlog import Listener, ignore_progress

TRACE = "trace.json"


@dataclass(frozen=True)
class WrittenDocument:
    """One file of the folder."""

    id: str
    file: str
    standard: str
    sha256: str
    num_fields: int


def write_documents(
    folder: Path,
    out: Path,
    *,
    only: Sequence[str] = (),
    evaluations: Sequence[Path] = (),
    about: Path | None = None,
    on_progress: Listener = ignore_progress,
) -> tuple[WrittenDocument, ...]:
    """Write what the records of `folder` say into the new folder `out`.

    `trace.json` says for every field of every document which record it comes from. The same
    graph gives the same bytes.

    Args:
        folder: A student, classifier, cascade, export or dataset.
        out: Folder to make; it may be there if it is empty.
        only: Of `GROUPS`; all when empty.
        evaluations: Evaluations of the student, besides those that lie next to it.
        about: The user's own file.

    Raises:
        ConfigError: `out` is not empty or lies in an artefact, or what was given is of no use.
        IntegrityError: something in the graph is missing, damaged or changed; nothing is written.
    """
    _check_free(out)
    graph = read_graph(folder, evaluations=evaluations, about=about, on_progress=on_progress)
    documents = make_documents(gather(graph), only=only)
    # Beside the target, so that the last step is one rename.
    out.parent.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        written = [_write_one(document, staged) for document in documents]
        atomic_write_bytes(staged / TRACE, trace_bytes(documents))
        staged.chmod(0o755)
        _check_free(out)
        if out.is_dir():
            out.rmdir()
        staged.rename(out)
        sync_folder(out.parent)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return tuple(written)


def _check_free(out: Path) -> None:
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise ConfigError(f"{out} is no folder. Give a new one with --out.")
    if out.is_dir() and any(out.iterdir()):
        raise ConfigError(f"{out} is not empty. Give a new folder with --out, or remove it.")
    for holder in out.resolve().parents:
        if (holder / "manifest.json").is_file():
            raise ConfigError(
                f"{out} lies in the artefact {holder}, which would then hold files that its "
                "manifest does not list. Give a folder elsewhere with --out."
            )


def _write_one(document: Document, folder: Path) -> WrittenDocument:
    raw = document.to_bytes()
    path = folder / document.file
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_bytes(path, raw)
    return WrittenDocument(
        id=document.id,
        file=document.file,
        standard=document.standard,
        sha256=hashlib.sha256(raw).hexdigest(),
        num_fields=len(document.facts()),
    )


def trace_bytes(documents: Sequence[Document]) -> bytes:
    """`trace.json`: every field with its sources; one that many fields cite stands there once."""
    sources: dict[str, int] = {}
    traced: dict[str, Any] = {}
    for document in documents:
        fields = {}
        for pointer, fact in document.facts().items():
            cited = [source.model_dump_json() for source in fact.sources]
            numbers = [sources.setdefault(text, len(sources)) for text in cited]
            fields[pointer] = {"value": fact.value, "rule": fact.rule, "sources": numbers}
        traced[document.id] = {
            "file": document.file,
            "standard": document.standard,
            "sha256": hashlib.sha256(document.to_bytes()).hexdigest(),
            "fields": fields,
        }
    content = {"documents": traced, "sources": [json.loads(text) for text in sources]}
    return (json.dumps(content, indent=1, ensure_ascii=True, sort_keys=False) + "\n").encode()
