"""A file belongs to one artefact, whatever way two manifests may have come to claim it."""

import os
import shutil
from pathlib import Path

import pytest
from artifact_chains import edit_manifest, listing, make_artifact, make_chain, manifest_sha256

from stillhouse.artifacts import file_sha256
from stillhouse.errors import IntegrityError
from stillhouse.provenance import verify


def test_a_hard_link_between_two_artefacts_is_named(tmp_path: Path) -> None:
    child = make_chain(tmp_path)
    name = "prompts-00000.parquet"
    (child.path / name).unlink()
    os.link(tmp_path / "left" / name, child.path / name)
    before = listing(tmp_path)
    with pytest.raises(IntegrityError, match=r"child/prompts.* hard link.*claimed by two") as told:
        verify(child.path)
    assert "left" in str(told.value)
    assert listing(tmp_path) == before


def test_a_copy_of_a_file_is_not_claimed_twice(tmp_path: Path) -> None:
    child = make_chain(tmp_path)
    name = "prompts-00000.parquet"
    shutil.copy(tmp_path / "left" / name, child.path / name)
    assert len(verify(child.path).artifacts) == 4


def test_an_artefact_inside_of_another_cannot_share_its_files(tmp_path: Path) -> None:
    outer = make_artifact(tmp_path / "outer")
    inner = tmp_path / "outer" / "extra"
    inner.mkdir(exist_ok=True)
    shutil.copytree(outer.path, tmp_path / "spare")
    inside = make_artifact(tmp_path / "new", [outer])
    # The inner manifest lists the very file that the outer one lists as extra/notes.json.
    entry = {
        "name": "notes.json",
        "sha256": file_sha256(outer.path / "extra" / "notes.json"),
        "bytes": 8,
        "rows": None,
    }
    shutil.copy(inside.path / "manifest.json", inner / "manifest.json")
    parent = {"path": "..", "sha256": manifest_sha256(outer.path)}
    edit_manifest(inner, {"files": [entry], "rows_root": None, "parents": [parent]})
    with pytest.raises(IntegrityError, match=r"notes\.json is claimed by two manifests"):
        verify(inner)


def test_a_manifest_that_another_lists_as_data_is_claimed_twice(tmp_path: Path) -> None:
    inner = make_artifact(tmp_path / "outer" / "extra")
    outer = make_artifact(tmp_path / "made", [inner])
    entry = {
        "name": "extra/manifest.json",
        "sha256": manifest_sha256(inner.path),
        "bytes": (inner.path / "manifest.json").stat().st_size,
        "rows": None,
    }
    shutil.copy(outer.path / "manifest.json", tmp_path / "outer" / "manifest.json")
    parent = {"path": "extra", "sha256": manifest_sha256(inner.path)}
    edit_manifest(tmp_path / "outer", {"files": [entry], "rows_root": None, "parents": [parent]})
    with pytest.raises(IntegrityError, match=r"manifest\.json is claimed by two manifests"):
        verify(tmp_path / "outer")
