"""Writing artefacts: whole or absent, resumable, and never at the cost of somebody's file."""

import subprocess
import sys
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from weakref import WeakSet

import pytest
from artifact_chains import edit_manifest, listing, make_artifact, prompts

from stillhouse.artifacts import (
    Artifact,
    ArtifactWriter,
    Counts,
    begin_artifact,
    is_up_to_date,
    open_artifact,
)
from stillhouse.errors import ConfigError, IntegrityError, RecordError
from stillhouse.provenance import verify
from stillhouse.records import Message, Prompt

# One process that imports once and then forks: child n kills itself before its n-th change to the
# file system. The last one gets through.
KILLED_AT_EVERY_STEP = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from artifact_chains import make_artifact

make_artifact(Path(sys.argv[3]))  # what is loaded and asked once is so before the forks

STEPS = {"open", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "shutil.rmtree"}

def child(folder, step):
    seen = 0
    def watch(event, arguments):
        nonlocal seen
        if event in STEPS and str(arguments[0]).startswith(str(folder)):
            seen += 1
            if seen > step:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(watch)
    make_artifact(folder)
    os._exit(0)

for step in range(500):
    folder = Path(sys.argv[1]) / f"{step:03d}"
    pid = os.fork()
    if pid == 0:
        child(folder, step)
    if os.waitpid(pid, 0)[1] == 0:
        break
else:
    sys.exit("no child came to the end")
