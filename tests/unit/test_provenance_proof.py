"""Inclusion proofs, checked by the program that we ship, in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from artifact_chains import listing, make_artifact
from cli_process import run_here
from hypothesis import given, settings
from hypothesis import strategies as st
from provenance_cases import collected, make_run, prompts

from stillhouse.artifacts import Artifact, Counts, begin_artifact, leaf_bytes, open_artifact
from stillhouse.errors import ConfigError, IntegrityError
from stillhouse.provenance import check_proof as verifier
from stillhouse.provenance import proof_verifier, prove
from stillhouse.records import Message, Prompt

# Every proof that differs from the file's in one bit; prints those that the program takes.
_FLIP_ALL = """
import check_proof, pathlib, sys
proof, manifest = (pathlib.Path(name).read_bytes() for name in sys.argv[1:])
assert check_proof.check(proof, manifest).startswith("row 3 of ")
for place in range(len(proof) * 8):
    forged = bytearray(proof)
    forged[place // 8] ^= 1 << place % 8
    try:
        check_proof.check(bytes(forged), manifest)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        continue
    print(place)
print("done")
"""


def ship(folder: Path) -> Path:
    """The program, as a reader without stillhouse has it."""
    program = folder / "check_proof.py"
    program.write_text(proof_verifier(), encoding="utf-8")
    return program


def run_alone(program: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-I", program, *arguments]
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False
    )


def many_rows(folder: Path, count: int) -> Artifact:
    """An artefact of so many short rows."""
    writer = begin_artifact(folder, kind="completions", stage="collect", config={"n": count})
    message = (Message(role="user", content="?"),)
    rows = (Prompt(id=f"p{n}", messages=message) for n in range(count))
    writer.write_rows("prompts", rows, Prompt)
    return writer.finish(counts=Counts(num_in=count, kept=count))


def test_the_program_is_short_and_needs_nothing_but_python() -> None:
    lines = proof_verifier().splitlines()
    assert len(lines) <= 60
    imported = {line.split()[1] for line in lines if line.startswith(("import ", "from "))}
    assert imported <= sys.stdlib_module_names


@pytest.mark.parametrize("hide_row", [False, True])
def test_a_true_proof_holds_and_names_the_manifest_to_compare(
    tmp_path: Path, hide_row: bool
) -> None:
    run = make_run(tmp_path)
    proof = prove(run.dataset, 7, hide_row=hide_row)
    (tmp_path / "proof.json").write_bytes(proof.to_bytes())
    done = run_alone(ship(tmp_path), tmp_path / "proof.json", run.dataset / "manifest.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("true: row 7 of 12 ")
    assert open_artifact(run.dataset).manifest_sha256 in done.stdout
    assert ("Report" in proof.to_bytes().decode()) is not hide_row


@pytest.mark.parametrize("hide_row", [False, True])
def test_no_proof_with_one_other_bit_holds(tmp_path: Path, hide_row: bool) -> None:
    made = collected(tmp_path / "completions", prompts(5))
    (tmp_path / "proof.json").write_bytes(prove(made.path, 3, hide_row=hide_row).to_bytes())
    ship(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", _FLIP_ALL, "proof.json", made.path / "manifest.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "done\n"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"index": 4}, "another root"),
        ({"index": 12}, "for no row"),
        ({"index": -1}, "for no row"),
        ({"index": True}, "for no row"),
        ({"size": 13}, "another number of rows"),
        ({"proof": 2}, "another version"),
        ({"path": ""}, ""),
        ({"leaf": "00"}, "not written as"),
        ({"more": 1}, "not written as"),
        ({"row": 5}, ""),
        ({"manifest_sha256": "0" * 64}, "for another manifest"),
    ],
)
def test_a_forged_proof_fails(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    run = make_run(tmp_path)
    document = {**prove(run.dataset, 3).document(), **changes}
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    forged = tmp_path / "proof.json"
    forged.write_text(f"{text}\n", encoding="utf-8")
    done = run_alone(ship(tmp_path), forged, run.dataset / "manifest.json")
    assert done.returncode == 1
    assert done.stdout.startswith("false: ")
    assert message in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("content", ["", "[]", "null", '"text"', "{", "\udcff"])
def test_what_is_no_proof_fails(tmp_path: Path, content: str) -> None:
    run = make_run(tmp_path)
    file = tmp_path / "proof.json"
    file.write_bytes(content.encode("utf-8", "surrogateescape"))
    done = run_alone(ship(tmp_path), file, run.dataset / "manifest.json")
    assert (done.returncode, done.stdout[:7]) == (1, "false: ")


def test_a_proof_is_for_its_manifest_alone(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    proof = prove(run.dataset, 3).to_bytes()
    manifest = (run.dataset / "manifest.json").read_bytes()
    assert verifier.check(proof, manifest).startswith("row 3 of 12 ")
    with pytest.raises(ValueError, match="another manifest"):
        verifier.check(proof, (run.completions / "manifest.json").read_bytes())
    with pytest.raises(ValueError, match="another manifest"):
        verifier.check(proof, manifest.replace(b'"seed": 3', b'"seed": 4'))


@given(st.integers(1, 40), st.data())
@settings(max_examples=20, deadline=None)
def test_every_row_of_a_tree_of_any_size_can_be_proved(
    tmp_path_factory: pytest.TempPathFactory, size: int, data: st.DataObject
) -> None:
    made = many_rows(tmp_path_factory.mktemp("tree") / "a", size)
    row = data.draw(st.integers(0, size - 1))
    proof = prove(made.path, row)
    assert proof.root == made.manifest.rows_root
    leaves = list(leaf_bytes(made.path / made.manifest.files[0].name))
    assert proof.row is not None
    assert proof.row.encode() == leaves[row]
    verifier.check(proof.to_bytes(), (made.path / "manifest.json").read_bytes())


def test_a_large_tree_is_kept_and_never_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STILLHOUSE_CACHE", str(tmp_path / "cache"))
    made = many_rows(tmp_path / "a", 20_001)
    first = prove(made.path, 20_000)
    (kept,) = (tmp_path / "cache" / "trees").iterdir()
    sound = kept.read_bytes()
    assert prove(made.path, 20_000) == first
    kept.write_bytes(bytes(len(sound)))  # of the right size, with wrong hashes
    assert prove(made.path, 20_000) == first
    assert kept.read_bytes() == sound
    kept.write_bytes(sound[:-1])
    assert prove(made.path, 20_000) == first
    size = len(prove(made.path, 0, hide_row=True).to_bytes())
    assert size <= 1_000


def test_a_cache_that_cannot_be_written_costs_time_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("STILLHOUSE_CACHE", str(tmp_path / "file"))
    made = many_rows(tmp_path / "a", 20_000)
    assert prove(made.path, 5).root == made.manifest.rows_root


def test_rows_that_have_changed_cannot_be_proved(tmp_path: Path) -> None:
    made = collected(tmp_path / "a", prompts(4))
    other = collected(tmp_path / "b" / "a", prompts(4, word="letter"))
    for entry in made.manifest.files:
        size = entry.bytes
        data = (other.path / entry.name).read_bytes()
        if len(data) != size:  # then opening it would already say so
            continue
        (made.path / entry.name).write_bytes(data)
        with pytest.raises(IntegrityError, match="another Merkle root"):
            prove(made.path, 0)
        return
    pytest.fail("no file of the same size")


def test_the_command_writes_a_proof_and_the_program(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path)
    file = tmp_path / "proof.json"
    ran = run_here(capsys, "prove", run.dataset, "--row", "2", "--out", file)
    assert ran.code == 0
    assert file.read_bytes() == prove(run.dataset, 2).to_bytes()
    assert "python check_proof.py" in ran.out
    shown = run_here(capsys, "prove", run.dataset, "--row", "2", "--json")
    assert json.loads(shown.out) == prove(run.dataset, 2).document()
    printed = run_here(capsys, "prove", "--verifier")
    assert printed.out == proof_verifier()
    run_here(capsys, "prove", "--verifier", "--out", tmp_path / "check_proof.py")
    assert (tmp_path / "check_proof.py").read_text(encoding="utf-8") == proof_verifier()


@pytest.mark.parametrize(
    "arguments",
    [["--row", "99"], [], ["--row", "examples:99"], ["--row", "0", "--verifier"]],
)
def test_a_wrong_command_is_one_error_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    run = make_run(tmp_path)
    before = listing(tmp_path)
    ran = run_here(capsys, "prove", run.dataset, "--out", tmp_path / "proof.json", *arguments)
    assert ran.code == 2
    assert len(ran.err.strip().splitlines()) == 1
    assert listing(tmp_path) == before


def test_an_artefact_without_rows_has_nothing_to_prove(tmp_path: Path) -> None:
    writer = begin_artifact(tmp_path / "a", kind="export", stage="export", config={})
    writer.new_file("export.json").write_bytes(b"{}\n")
    made = writer.finish(counts=Counts(num_in=0, kept=0))
    with pytest.raises(ConfigError, match=r"\(export\) has no rows"):
        prove(made.path, 0)
    assert make_artifact(tmp_path / "b").manifest.rows_root == prove(tmp_path / "b", 0).root
