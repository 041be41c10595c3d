"""One fixture for each thing that docs/format.md, section 2, says must be refused."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from artifact_chains import edit_manifest, listing, make_chain, manifest_sha256
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.artifacts import open_artifact, read_manifest
from stillhouse.errors import IntegrityError
from stillhouse.provenance import lineage, verify

ROWS = "prompts-00000.parquet"
NOTES = "extra/notes.json"


@pytest.fixture(scope="module")
def sound_chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    make_chain(folder)
    return folder


@pytest.fixture
def chain(sound_chain: Path, tmp_path: Path) -> Path:
    """A fresh copy of the folders grandparent, left, right and child."""
    shutil.copytree(sound_chain, tmp_path / "chain")
    return tmp_path / "chain"


def refusal(check: Callable[[Path], Any], folder: Path, *, root: Path) -> str:
    """The message with which `check` refuses `folder`, having touched nothing under `root`."""
    before = listing(root)
    with pytest.raises(IntegrityError) as caught:
        check(folder)
    assert listing(root) == before
    message = str(caught.value)
    assert caught.value.exit_code == 2
    assert len(message.splitlines()) == 1
    assert message.isprintable()
    return message


def manifest_fields(folder: Path) -> dict[str, Any]:
    return orjson.loads((folder / "manifest.json").read_bytes())


def test_a_sound_chain_is_accepted(chain: Path) -> None:
    before = listing(chain)
    assert len(verify(chain / "child").artifacts) == 4
    assert listing(chain) == before


# Data files


def test_a_truncated_data_file_is_refused_on_opening(chain: Path) -> None:
    rows = chain / "left" / ROWS
    os.truncate(rows, rows.stat().st_size - 1)
    message = refusal(open_artifact, chain / "left", root=chain)
    assert str(rows) in message
    assert "truncated" in message
    assert refusal(verify, chain / "child", root=chain) == message


def test_a_grown_data_file_is_refused_on_opening(chain: Path) -> None:
    with (chain / "left" / ROWS).open("ab") as stream:
        stream.write(b"\0")
    assert "longer" in refusal(open_artifact, chain / "left", root=chain)


def test_a_changed_byte_of_a_data_file_is_refused(chain: Path) -> None:
    notes = chain / "left" / NOTES
    notes.write_bytes(b'{"a":2}\n')
    message = refusal(verify, chain / "child", root=chain)
    assert str(notes) in message
    assert "changed" in message


@pytest.mark.parametrize("name", [ROWS, NOTES])
def test_a_missing_data_file_is_refused_on_opening(chain: Path, name: str) -> None:
    (chain / "left" / name).unlink()
    message = refusal(open_artifact, chain / "left", root=chain)
    assert name in message
    assert "missing" in message


def test_a_folder_in_the_place_of_a_data_file_is_refused(chain: Path) -> None:
    (chain / "left" / ROWS).unlink()
    (chain / "left" / ROWS).mkdir()
    assert "not a regular file" in refusal(open_artifact, chain / "left", root=chain)


def test_a_pipe_in_the_place_of_a_data_file_is_refused_without_waiting(chain: Path) -> None:
    (chain / "left" / ROWS).unlink()
    os.mkfifo(chain / "left" / ROWS)
    with pytest.raises(IntegrityError, match="not a regular file"):
        open_artifact(chain / "left")


def test_a_symbolic_link_in_the_place_of_a_data_file_is_refused(chain: Path) -> None:
    rows = chain / "left" / ROWS
    rows.rename(chain / "elsewhere.parquet")
    rows.symlink_to(chain / "elsewhere.parquet")
    message = refusal(open_artifact, chain / "left", root=chain)
    assert str(rows) in message
    assert "symbolic link" in message


def test_a_symbolic_link_on_the_way_to_a_data_file_is_refused(chain: Path) -> None:
    extra = chain / "left" / "extra"
    extra.rename(chain / "elsewhere")
    extra.symlink_to(chain / "elsewhere", target_is_directory=True)
    message = refusal(open_artifact, chain / "left", root=chain)
    assert str(extra) in message
    assert "symbolic link" in message


def test_a_file_that_the_manifest_does_not_list_is_refused(chain: Path) -> None:
    (chain / "left" / "extra" / "added.json").write_bytes(b"{}")
    message = refusal(verify, chain / "child", root=chain)
    assert "added.json" in message
    assert "added later" in message


def test_a_link_that_the_manifest_does_not_list_is_refused(chain: Path) -> None:
    (chain / "left" / "added").symlink_to(chain / "right", target_is_directory=True)
    assert "symbolic link" in refusal(verify, chain / "child", root=chain)


def test_a_message_stays_on_one_line_whatever_a_file_is_called(chain: Path) -> None:
    (chain / "left" / "added\nstillhouse: all is well\x1b[2K").write_bytes(b"")
    assert "added stillhouse" in refusal(verify, chain / "child", root=chain)


def test_a_message_can_be_printed_when_a_file_name_is_not_utf8(chain: Path) -> None:
    (chain / "left" / os.fsdecode(b"added-\xff")).write_bytes(b"")
    with pytest.raises(IntegrityError, match="added later") as caught:
        verify(chain / "child")
    str(caught.value).encode("utf-8")


# The manifest's bytes


def test_a_folder_without_a_manifest_is_no_artefact(chain: Path) -> None:
    (chain / "left" / "manifest.json").unlink()
    assert "not an artefact" in refusal(open_artifact, chain / "left", root=chain)


def test_an_unfinished_folder_says_how_to_go_on(chain: Path) -> None:
    (chain / "left" / "manifest.json").unlink()
    (chain / "left" / ".work").mkdir()
    assert "unfinished" in refusal(open_artifact, chain / "left", root=chain)


def test_a_folder_that_does_not_exist_is_refused(chain: Path) -> None:
    assert "does not exist" in refusal(verify, chain / "nothing", root=chain)


def test_a_file_in_the_place_of_the_folder_is_refused(chain: Path) -> None:
    assert "is a file" in refusal(verify, chain / "left" / ROWS, root=chain)


def test_a_folder_in_the_place_of_the_manifest_is_refused(chain: Path) -> None:
    (chain / "left" / "manifest.json").unlink()
    (chain / "left" / "manifest.json").mkdir()
    assert "not a regular file" in refusal(open_artifact, chain / "left", root=chain)


def test_a_truncated_manifest_is_refused_at_every_length(chain: Path) -> None:
    path = chain / "left" / "manifest.json"
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(IntegrityError, match=r"damaged|has changed"):
            open_artifact(chain / "left")
    path.write_bytes(whole[: len(whole) // 2])
    assert "not a whole JSON document" in refusal(open_artifact, chain / "left", root=chain)


@pytest.mark.parametrize("raw", [b"\xff\xfe{}", b'{"schema_version": 1, "kind": "\xff"}'])
def test_a_manifest_that_is_not_utf8_is_refused(chain: Path, raw: bytes) -> None:
    (chain / "left" / "manifest.json").write_bytes(raw)
    assert "damaged" in refusal(open_artifact, chain / "left", root=chain)


@pytest.mark.parametrize("raw", [b"[]", b"null", b"1", b'"manifest"'])
def test_a_manifest_that_is_not_an_object_is_refused(chain: Path, raw: bytes) -> None:
    (chain / "left" / "manifest.json").write_bytes(raw)
    assert "schema_version" in refusal(open_artifact, chain / "left", root=chain)


@pytest.mark.parametrize("depth", [150, 300, 100_000])
def test_a_deeply_nested_manifest_is_refused(chain: Path, depth: int) -> None:
    nested = b"[" * depth + b"]" * depth
    raw = b'{"schema_version":1,"config":' + nested + b"}"
    (chain / "left" / "manifest.json").write_bytes(raw)
    assert "damaged" in refusal(open_artifact, chain / "left", root=chain)


def test_a_symbolic_link_in_the_place_of_the_manifest_is_refused(chain: Path) -> None:
    path = chain / "left" / "manifest.json"
    path.rename(chain / "elsewhere.json")
    path.symlink_to(chain / "elsewhere.json")
    assert "symbolic link" in refusal(open_artifact, chain / "left", root=chain)


def test_a_symbolic_link_in_the_place_of_the_artefact_is_refused(chain: Path) -> None:
    (chain / "link").symlink_to(chain / "left", target_is_directory=True)
    assert "symbolic link" in refusal(verify, chain / "link", root=chain)


def test_a_duplicate_key_is_refused(chain: Path) -> None:
    path = chain / "left" / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'  "kind"', b'  "kind": "x",\n  "kind"'))
    assert "layout" in refusal(open_artifact, chain / "left", root=chain)


def test_another_layout_of_the_same_content_is_refused(chain: Path) -> None:
    path = chain / "left" / "manifest.json"
    path.write_bytes(orjson.dumps(manifest_fields(chain / "left")))
    assert "layout" in refusal(open_artifact, chain / "left", root=chain)


def test_a_hand_edited_value_is_refused_though_it_is_well_formed(chain: Path) -> None:
    path = chain / "left" / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"n": 3', b'"n": 4'))
    assert "self_sha256" in refusal(open_artifact, chain / "left", root=chain)


# The manifest's fields


@pytest.mark.parametrize("version", [0, 2, "1", 1.0, True, None, [1], {"a": "\n" * 100}])
def test_another_schema_version_is_refused_and_the_known_one_named(
    chain: Path, version: object
) -> None:
    edit_manifest(chain / "left", {"schema_version": version})
    message = refusal(open_artifact, chain / "left", root=chain)
    assert "schema_version" in message
    assert "reads 1" in message


def test_a_missing_schema_version_is_refused(chain: Path) -> None:
    edit_manifest(chain / "left", {}, drop=["schema_version"])
    assert "schema_version None" in refusal(open_artifact, chain / "left", root=chain)


def test_every_missing_field_is_named(chain: Path) -> None:
    whole = (chain / "left" / "manifest.json").read_bytes()
    for name in set(orjson.loads(whole)) - {"self_sha256"}:
        edit_manifest(chain / "left", {}, drop=[name])
        assert name in refusal(open_artifact, chain / "left", root=chain)
        (chain / "left" / "manifest.json").write_bytes(whole)


def test_a_missing_checksum_is_refused(chain: Path) -> None:
    fields = manifest_fields(chain / "left")
    del fields["self_sha256"]
    options = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    (chain / "left" / "manifest.json").write_bytes(orjson.dumps(fields, option=options))
    assert "self_sha256" in refusal(open_artifact, chain / "left", root=chain)


def test_a_missing_inner_field_is_refused_though_it_has_a_default(chain: Path) -> None:
    edit_manifest(chain / "left", {"usage": {"prompt_tokens": 0, "completion_tokens": 0}})
    assert "usage" in refusal(open_artifact, chain / "left", root=chain)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"colour": "red"}, "colour"),
        ({"colour\nof a line": 1}, "colour of a line"),
        ({"code": {"version": "1", "commit": None, "dirty": None, "host": "x"}}, "code.host"),
    ],
)
def test_an_unknown_field_is_named(chain: Path, changes: dict[str, Any], named: str) -> None:
    edit_manifest(chain / "left", changes)
    assert named in refusal(open_artifact, chain / "left", root=chain)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kind", "pickle"),
        ("kind", 3),
        ("stage", None),
        ("created_utc", "yesterday"),
        ("created_utc", 1_700_000_000),
        ("created_utc", "2026-01-01T00:00:00"),
        ("code", []),
        ("config", None),
        ("parents", {}),
        ("parents", [{"path": "../grandparent"}]),
        ("parents", [{"path": "../grandparent", "sha256": "ABC"}]),
        ("files", None),
        ("files", ["prompts-00000.parquet"]),
        ("rows_root", "0" * 63),
        ("counts", {"in": 3, "kept": 4, "dropped": {}}),
        ("counts", {"in": 3, "kept": 4, "dropped": {"short": -1}}),
        ("counts", {"in": True, "kept": 1, "dropped": {}}),
        ("seeds", {"data": "0"}),
        ("usage", {"prompt_tokens": -1}),
        ("results", 0),
    ],
)
def test_a_mistyped_field_is_named(chain: Path, name: str, value: object) -> None:
    edit_manifest(chain / "left", {name: value})
    assert name in refusal(open_artifact, chain / "left", root=chain)


# Names and paths in the manifest


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "//server/share",
        "../right/prompts-00000.parquet",
        "extra/../../right/prompts-00000.parquet",
        "extra/..",
        "..",
        ".",
        "",
        "extra//notes.json",
        "./notes.json",
        "extra/notes.json/",
        "extra\\notes.json",
        "..\\right",
        "C:notes.json",
        "c:/notes.json",
        "notes\x00.json",
        "notes\n.json",
        "manifest.json",
        ".work/state",
        ".work",
    ],
)
def test_a_file_name_that_may_lead_elsewhere_is_refused(chain: Path, name: str) -> None:
    entry = {**manifest_fields(chain / "left")["files"][0], "name": name}
    edit_manifest(chain / "left", {"files": [entry]})
    message = refusal(read_manifest, chain / "left", root=chain)
    assert "names" in message or "may not be listed" in message


@pytest.mark.parametrize(
    "path", ["/etc", "..\\right", "C:right", "../right\x00", "", "../right/", "..//right"]
)
def test_a_parent_path_that_is_not_plain_and_relative_is_refused(chain: Path, path: str) -> None:
    edit_manifest(chain / "left", {"parents": [{"path": path, "sha256": "0" * 64}]})
    assert "plain relative path" in refusal(lineage, chain / "left", root=chain)


def test_files_listed_twice_or_out_of_order_are_refused(chain: Path) -> None:
    files = manifest_fields(chain / "left")["files"]
    for hostile in ([*files, files[-1]], files[::-1]):
        edit_manifest(chain / "left", {"files": hostile})
        assert "files" in refusal(open_artifact, chain / "left", root=chain)


# Rows


def test_an_edited_rows_root_is_refused(chain: Path) -> None:
    edit_manifest(chain / "child", {"rows_root": "0" * 64})
    assert "Merkle root" in refusal(verify, chain / "child", root=chain)


def test_a_rows_root_that_was_taken_away_is_refused(chain: Path) -> None:
    edit_manifest(chain / "child", {"rows_root": None})
    assert "Merkle root" in refusal(verify, chain / "child", root=chain)


def test_an_edited_number_of_rows_is_refused(chain: Path) -> None:
    files = manifest_fields(chain / "child")["files"]
    files[1]["rows"] = 2
    edit_manifest(chain / "child", {"files": files})
    message = refusal(verify, chain / "child", root=chain)
    assert "holds 3 rows" in message
    assert "says 2" in message


def test_rows_that_are_no_parquet_are_refused(chain: Path) -> None:
    files = manifest_fields(chain / "child")["files"]
    files[0]["rows"] = 1
    edit_manifest(chain / "child", {"files": files})
    assert "not a readable Parquet file" in refusal(verify, chain / "child", root=chain)


# Parents


def test_a_missing_parent_is_named(chain: Path) -> None:
    shutil.rmtree(chain / "right")
    message = refusal(verify, chain / "child", root=chain)
    assert str(chain / "right") in message
    assert "missing" in message


def test_a_missing_grandparent_is_named(chain: Path) -> None:
    shutil.rmtree(chain / "grandparent")
    assert str(chain / "grandparent") in refusal(verify, chain / "child", root=chain)


def test_a_parent_that_never_finished_is_named(chain: Path) -> None:
    (chain / "right" / "manifest.json").unlink()
    assert str(chain / "right") in refusal(verify, chain / "child", root=chain)


def test_a_parent_whose_manifest_was_remade_is_named(chain: Path) -> None:
    edit_manifest(chain / "right", {"config": {"n": 4}})
    message = refusal(verify, chain / "child", root=chain)
    assert str(chain / "right") in message
    assert "its manifest has changed" in message


def test_a_symbolic_link_in_the_place_of_a_parent_is_refused(chain: Path) -> None:
    (chain / "right").rename(chain / "elsewhere")
    (chain / "right").symlink_to(chain / "elsewhere", target_is_directory=True)
    message = refusal(verify, chain / "child", root=chain)
    assert str(chain / "right") in message
    assert "symbolic" in message


def test_a_symbolic_link_on_the_way_to_a_parent_is_refused(chain: Path, tmp_path: Path) -> None:
    (chain / "way").symlink_to(tmp_path / "chain", target_is_directory=True)
    parent = {"path": "../way/right", "sha256": manifest_sha256(chain / "right")}
    edit_manifest(chain / "child", {"parents": [parent]})
    assert str(chain / "way") in refusal(verify, chain / "child", root=chain)


def test_a_cycle_of_parents_is_named_where_it_closes(chain: Path) -> None:
    parent = {"path": "../child", "sha256": manifest_sha256(chain / "child")}
    edit_manifest(chain / "grandparent", {"parents": [parent]})
    message = refusal(verify, chain / "child", root=chain)
    assert "cycle" in message
    assert message.startswith(str(chain / "grandparent"))
    assert str(chain / "child") in message


def test_an_artefact_that_is_its_own_parent_is_refused(chain: Path) -> None:
    edit_manifest(chain / "child", {"parents": [{"path": ".", "sha256": "0" * 64}]})
    assert "cycle" in refusal(verify, chain / "child", root=chain)


# Every byte


@settings(max_examples=120, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_flipped_bit_of_any_file_of_a_chain_is_found(sound_chain: Path, data: Any) -> None:
    files = sorted(path for path in sound_chain.rglob("*") if path.is_file())
    target = data.draw(st.sampled_from(files))
    original = target.read_bytes()
    place = data.draw(st.integers(0, len(original) - 1))
    changed = bytearray(original)
    changed[place] ^= data.draw(st.integers(1, 255))
    target.write_bytes(changed)
    try:
        with pytest.raises(IntegrityError) as caught:
            verify(sound_chain / "child")
    finally:
        target.write_bytes(original)
    assert len(str(caught.value).splitlines()) == 1


def test_any_flipped_bit_of_the_youngest_manifest_is_found(chain: Path) -> None:
    path = chain / "child" / "manifest.json"
    original = path.read_bytes()
    for place in range(len(original)):
        changed = bytearray(original)
        changed[place] ^= 1 << (place % 8)
        path.write_bytes(changed)
        with pytest.raises(IntegrityError):
            read_manifest(chain / "child")