"""

HOLDS_THE_FOLDER = """
import sys
from pathlib import Path
from stillhouse.artifacts import begin_artifact
writer = begin_artifact(Path(sys.argv[1]), kind="dataset", stage="curate", config={})
print("holding", flush=True)
sys.stdin.read()
"""


def begin(folder: Path, *, stage: str = "collect", replace: bool = False) -> ArtifactWriter:
    return begin_artifact(folder, kind="completions", stage=stage, config={"n": 3}, replace=replace)


def finish_rows(writer: ArtifactWriter) -> Artifact:
    writer.write_rows("prompts", prompts(), Prompt)
    return writer.finish(counts=Counts(num_in=3, kept=3))


def test_kill_9_at_any_step_leaves_an_artefact_or_none_and_a_rerun_finishes(
    tmp_path: Path,
) -> None:
    here, killed = str(Path(__file__).parent), tmp_path / "killed"
    killed.mkdir()
    command = [sys.executable, "-c", KILLED_AT_EVERY_STEP, str(killed), here]
    subprocess.run([*command, str(tmp_path / "first")], check=True, timeout=120)
    folders = sorted(killed.iterdir())
    assert len(folders) > 20
    num_complete = 0
    for folder in folders:
        if (folder / "manifest.json").exists():
            num_complete += 1
            verify(folder)
            continue
        with pytest.raises(IntegrityError):
            open_artifact(folder)
        make_artifact(folder)
        verify(folder)
        assert {entry.name for entry in folder.iterdir()} == {
            "manifest.json",
            "prompts-00000.parquet",
            "extra",
        }
    assert 0 < num_complete < len(folders) / 2


def test_a_finished_folder_holds_the_listed_files_and_the_manifest_only(tmp_path: Path) -> None:
    finished = make_artifact(tmp_path / "out")
    names = {entry.name for entry in finished.manifest.files}
    files = {name for name, what in listing(finished.path).items() if what != "folder"}
    assert files == names | {"manifest.json"}


def test_rows_are_written_as_they_come_and_not_all_held(tmp_path: Path) -> None:
    alive: WeakSet[Prompt] = WeakSet()
    most_alive = 0

    def one_by_one() -> Iterator[Prompt]:
        nonlocal most_alive
        for n in range(3_000):
            row = Prompt(id=f"p{n}", messages=(Message(role="user", content="x"),))
            alive.add(row)
            most_alive = max(most_alive, len(alive))
            yield row

    assert begin(tmp_path / "out").write_rows("prompts", one_by_one(), Prompt) == 3_000
    assert most_alive < 200


def test_a_full_file_is_not_followed_by_an_empty_one(tmp_path: Path) -> None:
    writer = begin(tmp_path / "out")
    row = Message(role="user", content="x")
    assert writer.write_rows("rows", repeat(row, 100_000), Message) == 100_000
    finished = writer.finish(counts=Counts(num_in=100_000, kept=100_000))
    assert {entry.name: entry.rows for entry in finished.manifest.files} == {
        "rows-00000.parquet": 100_000
    }


def test_nothing_but_named_files_becomes_part_of_the_artefact(tmp_path: Path) -> None:
    writer = begin(tmp_path / "out")
    writer.new_file("metrics.jsonl").with_name("metrics.jsonl.tmp").write_bytes(b"half")
    writer.new_file("metrics.jsonl").write_bytes(b"{}\n")
    finished = writer.finish(counts=Counts(num_in=0, kept=0))
    assert [entry.name for entry in finished.manifest.files] == ["metrics.jsonl"]
    verify(finished.path)


@pytest.mark.parametrize("name", ["../x.json", "/x.json", "a\\b", ".", ""])
def test_a_stage_cannot_write_outside_its_folder(tmp_path: Path, name: str) -> None:
    writer = begin(tmp_path / "out")
    with pytest.raises(IntegrityError, match="stage collect"):
        writer.new_file(name)


# State of a stage that has not finished


@pytest.mark.parametrize("same_inputs", [True, False])
def test_work_state_survives_for_equal_inputs_only(tmp_path: Path, same_inputs: bool) -> None:
    writer = begin(tmp_path / "out")
    (writer.work_dir / "checkpoint").mkdir()
    (writer.work_dir / "checkpoint" / "step").write_text("7")
    writer.write_rows("prompts", prompts(), Prompt)
    writer.release()
    again = begin(tmp_path / "out", stage="collect" if same_inputs else "capture")
    assert (again.work_dir / "checkpoint" / "step").exists() is same_inputs
    assert not (again.work_dir / "files").exists()


def test_work_state_is_dropped_when_a_parent_or_the_config_is_another(tmp_path: Path) -> None:
    parents = [make_artifact(tmp_path / "a"), make_artifact(tmp_path / "b")]
    variants = [({"n": 1}, parents[:1]), ({"n": 1}, parents[1:]), ({"n": 2}, parents[1:])]
    for config, given in variants:
        writer = begin_artifact(
            tmp_path / "out", kind="dataset", stage="curate", config=config, parents=given
        )
        assert not (writer.work_dir / "state").exists()
        (writer.work_dir / "state").write_text("x")
        writer.release()


# Other people's files


def test_a_folder_with_other_files_is_never_written_into(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    before = listing(tmp_path)
    with pytest.raises(ConfigError, match="not an artefact"):
        begin(tmp_path)
    assert listing(tmp_path) == before


def test_a_stray_file_in_an_unfinished_folder_stops_the_rerun_and_stays(tmp_path: Path) -> None:
    begin(tmp_path / "out").release()
    stray = tmp_path / "out" / "sub" / "notes.txt"
    stray.parent.mkdir()
    stray.write_text("mine")
    with pytest.raises(ConfigError, match=r"notes\.txt"):
        begin(tmp_path / "out")
    assert stray.read_text() == "mine"
    stray.unlink()
    verify(finish_rows(begin(tmp_path / "out")).path)


def test_a_stray_file_stops_the_replacement_of_an_artefact(tmp_path: Path) -> None:
    make_artifact(tmp_path / "out")
    (tmp_path / "out" / "extra" / "notes.txt").write_text("mine")
    before = listing(tmp_path)
    with pytest.raises(ConfigError, match=r"notes\.txt"):
        begin(tmp_path / "out", replace=True)
    assert listing(tmp_path) == before


def test_a_file_that_appears_under_a_name_of_ours_is_not_overwritten(tmp_path: Path) -> None:
    writer = begin(tmp_path / "out")
    mine = tmp_path / "out" / "prompts-00000.parquet"
    mine.write_text("mine")
    with pytest.raises(ConfigError, match="appeared while"):
        finish_rows(writer)
    assert mine.read_text() == "mine"


def test_a_finished_artefact_is_replaced_only_on_request(tmp_path: Path) -> None:
    make_artifact(tmp_path / "out")
    before = listing(tmp_path)
    with pytest.raises(ConfigError, match="--force"):
        begin(tmp_path / "out")
    assert listing(tmp_path) == before
    finished = finish_rows(begin(tmp_path / "out", replace=True))
    verify(finished.path)
    assert not (finished.path / "extra").exists()


def test_an_artefact_whose_manifest_is_damaged_is_not_replaced(tmp_path: Path) -> None:
    make_artifact(tmp_path / "out")
    edit_manifest(tmp_path / "out", {"files": []}, drop=["kind"])
    before = listing(tmp_path)
    with pytest.raises(ConfigError, match="Remove the folder yourself"):
        begin(tmp_path / "out", replace=True)
    assert listing(tmp_path) == before


@pytest.mark.parametrize("place", ["out", "out/.work"])
def test_a_link_in_the_way_is_refused_and_its_target_untouched(tmp_path: Path, place: str) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "notes.txt").write_text("mine")
    link = tmp_path / place
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(target, target_is_directory=True)
    with pytest.raises(ConfigError, match="link"):
        begin(tmp_path / "out")
    assert (target / "notes.txt").read_text() == "mine"


def test_names_that_lead_elsewhere_are_not_removed(tmp_path: Path) -> None:
    begin(tmp_path / "out").release()
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "out" / ".work" / "names").write_text("../notes.txt\n")
    with pytest.raises(IntegrityError):
        begin(tmp_path / "out")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_parent_path_that_no_manifest_can_hold_is_refused_at_once(tmp_path: Path) -> None:
    parent = make_artifact(tmp_path / "back\\slash")
    with pytest.raises(ConfigError, match="Rename the folder"):
        begin_artifact(
            tmp_path / "out", kind="dataset", stage="curate", config={}, parents=[parent]
        )
    assert not (tmp_path / "out").exists()


def test_a_config_that_json_cannot_hold_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(RecordError):
        begin_artifact(tmp_path / "out", kind="dataset", stage="curate", config={"a": "\ud800"})
    assert not (tmp_path / "out").exists()


# Two processes


def test_the_second_process_on_a_folder_is_told_so(tmp_path: Path) -> None:
    out = tmp_path / "out"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS_THE_FOLDER, str(out)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "holding\n"
        before = listing(out)
        with pytest.raises(ConfigError, match="Another stillhouse process"):
            begin(out)
        assert listing(out) == before
        holder.kill()
    verify(finish_rows(begin(out)).path)


def test_a_writer_that_waited_for_the_end_of_another_does_not_undo_its_work(
    tmp_path: Path,
) -> None:
    writer = begin(tmp_path / "out")
    with pytest.raises(ConfigError, match="Another stillhouse process"):
        begin(tmp_path / "out")
    finish_rows(writer)
    with pytest.raises(ConfigError, match="finished artefact"):
        begin(tmp_path / "out")
    verify(tmp_path / "out")


# Up to date


def test_an_artefact_is_up_to_date_for_its_own_inputs_only(tmp_path: Path) -> None:
    first, second = make_artifact(tmp_path / "a"), make_artifact(tmp_path / "b")
    made = make_artifact(tmp_path / "out", [first])
    out = made.path
    assert is_up_to_date(out, stage="collect", config={"n": 3}, parents=[first])
    assert not is_up_to_date(out, stage="curate", config={"n": 3}, parents=[first])
    assert not is_up_to_date(out, stage="collect", config={"n": 4}, parents=[first])
    assert not is_up_to_date(out, stage="collect", config={"n": 3}, parents=[second])
    assert not is_up_to_date(out, stage="collect", config={"n": 3})
    assert not is_up_to_date(tmp_path / "none", stage="collect", config={"n": 3})


def test_a_damaged_artefact_is_not_up_to_date(tmp_path: Path) -> None:
    made = make_artifact(tmp_path / "out")
    (made.path / "extra" / "notes.json").unlink()
    assert not is_up_to_date(made.path, stage="collect", config={"n": 3})


# Rows


def test_rows_keep_their_order_over_several_files(tmp_path: Path) -> None:
    writer = begin(tmp_path / "out")
    first, last = prompts(2)
    total = writer.write_rows("prompts", [first] * 100_000 + [last], Prompt)
    finished = writer.finish(counts=Counts(num_in=total, kept=total))
    assert [entry.rows for entry in finished.manifest.files] == [100_000, 1]
    assert list(finished.rows("prompts", Prompt))[-2:] == [first, last]


def test_no_rows_give_one_empty_file_and_the_root_of_nothing(tmp_path: Path) -> None:
    writer = begin(tmp_path / "out")
    assert writer.write_rows("prompts", [], Prompt) == 0
    finished = writer.finish(counts=Counts(num_in=0, kept=0))
    assert (
        finished.manifest.rows_root
        == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )
    assert list(finished.rows("prompts", Prompt)) == []
    verify(finished.path)


def test_an_artefact_without_rows_has_no_root(tmp_path: Path) -> None:
    writer = begin(tmp_path / "out")
    writer.new_file("results.json").write_bytes(b"{}")
    assert writer.finish(counts=Counts(num_in=0, kept=0)).manifest.rows_root is None
    verify(tmp_path / "out")


def test_another_kind_than_the_step_needs_is_the_users_mistake(tmp_path: Path) -> None:
    make_artifact(tmp_path / "out")
    with pytest.raises(ConfigError, match="is a completions artefact; this step needs dataset"):
        open_artifact(tmp_path / "out", kind="dataset")
