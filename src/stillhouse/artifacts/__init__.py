"""Artefacts: folders that pass between stages, with a manifest that is written last.

`docs/format.md` is the specification. A stage opens its parents with `open_artifact`, asks
`begin_artifact` for a writer, writes data files and calls `finish`, which is the only place a
manifest is made.
"""

from stillhouse.artifacts._attestations import hold_artifact, write_attestations
from stillhouse.artifacts._cache import cache_dir
from stillhouse.artifacts._claim import remove_artifact
from stillhouse.artifacts._lock import FolderLock
from stillhouse.artifacts._manifest import (
    ATTESTATIONS_NAME,
    SCHEMA_VERSION,
    CodeInfo,
    Counts,
    FileEntry,
    Kind,
    Manifest,
    ParentRef,
    StudentInfo,
    TeacherRef,
    TermsRef,
    TokenizerInfo,
    WatermarkRef,
    read_manifest,
)
from stillhouse.artifacts._merkle import MerkleTree, leaf_hash, merkle_root
from stillhouse.artifacts._merkle_levels import (
    inclusion_path,
    levels_size,
    merkle_levels,
    root_of_path,
)
from stillhouse.artifacts._paths import atomic_write_bytes, file_sha256, sync_folder
from stillhouse.artifacts._places import PlacedRow, num_rows, places_where, row_at, tables_of
from stillhouse.artifacts._reader import Artifact, check_files, check_rows_root, open_artifact
from stillhouse.artifacts._tables import arrow_schema, leaf_bytes, read_rows, write_table
from stillhouse.artifacts._weights_revision import weights_revision
from stillhouse.artifacts._writer import ArtifactWriter, adopt, begin_artifact, is_up_to_date

__all__ = [
    "SCHEMA_VERSION",
    "ATTESTATIONS_NAME",
    "Kind",
    "Manifest",
    "ParentRef",
    "FileEntry",
    "Counts",
    "CodeInfo",
    "TeacherRef",
    "TermsRef",
    "WatermarkRef",
    "StudentInfo",
    "weights_revision",
    "TokenizerInfo",
    "read_manifest",
    "Artifact",
    "open_artifact",
    "check_files",
    "check_rows_root",
    "hold_artifact",
    "write_attestations",
    "FolderLock",
    "ArtifactWriter",
    "begin_artifact",
    "is_up_to_date",
    "remove_artifact",
    "adopt",
    "MerkleTree",
    "merkle_root",
    "leaf_hash",
    "merkle_levels",
    "levels_size",
    "inclusion_path",
    "root_of_path",
    "PlacedRow",
    "num_rows",
    "tables_of",
    "row_at",
    "places_where",
    "leaf_bytes",
    "arrow_schema",
    "read_rows",
    "write_table",
    "atomic_write_bytes",
    "file_sha256",
    "sync_folder",
    "cache_dir",
]
