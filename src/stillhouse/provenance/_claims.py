"""That each file of a lineage belongs to one artefact."""

from pathlib import Path

from stillhouse.artifacts import Artifact
from stillhouse.errors import IntegrityError
from stillhouse.provenance._lineage import Lineage

_MANIFEST = "manifest.json"


def check_claims(graph: Lineage) -> None:
    """Refuse a lineage in which two manifests claim one file.

    Such a file is in two artefacts that were made apart: what is written for the one changes the
    other. Folders inside of one another and hard links can do that.

    Raises:
        IntegrityError: two manifests claim one file; or one claims the manifest of another.
    """
    owners: dict[tuple[int, int], tuple[Artifact, Path]] = {}
    for node in graph.nodes:
        names = [_MANIFEST, *(entry.name for entry in node.manifest.files)]
        mine: dict[tuple[int, int], tuple[Artifact, Path]] = {}
        for name in names:
            path = node.path / name
            try:
                status = path.stat()
            except OSError:
                continue  # a file that is missing is named by the check of the files
            identity = (status.st_dev, status.st_ino)
            owner = owners.get(identity)
            if owner is not None:
                raise IntegrityError(_claimed_twice(node, path, *owner))
            mine[identity] = (node, path)
        owners.update(mine)


def _claimed_twice(node: Artifact, path: Path, other: Artifact, other_path: Path) -> str:
    is_link = path.resolve() != other_path.resolve()
    how = f" ({other_path} is a hard link to it)" if is_link else ""
    return (
        f"{path}{how} is claimed by two manifests, of {other.path} and of {node.path}. A file "
        "belongs to one artefact: give each a folder of its own, with copies of its own."
    )
