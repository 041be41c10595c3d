"""Find the evaluations of a model that lie next to it."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from stillhouse.artifacts import Artifact, read_manifest

_MANIFEST = "manifest.json"
_MARK = b'"kind": "evaluation"'


def evaluations_beside(models: Sequence[Artifact]) -> list[Path]:
    """Folders of evaluations that have one of `models` as a parent, sorted.

    They are looked for beside the model and one level further up, where `run` puts them; what is
    no artefact there is passed over.
    """
    hashes = {model.manifest_sha256 for model in models}
    return [path for path in _candidates(models) if _evaluates(path, hashes)]


def _candidates(models: Sequence[Artifact]) -> list[Path]:
    homes = {home for model in models for home in list(model.path.resolve().parents)[:2]}
    return sorted({entry for home in homes for entry in _folders(home)})


def _folders(home: Path) -> Iterator[Path]:
    try:
        entries = list(home.iterdir())
    except OSError:  # a folder above the project may be closed to us; nothing of ours is there
        return
    yield from (entry for entry in entries if entry.is_dir() and not entry.is_symlink())


def _evaluates(folder: Path, hashes: set[str]) -> bool:
    path = folder / _MANIFEST
    try:
        raw = path.read_bytes() if path.is_file() else b""
    except OSError:
        return False
    # Text first: beside a student there may be thousands of other artefacts.
    if _MARK not in raw or not any(digest.encode() in raw for digest in hashes):
        return False
    return any(parent.sha256 in hashes for parent in read_manifest(folder).parents)
