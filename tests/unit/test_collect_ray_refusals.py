"""What a collection on Ray refuses before anything starts, and who does without Ray."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stillhouse.collect import CollectConfig, collect
from stillhouse.collect._ray._cluster import _answering_address
from stillhouse.errors import ConfigError
from stillhouse.records import Message, Prompt
from stillhouse.teachers import open_teacher

PROMPTS = [Prompt(id="p", messages=(Message(role="user", content="question"),))]
WITHOUT_RAY = """
import sys
sys.modules["ray"] = None  # as where it is not installed
from stillhouse.cli._main import run_command
sys.exit(run_command(sys.argv[1:]))
"""


def test_batches_are_refused(tmp_path: Path) -> None:
    config = CollectConfig.model_validate({"engine": "ray", "access": {"tier": "batch"}})
    with pytest.raises(ConfigError, match="do not go together"):
        collect(PROMPTS, tmp_path / "out", teacher="openai:m", config=config)
    assert list(tmp_path.iterdir()) == []


def test_a_teacher_that_is_open_already_is_refused(tmp_path: Path) -> None:
    with (
        open_teacher("fake:") as teacher,
        pytest.raises(ConfigError, match="Give a spec, not a teacher"),
    ):
        collect(PROMPTS, tmp_path / "out", teacher=teacher, config=CollectConfig(engine="ray"))
    assert list(tmp_path.iterdir()) == []


def refused_address(folder: Path, address: str | None) -> str:
    """How a collection on Ray at an address is refused; at once, and with nothing left behind."""
    pytest.importorskip("ray")
    config = CollectConfig.model_validate({"engine": "ray", "ray": {"address": address}})
    started_s = time.monotonic()
    with pytest.raises(ConfigError) as refused:
        collect(PROMPTS, folder / "out", teacher="fake:", config=config)
    assert time.monotonic() - started_s < 30.0  # Ray itself waits for minutes
    assert list(folder.iterdir()) == []
    return str(refused.value)


@pytest.fixture
def silent_address() -> Iterator[str]:
    """An address that nobody listens at, and nobody else gets meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


def test_a_wrong_address_leaves_nothing_behind(tmp_path: Path) -> None:
    told = refused_address(tmp_path, "ray://localhost:10001")
    assert told.startswith("ray.address is that of a client connection")


def test_an_address_where_nobody_listens_is_refused_at_once(
    tmp_path: Path, silent_address: str
) -> None:
    told = refused_address(tmp_path, silent_address)
    assert told.startswith(f"There is no Ray cluster at ray.address={silent_address} (nobody ")
    assert "ray start --head" in told


@pytest.mark.parametrize("address", [None, "auto"])
def test_a_variable_that_names_a_cluster_which_is_gone_is_named(
    tmp_path: Path, silent_address: str, monkeypatch: pytest.MonkeyPatch, address: str | None
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", silent_address)
    told = refused_address(tmp_path, address)
    assert told.startswith(f"There is no Ray cluster at RAY_ADDRESS={silent_address} (nobody ")


def test_a_note_of_a_cluster_that_is_gone_does_not_keep_one_from_being_started(
    tmp_path: Path, silent_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text(silent_address)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert _answering_address(None) == "local"


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:port"])
def test_what_is_no_address_is_refused(tmp_path: Path, address: str) -> None:
    assert refused_address(tmp_path, address).startswith(
        f"There is no Ray cluster at ray.address={address} ("
    )


def test_without_ray_one_line_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "question"}\n')
    arguments = ["collect", "prompts.jsonl", "--teacher", "fake:", "--engine", "ray"]
    command = [sys.executable, "-c", WITHOUT_RAY, *arguments]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "engine=ray needs Ray: pip install 'stillhouse[ray]'." in ran.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["prompts.jsonl"]


def test_the_engine_is_no_part_of_what_an_artefact_is_made_of() -> None:
    spread = CollectConfig.model_validate({"engine": "ray", "ray": {"workers": 3}})
    assert spread.identity() == CollectConfig().identity()


def test_a_local_collection_does_not_load_ray(tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "question"}\n')
    code = (
        "import sys; from stillhouse.cli._main import run_command\n"
        "code = run_command(['collect', 'prompts.jsonl', '--teacher', 'fake:'])\n"
        "sys.exit(code or 'ray' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False)
    assert ran.returncode == 0
