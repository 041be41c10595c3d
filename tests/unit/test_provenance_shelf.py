"""All artefacts under some folders, and which was made from which."""

import shutil
from pathlib import Path

import pytest
from artifact_chains import edit_manifest, listing, make_artifact, make_chain, manifest_sha256

from stillhouse.errors import ConfigError, IntegrityError
from stillhouse.provenance import Shelf, open_shelf


def names(shelf: Shelf) -> list[str]:
    return [node.path.name for node in shelf.nodes]


def test_parents_come_before_children_and_are_linked(tmp_path: Path) -> None:
    make_chain(tmp_path)
    shelf = open_shelf([tmp_path])
    assert names(shelf) == ["grandparent", "left", "right", "child"]
    assert shelf.parents == {0: [], 1: [0], 2: [0], 3: [1, 2]}
    assert shelf.descendants({1}) == {3}
    assert shelf.ancestors(3) == {0, 1, 2}
    for found in (shelf.stale, shelf.missing, shelf.copies, shelf.unreadable):
        assert not found


def test_roots_may_overlap_and_reading_changes_nothing(tmp_path: Path) -> None:
    make_chain(tmp_path)
    before = listing(tmp_path)
    assert len(open_shelf([tmp_path, tmp_path / "left"]).nodes) == 4
    assert listing(tmp_path) == before


def test_a_copy_is_found_by_its_hash_under_any_name(tmp_path: Path) -> None:
    child = make_chain(tmp_path / "runs")
    shutil.copytree(child.path, tmp_path / "deployed" / "versions" / "v1")
    shelf = open_shelf([tmp_path])
    copy = names(shelf).index("v1")
    assert shelf.copies == {copy: names(shelf).index("child")}
    assert names(shelf).index("grandparent") in shelf.ancestors(copy)


def test_a_parent_that_moved_is_found_by_its_hash(tmp_path: Path) -> None:
    make_chain(tmp_path)
    (tmp_path / "left").rename(tmp_path / "elsewhere")
    shelf = open_shelf([tmp_path])
    assert not shelf.missing
    child = names(shelf).index("child")
    assert names(shelf).index("elsewhere") in shelf.parents[child]


def test_a_parent_that_is_not_there_is_missing(tmp_path: Path) -> None:
    make_chain(tmp_path)
    shelf = open_shelf([tmp_path / "child"])
    assert shelf.missing == {0: ["../left", "../right"]}


def test_a_parent_that_was_made_again_makes_its_child_stale(tmp_path: Path) -> None:
    make_chain(tmp_path)
    edit_manifest(tmp_path / "left", {"config": {"n": 4}})
    shelf = open_shelf([tmp_path])
    child = names(shelf).index("child")
    assert shelf.stale == {child}
    assert names(shelf).index("left") in shelf.parents[child]


def test_a_damaged_manifest_is_told_and_does_not_hide_the_others(tmp_path: Path) -> None:
    make_chain(tmp_path)
    (tmp_path / "left" / "manifest.json").write_bytes(b"{")
    shelf = open_shelf([tmp_path])
    ((folder, error),) = shelf.unreadable
    assert folder.name == "left"
    assert "damaged" in error
    assert names(shelf) == ["grandparent", "right", "child"]


def test_parents_that_form_a_cycle_are_one_error(tmp_path: Path) -> None:
    one = make_artifact(tmp_path / "one")
    two = make_artifact(tmp_path / "two", [one])
    parent = {"path": "../two", "sha256": manifest_sha256(two.path)}
    edit_manifest(tmp_path / "one", {"parents": [parent]})
    with pytest.raises(IntegrityError, match="form a cycle with 1 other"):
        open_shelf([tmp_path])


def test_links_are_not_followed(tmp_path: Path) -> None:
    make_artifact(tmp_path / "real" / "a")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "a").symlink_to(tmp_path / "real" / "a", target_is_directory=True)
    with pytest.raises(ConfigError, match="no artefact under"):
        open_shelf([tmp_path / "runs"])


def test_a_root_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no folder"):
        open_shelf([tmp_path / "none"])
