"""Versions: immutable copies, a pointer that is always valid, a history that is only added to."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_process import run_here

from stillhouse.artifacts import check_files, open_artifact
from stillhouse.cascade import open_cascade
from stillhouse.errors import ConfigError, FolderBusyError, IntegrityError
from stillhouse.fit import FitConfig, fit
from stillhouse.releases import Deployment, is_deployment


@pytest.fixture
def made(bank_folder: Path) -> tuple[Path, Path, Path]:
    """Two cascades and a dataset."""
    return bank_folder / "cascade", bank_folder / "second", bank_folder / "dataset"


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return Deployment(tmp_path / "bank")


def test_versions_are_promoted_and_taken_back_in_order(
    made: tuple[Path, Path, Path], deployment: Deployment
) -> None:
    assert not is_deployment(deployment.folder)
    first, second = (deployment.add(path, why="new", who="ann") for path in made[:2])
    assert is_deployment(deployment.folder)
    assert deployment.current_id() is None
    with pytest.raises(ConfigError, match="no version in service"):
        deployment.current()
    deployment.promote(first.id[:8], who="ann")
    with pytest.raises(ConfigError, match="no earlier version"):
        deployment.rollback()
    change = deployment.promote(second.id, why="covers more", who="bob")
    assert (change.previous, change.why, change.who) == (first.id, "covers more", "bob")
    assert deployment.current().id == second.id
    assert deployment.rollback(why="too many differences").version == first.id
    assert deployment.current().id == first.id
    with pytest.raises(ConfigError, match="no earlier version"):
        deployment.rollback()
    history = deployment.standing().history
    assert [one.action for one in history] == ["add", "add", "promote", "promote", "rollback"]
    assert [one.number for one in history] == [1, 2, 3, 4, 5]


def test_a_copy_needs_nothing_of_its_original(
    made: tuple[Path, Path, Path], deployment: Deployment, tmp_path: Path
) -> None:
    shutil.copytree(made[0].parent, tmp_path / "moved")
    version = deployment.add(tmp_path / "moved" / "cascade")
    shutil.rmtree(tmp_path / "moved")
    opened = open_cascade(version.folder, student=version.student)
    check_files(opened.artifact)
    check_files(opened.student)
    weights = next(opened.student.path.glob("*.safetensors"))
    assert not os.stat(weights).st_mode & 0o222


def test_adding_twice_is_one_version(made: tuple[Path, Path, Path], deployment: Deployment) -> None:
    assert deployment.add(made[0]).id == deployment.add(made[0]).id
    assert len(deployment.versions()) == len(deployment.standing().history) == 1


@pytest.mark.parametrize("part", ["served/rule.json", "student"])
def test_a_version_that_has_changed_is_refused(
    part: str, made: tuple[Path, Path, Path], deployment: Deployment
) -> None:
    version = deployment.add(made[0])
    path = deployment.folder / "versions" / version.id / part
    if path.is_dir():
        path = next(path.glob("*.safetensors"))
    path.chmod(0o644)
    raw = bytearray(path.read_bytes())
    raw[-2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(IntegrityError):
        deployment.promote(version.id)
    assert deployment.current_id() is None


def test_another_artefact_under_a_versions_name_is_refused(
    made: tuple[Path, Path, Path], deployment: Deployment
) -> None:
    first, second = (deployment.add(path) for path in made[:2])
    place = deployment.folder / "versions"
    shutil.rmtree(place / first.id)
    shutil.copytree(place / second.id, place / first.id)
    with pytest.raises(IntegrityError, match="another hash"):
        deployment.promote(first.id)


def test_what_cannot_be_served_is_not_added(
    made: tuple[Path, Path, Path], deployment: Deployment, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="not a student"):
        deployment.add(made[2])
    # A cascade whose student was made again is certified for another one.
    folder = tmp_path / "again"
    shutil.copytree(made[0].parent, folder)
    shutil.rmtree(folder / "student")
    fit(folder / "dataset", folder / "student", config=FitConfig(student="ngram", seed=5))
    with pytest.raises(IntegrityError, match="not the student"):
        deployment.add(folder / "cascade")
    assert not is_deployment(deployment.folder)
    with pytest.raises(ConfigError, match="is no deployment"):
        deployment.promote("abcdef")
    assert not deployment.folder.exists()


def test_names_have_to_be_told_apart(made: tuple[Path, Path, Path], deployment: Deployment) -> None:
    version = deployment.add(made[0])
    for name in (version.id[:3], "no such version", ""):
        with pytest.raises(ConfigError, match="versions of"):
            deployment.promote(name)


def test_two_processes_do_not_change_it_at_once(
    made: tuple[Path, Path, Path], deployment: Deployment
) -> None:
    version = deployment.add(made[0])
    with deployment._changing(), pytest.raises(FolderBusyError):
        Deployment(deployment.folder).promote(version.id)


def test_a_history_that_was_cut_is_read_and_gone_on_with(
    made: tuple[Path, Path, Path], deployment: Deployment
) -> None:
    first, second = (deployment.add(path) for path in made[:2])
    deployment.promote(first.id)
    deployment.promote(second.id)
    history = deployment.folder / "history.jsonl"
    raw = history.read_bytes()
    history.write_bytes(raw[:-40])  # the pointer was moved, and the line not finished
    standing = deployment.standing()
    assert (standing.current, standing.num_torn) == (second.id, 1)
    assert deployment.rollback().version == first.id
    standing = deployment.standing()
    assert standing.current == first.id
    assert [one.action for one in standing.history][2:] == ["promote", "promote", "rollback"]
    assert history.read_bytes().startswith(raw[:-40])  # only ever added to


_MOVING = """
import sys
from pathlib import Path
from stillhouse.releases import Deployment
deployment = Deployment(Path(sys.argv[1]))
first, second = deployment.versions()
print("ready", flush=True)
while True:
    deployment.promote(first)
    deployment.promote(second)
    deployment.rollback()
"""


def test_a_kill_at_any_moment_leaves_a_valid_pointer(
    made: tuple[Path, Path, Path], deployment: Deployment
) -> None:
    versions = sorted(deployment.add(path).id for path in made[:2])
    draws = random.Random(7)
    num_moves = 0
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", _MOVING, str(deployment.folder)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(draws.uniform(0.01, 0.1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        standing = deployment.standing()
        assert standing.num_torn <= 6
        if standing.current is not None:
            num_moves += 1
            assert deployment.current().id == standing.current
            assert standing.current in versions
    assert num_moves > 0
    deployment.promote(versions[0])
    history = deployment.standing().history
    numbers = [one.number for one in history]
    assert numbers == sorted(set(numbers))
    assert open_artifact(deployment.current().folder).manifest_sha256 == versions[0]


def test_the_command_tells_where_it_stands(
    made: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "bank")
    added = run_here(capsys, "release", "add", folder, str(made[0]), "--why", "first", "--json")
    version = added.json()["version"]
    assert run_here(capsys, "release", "promote", folder, version[:10]).code == 0
    told = run_here(capsys, "release", "list", folder)
    assert f"{version[:12]}  in service" in told.out
    assert ": first" in told.out
    refused = run_here(capsys, "release", "rollback", folder)
    assert (refused.code, "no earlier version" in refused.err) == (2, True)
    wrong = run_here(capsys, "release", "promote", folder)
    assert (wrong.code, "takes the version" in wrong.err) == (2, True)
