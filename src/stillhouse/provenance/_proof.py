"""Inclusion proofs: that a row is in an artefact, for those who have its manifest alone."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillhouse.artifacts import leaf_hash, open_artifact, root_of_path, row_at
from stillhouse.provenance._row_history import place_of
from stillhouse.provenance._row_tree import RowTree

_VERSION = 1


@dataclass(frozen=True)
class Proof:
    """That a row is a leaf of the Merkle tree whose root is in a manifest.

    Attributes:
        index: The row's place among all rows of the artefact, from 0.
        size: How many rows there are.
        leaf: Hash of the row's canonical bytes.
        path: Hashes of its siblings, upwards.
        manifest_sha256: Of the artefact's manifest.
        row: The canonical bytes as text; None where they are kept back.
    """

    index: int
    size: int
    leaf: bytes
    path: tuple[bytes, ...]
    manifest_sha256: str
    row: str | None

    @property
    def root(self) -> str:
        """The root that leaf and path give, in hex: the manifest's `rows_root`."""
        root = root_of_path(self.leaf, self.path, self.size, self.index)
        assert root is not None  # `prove` made the path for this very tree
        return root

    def document(self) -> dict[str, Any]:
        """The proof as JSON data; hashes of the path stand in base 85, one after the other."""
        shown = {"leaf": self.leaf.hex()} if self.row is None else {"row": self.row}
        return {
            "proof": _VERSION,
            "index": self.index,
            "size": self.size,
            "path": base64.b85encode(b"".join(self.path)).decode(),
            "manifest_sha256": self.manifest_sha256,
            **shown,
        }

    def to_bytes(self) -> bytes:
        """The proof's file: the one way in which its content is written."""
        separators = (",", ":")
        text = json.dumps(
            self.document(), ensure_ascii=False, separators=separators, sort_keys=True
        )
        return f"{text}\n".encode()


def prove(folder: Path, row: int | str, *, hide_row: bool = False) -> Proof:
    """Prove that a row is in the artefact in `folder`.

    The first proof of a large artefact reads all its rows; the tree is then kept in the user's
    cache.

    Args:
        folder: An artefact with rows.
        row: Its place among all rows, from 0, or `TABLE:N`.
        hide_row: Whether only the row's hash is told. Who can guess a row can still test the guess.

    Raises:
        ConfigError: there is no such row, or the artefact has none.
        IntegrityError: the artefact is not sound, or its rows have changed.
    """
    artifact = open_artifact(folder)
    placed = row_at(artifact, place_of(artifact, row))
    leaf = leaf_hash(placed.leaf)
    tree = RowTree(artifact)
    return Proof(
        index=placed.place,
        size=tree.size,
        leaf=leaf,
        path=tuple(tree.path(placed.place, leaf)),
        manifest_sha256=artifact.manifest_sha256,
        row=None if hide_row else placed.leaf.decode(),
    )


def proof_verifier() -> str:
    """The text of the program that checks proofs: plain Python, for those without stillhouse."""
    return Path(__file__).with_name("check_proof.py").read_text(encoding="utf-8")
