"""Lineage and verification of sound artefacts; damaged ones are in test_format_hostile."""

import contextlib
import sys
from pathlib import Path

import orjson
import pytest
from artifact_chains import edit_manifest, make_artifact, make_chain, manifest_sha256

from stillhouse.errors import IntegrityError
from stillhouse.provenance import lineage, verify
from stillhouse.runlog import Progress


def test_the_report_names_each_artefact_once_parents_first(tmp_path: Path) -> None:
    child = make_chain(tmp_path)
    report = verify(child.path)
    assert [entry.path.name for entry in report.artifacts] == [
        "grandparent",
        "left",
        "right",
        "child",
    ]


def test_the_report_says_what_was_checked(tmp_path: Path) -> None:
    made = make_artifact(tmp_path / "out")
    (entry,) = verify(made.path).artifacts
    assert (entry.kind, entry.stage, entry.files, entry.rows) == ("completions", "collect", 2, 3)
    assert entry.bytes == sum(
        (made.path / listed.name).stat().st_size for listed in made.manifest.files
    )
    assert entry.manifest_sha256 == manifest_sha256(made.path)


def test_progress_counts_the_artefacts(tmp_path: Path) -> None:
    seen: list[Progress] = []
    verify(make_chain(tmp_path).path, on_progress=seen.append)
    assert (seen[0].done, seen[0].total, seen[0].unit) == (0, 4, "artefacts")
    assert seen[-1].done == 4


def test_a_lineage_has_one_edge_for_each_parent(tmp_path: Path) -> None:
    graph = lineage(make_chain(tmp_path).path)
    names = [node.path.name for node in graph.nodes]
    edges = [(names[edge.child], names[edge.parent]) for edge in graph.edges]
    assert names[-1] == "child"
    assert edges == [
        ("left", "grandparent"),
        ("right", "grandparent"),
        ("child", "left"),
        ("child", "right"),
    ]


def test_a_lineage_reads_no_data_files(tmp_path: Path) -> None:
    child = make_chain(tmp_path)
    for folder in tmp_path.iterdir():
        (folder / "prompts-00000.parquet").unlink()
    assert len(lineage(child.path).nodes) == 4


def test_a_lineage_refuses_a_parent_that_was_remade(tmp_path: Path) -> None:
    child = make_chain(tmp_path)
    edit_manifest(tmp_path / "grandparent", {"config": {"n": 4}})
    with pytest.raises(IntegrityError, match=r"grandparent, a parent of .*left"):
        lineage(child.path)


def test_the_same_parent_given_twice_is_one_node(tmp_path: Path) -> None:
    parent = make_artifact(tmp_path / "a")
    child = make_artifact(tmp_path / "b", [parent, parent])
    graph = lineage(child.path)
    assert len(graph.nodes) == 2
    assert len(graph.edges) == 2


def test_folders_that_moved_together_still_verify(tmp_path: Path) -> None:
    make_chain(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    assert len(verify(tmp_path / "there" / "child").artifacts) == 4


def test_an_artefact_verifies_from_inside_and_through_a_linked_place(tmp_path: Path) -> None:
    make_chain(tmp_path / "here")
    (tmp_path / "link").symlink_to(tmp_path / "here", target_is_directory=True)
    assert len(verify(tmp_path / "link" / "child").artifacts) == 4
    with contextlib.chdir(tmp_path / "here" / "child"):
        assert len(verify(Path()).artifacts) == 4


def test_a_lineage_may_be_deeper_than_the_recursion_limit(tmp_path: Path) -> None:
    depth = sys.getrecursionlimit() + 500
    make_artifact(tmp_path / "0")
    fields = orjson.loads((tmp_path / "0" / "manifest.json").read_bytes())
    for number in range(1, depth):
        folder = tmp_path / str(number)
        folder.mkdir()
        parent = {
            "path": f"../{number - 1}",
            "sha256": manifest_sha256(tmp_path / str(number - 1)),
        }
        (folder / "manifest.json").write_bytes(orjson.dumps(fields))
        edit_manifest(folder, {"parents": [parent], "files": [], "rows_root": None})
    report = verify(tmp_path / str(depth - 1))
    assert len(report.artifacts) == depth
    assert report.artifacts[0].path.name == "0"
